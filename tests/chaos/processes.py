"""Processes that work at the bank: this one, and its forked children, as `gunicorn --preload` makes them."""

from __future__ import annotations

import logging
import os
import random
import signal
import time
from dataclasses import dataclass
from pathlib import Path

from .bank import Customer
from .ledger import Ledger
from .site import BOUND, routing
from .watch import Watch

POLICIES = ("lag", "window")


@dataclass(frozen=True)
class Staff:
    """How many processes there are, this one among them, and threads in each."""

    seed: int
    directory: Path
    processes: int = 4
    threads: int = 4

    @property
    def pages(self) -> int:
        return self.processes * self.threads

    @property
    def names(self) -> list[str]:
        return [_name(process, thread) for process in range(self.processes) for thread in range(self.threads)]

    def customers(self, process: int, ledger: Ledger, watch: Watch) -> list[Customer]:
        return [
            Customer(
                _name(process, thread),
                page=1 + process * self.threads + thread,
                pages=self.pages,
                rng=random.Random(f"{self.seed} {process} {thread}"),
                ledger=ledger,
                watch=watch,
            )
            for thread in range(self.threads)
        ]


def _name(process: int, thread: int) -> str:
    return f"p{process}t{thread}"


def log_to(path: Path) -> None:
    """What the package has to say goes there, from this process on."""
    handler = logging.FileHandler(path)
    handler.setFormatter(logging.Formatter("%(asctime)s.%(msecs)03d %(threadName)s %(name)s %(message)s", "%H:%M:%S"))
    package = logging.getLogger("django_aurora_routing")
    for old in package.handlers[:]:
        package.removeHandler(old)
    package.addHandler(handler)
    package.setLevel(logging.INFO)
    package.propagate = False


class Desk:
    """The part of one process: a ledger, a watch, and threads."""

    def __init__(self, staff: Staff, process: int, until: int | None = None) -> None:
        self._ledger = Ledger(staff.directory / f"{process}.ledger")
        self.watch = Watch(self._ledger, staff.directory / f"{process}.stacks", BOUND, until)
        self._customers = staff.customers(process, self._ledger, self.watch)
        log_to(staff.directory / f"{process}.log")

    def open(self, *, here: bool) -> None:
        """Set all to work; with `here` the last one in this thread, on the connections that it has, until the end."""
        self.watch.start()
        self._threads = [customer.thread() for customer in self._customers[: -1 if here else None]]
        for thread in self._threads:
            thread.start()
        if here:
            self._customers[-1].work()

    def close(self) -> bool:
        """Whether all have come to their end in the time that one operation may take."""
        self.watch.is_over.set()
        deadline = time.monotonic() + BOUND
        for thread in self._threads:
            thread.join(max(0.0, deadline - time.monotonic()))
        return not any(thread.is_alive() for thread in self._threads)


class Branches:
    """The forked children. They work until the pipe to this process is closed, by `close()` or by its end."""

    def __init__(self, staff: Staff) -> None:
        self._until, self._ours = os.pipe()
        self.pids = [self._fork(staff, number) for number in range(1, staff.processes)]
        os.close(self._until)

    def _fork(self, staff: Staff, number: int) -> int:
        if pid := os.fork():
            return pid
        code = 1
        try:
            signal.signal(signal.SIGINT, signal.SIG_IGN)  # a Ctrl-C is for the parent, which ends us
            os.close(self._ours)
            code = _work(staff, number, self._until)
        finally:
            os._exit(code)

    def close(self) -> dict[int, int | None]:
        """Let them finish; how each has ended, by its pid. None is one that had to be killed."""
        os.close(self._ours)
        codes: dict[int, int | None] = {}
        deadline = time.monotonic() + BOUND + 10
        while len(codes) < len(self.pids) and time.monotonic() < deadline:
            for pid in set(self.pids) - set(codes):
                ended, status = os.waitpid(pid, os.WNOHANG)
                if ended:
                    codes[pid] = os.waitstatus_to_exitcode(status)
            time.sleep(0.05)
        for pid in set(self.pids) - set(codes):
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
            codes[pid] = None
        self.pids = []
        return codes

    def kill(self) -> None:
        """End them at once, if they are still there."""
        for pid in self.pids:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
        self.pids = []


def _work(staff: Staff, number: int, until: int) -> int:
    from django.test import override_settings

    override_settings(AURORA_ROUTING=routing(POLICIES[number % len(POLICIES)])).enable()
    desk = Desk(staff, number, until)
    desk.open(here=True)
    return 0 if desk.close() else 1
