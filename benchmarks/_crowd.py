"""Many threads of one process, each with a connection of its own, that write until their cluster has failed over.

`python -m benchmarks._crowd`: by stdin a line of JSON, {"database": DATABASES["default"], "threads": ..., "way": ...}.
With the way "failover" the threads write in a loop; then come a line when the writer has been killed and one with the
time of the promotion. With the way "connect" they wait for a line, and then connect and write once, all together: what
that takes is the floor. The account goes to stdout.
"""

from __future__ import annotations

import datetime
import json
import logging
import os
import random
import socket
import sys
import threading
import time
import uuid
from collections.abc import Callable
from typing import Any

import django
from django.conf import settings

from ._writing import PAUSE_SECONDS, errors_to_repeat

LONGEST_SECONDS = 30.0  # from the promotion, for the last thread
PAUSE_BETWEEN_WRITES = 0.2  # each thread's, in the mean


class Attempts:
    """When this process began to connect somewhere: by the driver's own call, or by Python's sockets."""

    def __init__(self) -> None:
        self.times: list[float] = []

    def listen(self) -> None:
        try:
            from MySQLdb.connections import Connection
        except ImportError:
            pass
        else:
            plain = Connection.__init__

            def counted(connection: Any, *args: Any, **kwargs: Any) -> None:
                self.times.append(time.monotonic())
                plain(connection, *args, **kwargs)

            Connection.__init__ = counted
        sys.addaudithook(self._note)

    def _note(self, event: str, args: tuple[Any, ...]) -> None:
        if event == "socket.connect" and args[0].family in (socket.AF_INET, socket.AF_INET6):
            self.times.append(time.monotonic())


def main() -> None:
    order = json.loads(sys.stdin.readline())
    database = order["database"]
    logging.disable(logging.CRITICAL)
    settings.configure(DATABASES={"default": database}, USE_TZ=False)
    django.setup()
    attempts = Attempts()
    attempts.listen()
    wrote = [0.0] * order["threads"]
    if order["way"] == "connect":
        report = connect_together(wrote)
    else:
        report = fail_over(wrote, errors_to_repeat(database["ENGINE"]))
    print(json.dumps({**report, "wrote": wrote, "attempts": attempts.times}), flush=True)
    os._exit(0)  # not every contender's threads let a process end


def connect_together(wrote: list[float]) -> dict[str, Any]:
    write = writing()
    ready, go = threading.Semaphore(0), threading.Event()

    def work(number: int) -> None:
        ready.release()
        go.wait()
        write()
        wrote[number] = time.monotonic()

    start(work, len(wrote))
    for _ in wrote:
        ready.acquire()
    print("writing", flush=True)
    sys.stdin.readline()
    began = time.monotonic()
    go.set()
    wait_until(lambda: all(wrote), began + LONGEST_SECONDS)
    return {"began": began}


def fail_over(wrote: list[float], again: type[BaseException]) -> dict[str, Any]:
    """Each thread's last write goes to `wrote`, until it has written once since the promotion."""
    write = writing()
    promoted_at: list[float] = []
    rng = random.Random(1)

    def work(number: int) -> None:
        while not (promoted_at and wrote[number] > promoted_at[0]):
            try:
                write()
                wrote[number] = time.monotonic()
                time.sleep(rng.uniform(0.5, 1.5) * PAUSE_BETWEEN_WRITES)
            except again:
                pass
            except Exception:  # noqa: BLE001 - the AWS wrapper's errors are not Django's
                time.sleep(PAUSE_SECONDS)

    start(work, len(wrote))
    wait_until(lambda: all(wrote), time.monotonic() + LONGEST_SECONDS)
    print("writing", flush=True)
    sys.stdin.readline()
    killed_at = time.monotonic()
    promoted_at.append(float(sys.stdin.readline()))
    wait_until(lambda: min(wrote) > promoted_at[0], time.monotonic() + LONGEST_SECONDS)
    return {"killed": killed_at}


def writing() -> Callable[[], object]:
    from ._rows import row_model

    rows = row_model().objects
    now = datetime.datetime(2025, 1, 2, 3, 4, 5)
    return lambda: rows.create(token=uuid.uuid4().hex, name="Lamp", price=1, quantity=1, made=now)


def start(work: Callable[[int], None], threads: int) -> None:
    for number in range(threads):
        threading.Thread(target=work, args=(number,), daemon=True).start()


def wait_until(is_so: Callable[[], bool], deadline: float) -> None:
    while not is_so() and time.monotonic() < deadline:
        time.sleep(0.02)


if __name__ == "__main__":
    main()
