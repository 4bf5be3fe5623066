"""Turns driver errors into Django's; the one place where every failed driver call of a connection passes."""

from __future__ import annotations

from types import TracebackType
from typing import Any

from django.db.utils import DatabaseErrorWrapper

from ..cluster.activity import Activity
from ..core.failures import ErrorFacts


class ClusterErrorWrapper(DatabaseErrorWrapper):
    """Django's error wrapper, with two marks for the host monitor and a look at each error for a lost connection."""

    wrapper: Any  # a ClusterWrapperMixin

    def __init__(self, wrapper: Any, activity: Activity) -> None:
        super().__init__(wrapper)
        self._activity = activity

    def __enter__(self) -> None:
        activity = self._activity
        activity.calls += 1
        activity.busy = True
        monitor = activity.monitor
        if monitor is not None and monitor.asleep:
            monitor.wake()

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc_value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._activity.busy = False
        if exc_value is None:
            return
        facts = self.wrapper.driver.facts(exc_value)
        if facts is None:
            self.wrapper.meet_interruption()
            return
        self.wrapper.meet_error(exc_value, facts)
        self.convert(exc_value, facts, traceback)

    def convert(self, error: BaseException, facts: ErrorFacts, traceback: TracebackType | None) -> None:
        """Raise Django's error in the place of a driver's; Django itself goes by the class."""
        super().__exit__(type(error), error, traceback)
