"""Turns driver errors into Django's; the one place where every failed driver call of a connection passes."""

from __future__ import annotations

from types import TracebackType
from typing import TYPE_CHECKING, Any

from django.db.utils import DatabaseErrorWrapper

if TYPE_CHECKING:
    from ..cluster.activity import Activity
    from .wrapper import ClusterWrapperMixin


class ClusterErrorWrapper(DatabaseErrorWrapper):
    """Django's error wrapper, with two marks for the host monitor and a look at each error for a lost connection."""

    wrapper: Any

    def __init__(self, wrapper: ClusterWrapperMixin, activity: Activity) -> None:
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
        self.wrapper.meet_error(exc_value)
        super().__exit__(exc_type, exc_value, traceback)
