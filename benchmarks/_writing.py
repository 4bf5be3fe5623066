"""One process that inserts rows by the ORM until its cluster has failed over, and says what became of each row.

`python -m benchmarks._writing`: DATABASES["default"] comes as a line of JSON by stdin, then a line when the writer has
been killed, then the time of the promotion; the account goes to stdout. It is an application as each contender's
documentation has it: FailoverSuccessError means "run it again".
"""

from __future__ import annotations

import datetime
import importlib
import json
import logging
import os
import sys
import threading
import time
import uuid
from collections import Counter
from dataclasses import dataclass, field

import django
from django.conf import settings
from django.db import close_old_connections

LONGEST_SECONDS = 30.0  # from the promotion, for the first write since
WRITE_ON_SECONDS = 1.0  # after it
PAUSE_SECONDS = 0.01  # after an error that says nothing of a new writer


@dataclass
class Account:
    """Rows by their token. `written` is when an INSERT returned, `found` are those that were looked up instead."""

    written: dict[str, float] = field(default_factory=dict)
    found: list[str] = field(default_factory=list)
    errors: Counter[str] = field(default_factory=Counter)

    def is_written_since(self, moment: float) -> bool:
        return any(at > moment for at in reversed(list(self.written.values())))


def main() -> None:
    database = json.loads(sys.stdin.readline())
    logging.disable(logging.CRITICAL)
    settings.configure(DATABASES={"default": database}, USE_TZ=False)
    django.setup()
    account = Account()
    again = errors_to_repeat(database["ENGINE"])
    # Here is only waited: whatever the contender does, the account is given.
    threading.Thread(target=write_on, args=(account, again), daemon=True).start()
    wait_for_write(account, since=float("-inf"))
    print("writing", flush=True)
    sys.stdin.readline()
    killed_at, used = time.monotonic(), time.process_time()
    promoted_at = float(sys.stdin.readline())
    cpu = (time.process_time() - used) / (time.monotonic() - killed_at)
    wait_for_write(account, since=promoted_at)
    time.sleep(WRITE_ON_SECONDS)
    report = {"written": dict(account.written), "found": account.found, "errors": account.errors, "cpu": cpu}
    print(json.dumps(report), flush=True)
    os._exit(0)  # not every contender's threads let a process end


def wait_for_write(account: Account, *, since: float) -> None:
    deadline = time.monotonic() + LONGEST_SECONDS
    while not account.is_written_since(since) and time.monotonic() < deadline:
        time.sleep(0.05)


def errors_to_repeat(engine: str) -> type[BaseException]:
    """The error after which the contender's documentation says to run the statement again."""
    home = "aws_advanced_python_wrapper.errors" if engine.startswith("aws_") else "django_aurora_routing"
    again: type[BaseException] = importlib.import_module(home).FailoverSuccessError
    return again


def write_on(account: Account, again: type[BaseException]) -> None:
    """Write row after row; one of unknown fate is looked for before it is written again."""
    from ._rows import row_model

    rows = row_model().objects
    now = datetime.datetime(2025, 1, 2, 3, 4, 5)
    while True:
        close_old_connections()  # what Django does before each request
        token, is_in_doubt, is_done = uuid.uuid4().hex, False, False
        while not is_done:
            try:
                if is_in_doubt and rows.filter(token=token).exists():
                    account.found.append(token)
                else:
                    rows.create(token=token, name="Lamp", price=1, quantity=1, made=now)
                    account.written[token] = time.monotonic()
                is_done = True
            except again as error:
                account.errors[type(error).__name__] += 1
            except Exception as error:  # noqa: BLE001 - the AWS wrapper's errors are not Django's
                account.errors[type(error).__name__] += 1
                is_in_doubt = True
                time.sleep(PAUSE_SECONDS)


if __name__ == "__main__":
    main()
