"""The one kind of background thread: named, daemon, started at first use, ended when its owner goes."""

from __future__ import annotations

import logging
import os
import threading
import weakref
from collections.abc import Callable
from typing import Generic, TypeVar

from ..forks import rest_if_carried_along

Owner = TypeVar("Owner")

logger = logging.getLogger(__name__)

_AFTER_A_BUG = 1.0  # seconds until the next turn when a turn raised what it should not have


class BackgroundThread(Generic[Owner]):
    """Calls `turn(owner)` again and again; each turn returns the seconds until the next, or None to end.

    The owner is held weakly. `wake()` makes the next turn happen now, starting the thread when there is none. `end`
    is called in the thread when it ends, to let go of what only the thread may touch.
    """

    def __init__(
        self,
        name: str,
        owner: Owner,
        turn: Callable[[Owner], float | None],
        end: Callable[[Owner], None] | None = None,
    ) -> None:
        self._name = name
        self._owner = weakref.ref(owner)
        self._turn = turn
        self._end = end
        self.forget()

    def forget(self) -> None:
        """Start from nothing: in a forked child the thread is gone, and its locks may have been held."""
        self._lock = threading.Lock()
        self._wakeup = threading.Event()
        self._thread: threading.Thread | None = None
        self._stopping = False

    @property
    def is_running(self) -> bool:
        return self._thread is not None

    def wake(self) -> None:
        """Have a turn now. After a `stop()` that is still under way, go on as if it had not been."""
        with self._lock:
            self._stopping = False
            self._wakeup.set()
            if self._thread is None:
                thread = threading.Thread(target=self._run, name=self._name, daemon=True)
                try:
                    thread.start()
                except RuntimeError as exc:
                    # At interpreter exit, or at the limit of threads: a statement must not fail for its monitor.
                    logger.warning("%s cannot be started: %s", self._name, exc)
                    return
                self._thread = thread

    def start(self) -> None:
        """Have the thread run; where it does, it takes no turn for this."""
        if self._thread is None or self._stopping:
            self.wake()

    def stop(self, timeout: float = 0.0) -> None:
        """End after the current turn, and wait for that at most `timeout` seconds. It can be woken up again."""
        with self._lock:
            thread = self._thread
            if thread is None:
                return
            self._stopping = True
            self._wakeup.set()
        if thread is not threading.current_thread():
            thread.join(max(0.0, timeout))

    def _run(self) -> None:
        process = os.getpid()
        while True:
            self._wakeup.clear()
            pause = None if self._stopping else self._take_turn()
            rest_if_carried_along(process)
            if pause is None:
                with self._lock:
                    if self._stopping or not self._wakeup.is_set():
                        self._finish()
                        self._thread, self._stopping = None, False
                        return
                continue
            self._wakeup.wait(pause)
            rest_if_carried_along(process)

    def _take_turn(self) -> float | None:
        if (owner := self._owner()) is None:
            return None
        try:
            return self._turn(owner)
        except ReferenceError:
            return None  # the owner's own owner is gone
        except Exception:
            logger.exception("%s: a turn failed; the next one is in %.1f s", self._name, _AFTER_A_BUG)
            return _AFTER_A_BUG

    def _finish(self) -> None:
        """Hold the lock, so that no second thread begins before this one has let go."""
        owner = self._owner()
        if owner is None or self._end is None:
            return
        try:
            self._end(owner)
        except Exception:
            logger.exception("%s: could not end properly", self._name)
