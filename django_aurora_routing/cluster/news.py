"""Wakes the threads that wait for news of a cluster: a few at first, and each of them the next."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from .gate import MAX_CONNECTING


class News:
    """For a crowd that is woken at once, each has to wait for all others at every lock, and at the interpreter's.

    After a failover the first that connect would be held up most. So as many are woken as may connect at a time.
    """

    def __init__(self, lock: threading.RLock) -> None:
        """Whoever calls a method holds the lock."""
        self._told = threading.Condition(lock)

    def tell(self) -> None:
        """There is news, for all who wait now."""
        self._told.notify(MAX_CONNECTING)

    def wait(self, is_there: Callable[[], bool], until: float) -> None:
        """Return when there is news, which stays so; at the latest at `until` (`time.monotonic()`)."""
        # They are woken in the order in which they came: who finds nothing new has none behind him who would.
        if self._told.wait_for(is_there, max(0.0, until - time.monotonic())):
            self._told.notify()
