"""One process that imports a backend, connects and fails over, and says at each step what that has cost.

`python -m benchmarks._resting`: DATABASES["default"] comes as a line of JSON by stdin, then a line for each further
step; each step is answered by a line of JSON on stdout.
"""

from __future__ import annotations

import importlib
import json
import logging
import os
import resource
import sys
import threading
import time
from pathlib import Path

import django
from django.conf import settings
from django.db import connection, models  # noqa: F401 - models are there already in any project

FAILOVER_SECONDS = 30.0
STATM = Path("/proc/self/statm")


def main() -> None:
    database = json.loads(sys.stdin.readline())
    logging.disable(logging.CRITICAL)
    settings.configure(DATABASES={"default": database})
    django.setup()
    before = memory()
    started = time.perf_counter()
    importlib.import_module(f"{database['ENGINE']}.base")
    seconds = time.perf_counter() - started
    answer(seconds=seconds, memory=memory() - before)
    for step in sys.stdin:
        if step == "connect\n":
            ask("SELECT 1")
        elif step == "write\n":
            write_again()
        answer(memory=memory() - before)
    os._exit(0)


def answer(**figures: float) -> None:
    # Threads of Python, by name: a library's own are none of the contender's making.
    threads = sorted(thread.name for thread in threading.enumerate() if thread is not threading.main_thread())
    print(json.dumps({**figures, "threads": threads, "cpu": time.process_time()}), flush=True)


def memory() -> float:
    """MiB that are resident; the highest there were so far where the present ones are not told."""
    if STATM.exists():
        return int(STATM.read_text().split()[1]) * resource.getpagesize() / 2**20
    highest = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return highest / (2**20 if sys.platform == "darwin" else 2**10)


def ask(sql: str) -> None:
    with connection.cursor() as cursor:
        cursor.execute(sql)
        if cursor.description:
            cursor.fetchall()


def write_again() -> None:
    """Insert until it works, as the application would."""
    deadline = time.monotonic() + FAILOVER_SECONDS
    while True:
        try:
            return ask("INSERT INTO resting VALUES (1)")
        except Exception:  # the AWS wrapper's errors are not Django's
            if time.monotonic() > deadline:
                raise


if __name__ == "__main__":
    main()
