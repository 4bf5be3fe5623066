"""Ends calls that a driver itself cannot end in time. One daemon thread while there are such calls."""

from __future__ import annotations

import contextlib
import heapq
import itertools
import os
import threading
import time
from collections.abc import Callable, Iterator

from ..forks import in_each_child, rest_if_carried_along

_LINGER = 1.0  # seconds without any call before the thread ends


class Watchdog:
    """Runs a callback after a delay unless the guarded block has ended by then."""

    def __init__(self) -> None:
        self._reset()

    def _reset(self) -> None:
        self._condition = threading.Condition()
        self._due: list[tuple[float, int, list[Callable[[], object] | None]]] = []
        self._ids = itertools.count()
        self._thread: threading.Thread | None = None

    @contextlib.contextmanager
    def after(self, seconds: float, callback: Callable[[], object]) -> Iterator[None]:
        """Guard a block: `callback` runs in the watchdog's thread once `seconds` have passed inside it.

        It keeps being called, once a second, until the block ends: a socket shut down while the driver was still
        resolving the name would have been missed.
        """
        entry: list[Callable[[], object] | None] = [callback]
        with self._condition:
            if self._thread is None:
                thread = threading.Thread(target=self._run, name="aurora-watchdog", daemon=True)
                # At interpreter exit, and at the limit of threads, the block has to do without.
                with contextlib.suppress(RuntimeError):
                    thread.start()
                    self._thread = thread
            heapq.heappush(self._due, (time.monotonic() + seconds, next(self._ids), entry))
            if self._due[0][2] is entry:
                self._condition.notify()
        try:
            yield
        finally:
            entry[0] = None

    def _run(self) -> None:
        condition, process = self._condition, os.getpid()
        while True:
            rest_if_carried_along(process)
            with condition:
                while self._due and self._due[0][2][0] is None:
                    heapq.heappop(self._due)
                if not self._due:
                    was_told = condition.wait(_LINGER)
                    rest_if_carried_along(process)
                    if not was_told and not self._due:
                        self._thread = None
                        return
                    continue
                wait = self._due[0][0] - time.monotonic()
                if wait > 0:
                    condition.wait(min(wait, _LINGER))  # a block that has ended tells nobody
                    continue
                _, ident, entry = heapq.heappop(self._due)
                heapq.heappush(self._due, (time.monotonic() + 1.0, ident, entry))
            if (callback := entry[0]) is not None:
                callback()


WATCHDOG = Watchdog()
in_each_child(WATCHDOG._reset)
