"""Lets the threads of a process connect: so many at a time, and to an instance that fails them, one now and then."""

from __future__ import annotations

import contextlib
import math
import random
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

from ..core.endpoints import Address
from ..core.failures import Failure
from ..core.pacing import Backoff

MAX_CONNECTING = 24
"""How many connects one process has under way to one cluster at a time, so that a failover is no stampede."""

FIRST_PAUSE, LONGEST_PAUSE = 0.1, 1.0
"""Seconds between two connects to an instance to which they fail; up to half of it is taken off by chance."""


@dataclass(frozen=True, slots=True)
class Failed:
    """Why a connect failed, when another one, there or elsewhere, may succeed. `error` is the driver's, if any."""

    failure: Failure
    error: BaseException | None
    reason: str

    def copy(self) -> Failed:
        """The same, with an error of its own: one that many raise would gather the frames of them all."""
        return self if self.error is None else replace(self, error=_copy(self.error))


def _copy(error: BaseException) -> BaseException:
    """The error as it was made, without its traceback. Not `copy.copy()`: Connector/Python's errors come out wrong."""
    made = type(error).__new__(type(error), *error.args)
    made.__dict__.update(error.__dict__)
    made.args = error.args
    return made


class Gate:
    """One a cluster. What succeeds is held up by the number alone.

    After a failure, connects to that instance are `FIRST_PAUSE` apart, then twice that each time, until one succeeds.
    So a crowd makes at most `MAX_CONNECTING` and 5 connects that fail in its first second, then 2 a second.
    """

    def __init__(self) -> None:
        lock = threading.Lock()
        self._free = threading.Condition(lock)  # somebody has done with connecting
        self._due = threading.Condition(lock)  # an instance takes connections again
        self._connecting = 0
        self._failing: dict[Address, Backoff] = {}
        self._last: dict[Address, Failed] = {}  # why, the last time
        self._rng = random.Random()

    @contextlib.contextmanager
    def turn(
        self,
        address: Address,
        until: float,
        *,
        until_if_busy: float = math.inf,
        is_current: Callable[[], bool] = lambda: True,
    ) -> Iterator[bool]:
        """For the block, a connect may be made; not if it gives False.

        Because it is past `until` by then, or past `until_if_busy` at a server that takes no more connections; or
        because the choice of this instance `is_current` no more: that is asked under the lock, again after each
        `look_again()`.
        """
        with self._free:
            has_turn = self._await_turn(address, until, until_if_busy, is_current)
            self._connecting += has_turn
        try:
            yield has_turn
        finally:
            with self._free:
                self._connecting -= has_turn
                self._free.notify()

    def _await_turn(self, address: Address, until: float, until_if_busy: float, is_current: Callable[[], bool]) -> bool:
        """Hold the lock. Who does not connect in the end leaves an instance's pauses as they are."""
        while (now := time.monotonic()) < until and is_current():
            backoff = self._failing.get(address)
            if backoff is not None and not backoff.is_due(now):
                limit = min(until, until_if_busy) if self._last[address].failure is Failure.BUSY else until
                if now >= limit:
                    return False
                self._free.notify()  # if it was for this one, it is for another one now
                self._due.wait(min(backoff.due_at, limit) - now)
            elif self._connecting >= MAX_CONNECTING:
                self._free.wait(until - now)
            else:
                if backoff is not None:
                    self._failing[address] = backoff.failed(now, self._rng.random())  # unless it succeeds
                return True
        return False

    def look_again(self) -> None:
        """Something has changed: whoever waits asks once more whether he wants to connect there."""
        with self._free:
            self._free.notify_all()
            self._due.notify_all()

    def note(self, address: Address, failed: Failed | None = None) -> None:
        """What became of a connect: with nothing that speaks against it, others may follow."""
        with self._free:
            if failed is not None:
                self._last[address] = failed.copy()
                if address not in self._failing:
                    backoff = Backoff(FIRST_PAUSE, LONGEST_PAUSE)
                    self._failing[address] = backoff.failed(time.monotonic(), self._rng.random())
            elif self._failing.pop(address, None) is not None:
                del self._last[address]
                self._due.notify_all()

    def last_failure(self, address: Address) -> Failed | None:
        """Why the last connect to that instance failed, whoever made it; None when it did not."""
        with self._free:
            last = self._last.get(address)
        return None if last is None else last.copy()
