"""Wakes the threads that wait for news of a cluster: a few at first, and each of them the next."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from types import TracebackType

from .gate import MAX_CONNECTING


class News:
    """One a cluster, under the lock that its view changes under.

    A crowd that is woken at once has to wait for all of itself at every lock, and at the interpreter's: after a
    failover the first to connect would be held up most. So as many are woken as may connect at a time.
    """

    def __init__(self, lock: threading.RLock) -> None:
        self._to_connect = threading.Condition(lock)
        self._to_know = threading.Condition(lock)

    def tell(self) -> None:
        """There is news, for all who wait now. Whoever calls this holds the lock."""
        for told in (self._to_connect, self._to_know):
            told.notify(MAX_CONNECTING)

    def wait(self, is_there: Callable[[], bool], until: float) -> None:
        """Return when there is news, which stays so; at the latest at `until` (`time.monotonic()`).

        For one who only has to know: he does not wait for those that connect.
        """
        with Waiting(self._to_know) as waiting:
            waiting.wait(is_there, until)

    def waiting(self) -> Waiting:
        """For one who connects when there is news, and may wait again then."""
        return Waiting(self._to_connect)


class Waiting:
    """The next is woken when this one has connected, or waits again: awake, he could but queue at the gate.

    Should that take its time, nobody depends on it who does not wait for long.
    """

    def __init__(self, told: threading.Condition) -> None:
        self._told = told
        self._wakes_next = False

    def wait(self, is_there: Callable[[], bool], until: float) -> None:
        """As `News.wait()`."""
        with self._told:
            self._wake_next()
            # They are woken in the order in which they came: who finds nothing new has none behind him who would.
            self._wakes_next = True  # also when an exception ends the wait, which may have been woken already
            self._wakes_next = self._told.wait_for(is_there, max(0.0, until - time.monotonic()))

    def pass_on(self) -> None:
        """What comes next may take its time: wake the next one now."""
        if self._wakes_next:
            with self._told:
                self._wake_next()

    def _wake_next(self) -> None:
        if self._wakes_next:
            self._wakes_next = False
            self._told.notify()

    def __enter__(self) -> Waiting:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.pass_on()
