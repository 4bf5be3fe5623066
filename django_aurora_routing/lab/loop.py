"""Owns the event loop under the facade: readiness, timers, calls from other threads; knows nothing of MySQL."""

import contextlib
import heapq
import itertools
import logging
import selectors
import socket
import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Any, TypeVar

logger = logging.getLogger(__name__)

READ, WRITE = selectors.EVENT_READ, selectors.EVENT_WRITE

T = TypeVar("T")
OnReady = Callable[[int], None]


class Loop:
    """One thread, one selector. asyncio would do the same for five times the cost of a forwarded query."""

    def __init__(self) -> None:
        self._selector = selectors.DefaultSelector()
        self._calls: deque[Callable[[], None]] = deque()
        self._timers: list[tuple[float, int, Callable[[], None]]] = []
        self._order = itertools.count()
        self._waker, wakee = socket.socketpair()
        self._waker.setblocking(False)
        wakee.setblocking(False)
        self._wakee = wakee
        self._stopping = False
        self._selector.register(wakee, READ, self._run_calls)
        self._thread = threading.Thread(target=self._run, name="aurora-lab-facade", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        def stop() -> None:
            self._stopping = True

        self.submit(stop)
        self._thread.join()

    def watch(self, sock: socket.socket, before: int, wanted: int, on_ready: OnReady) -> int:
        """Make `wanted` the events of `sock`, which were `before`; return `wanted`. On the loop's thread."""
        if wanted == before:
            return wanted
        if not before:
            self._selector.register(sock, wanted, on_ready)
        elif wanted:
            self._selector.modify(sock, wanted, on_ready)
        else:
            self._selector.unregister(sock)
        return wanted

    def at(self, due: float, call: Callable[[], None]) -> None:
        """Run `call` at `due` of the monotonic clock; equal ones keep their order. On the loop's thread."""
        heapq.heappush(self._timers, (due, next(self._order), call))

    def submit(self, call: Callable[[], None]) -> None:
        """Run `call` on the loop's thread soon; from any thread."""
        self._calls.append(call)
        with contextlib.suppress(BlockingIOError):  # enough wake-ups are on their way
            self._waker.send(b"\0")

    def run(self, call: Callable[[], T]) -> T:
        """Run `call` on the loop's thread and return what it returns; from any other thread."""
        done = threading.Event()
        outcome: dict[str, Any] = {}

        def run() -> None:
            try:
                outcome["value"] = call()
            except BaseException as error:  # noqa: BLE001 - raised again where it was asked for
                outcome["error"] = error
            done.set()

        self.submit(run)
        done.wait()
        if "error" in outcome:
            raise outcome["error"]
        value: T = outcome["value"]
        return value

    def _run(self) -> None:
        select, timers = self._selector.select, self._timers
        while not self._stopping:
            for key, events in select(max(0.0, timers[0][0] - time.monotonic()) if timers else None):
                try:
                    key.data(events)
                except Exception:  # one bad connection must not end the cluster
                    logger.exception("the facade failed on %r", key.fileobj)
            while timers and timers[0][0] <= time.monotonic():
                try:
                    heapq.heappop(timers)[2]()
                except Exception:
                    logger.exception("a timed call of the facade failed")

    def _run_calls(self, events: int) -> None:
        with contextlib.suppress(BlockingIOError):
            self._wakee.recv(4096)
        while self._calls:
            self._calls.popleft()()
