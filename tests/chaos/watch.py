"""Owns the clock of every operation of a process: whoever is past his bound is reported, with all stacks."""

from __future__ import annotations

import faulthandler
import os
import select
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from .ledger import Ledger

_LOOK_EVERY = 0.2


class Watch(threading.Thread):
    """Watches the operations that run inside `over()`, and the pipe whose end tells that the run is over."""

    def __init__(self, ledger: Ledger, stacks: Path, bound: float, until: int | None = None) -> None:
        super().__init__(name="watch", daemon=True)
        self.is_over = threading.Event()
        self._ledger, self._stacks, self._bound, self._until = ledger, stacks, bound, until
        self._over_since: float | None = None
        self._running: dict[str, tuple[str, float]] = {}
        self._reported: set[tuple[str, str, float]] = set()

    @contextmanager
    def over(self, who: str, what: str) -> Iterator[None]:
        """Run one operation that has to end within the bound, whatever happens."""
        began = time.monotonic()
        self._running[who] = (what, began)
        try:
            yield
        finally:
            del self._running[who]
            if time.monotonic() - began > self._bound:
                self._report(who, what, began)

    def run(self) -> None:
        while True:
            self._wait()
            now = time.monotonic()
            for who, (what, began) in list(self._running.items()):
                if now - began > self._bound:
                    self._report(who, what, began)
            if self._over_since is not None and now - self._over_since > self._bound:
                os._exit(1)  # the parent may be gone, and somebody here hangs

    def _wait(self) -> None:
        if self._until is None or self.is_over.is_set():
            time.sleep(_LOOK_EVERY)
        elif select.select([self._until], [], [], _LOOK_EVERY)[0] and not os.read(self._until, 1):
            self._over_since = time.monotonic()
            self.is_over.set()

    def _report(self, who: str, what: str, began: float) -> None:
        if (who, what, began) in self._reported:
            return
        self._reported.add((who, what, began))
        with self._stacks.open("a") as file:
            file.write(f"{who}: {what} has taken {time.monotonic() - began:.1f} s\n")
            file.flush()
            faulthandler.dump_traceback(file)
        self._ledger.note("overdue", who=who, what=what, seconds=time.monotonic() - began)
