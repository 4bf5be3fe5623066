"""One process that is at some place when its server falls silent, and says how long it hung there.

`python -m benchmarks._hanging`: by stdin a line of JSON, {"database": DATABASES["default"], "place": ...}. It says
"ready" before it does what is to hang, and waits for a line; then when that began and ended, and the error.
"""

from __future__ import annotations

import json
import logging
import os
import sys
import time
from collections.abc import Iterator
from typing import Any

import django
from django.conf import settings
from django.db import connection, transaction


def main() -> None:
    order = json.loads(sys.stdin.readline())
    logging.disable(logging.CRITICAL)
    settings.configure(DATABASES={"default": order["database"]}, USE_TZ=False)
    django.setup()
    began, error = time.monotonic(), None
    try:
        for moment in at(order["place"]):
            began = moment
    except Exception as exc:  # noqa: BLE001 - the AWS wrapper's errors are not Django's
        error = type(exc).__name__
    print(json.dumps({"began": began, "ended": time.monotonic(), "error": error}), flush=True)
    os._exit(0)


def at(place: str) -> Iterator[float]:
    """Yields the moment when the call that is to hang begins; makes that call when it is resumed."""
    ask("SELECT 1")
    if place == "statement":
        wait()
        yield time.monotonic()
        ask("DO 1")
    elif place == "COMMIT":
        transaction.set_autocommit(False)  # atomic() would connect again before it ends
        ask("INSERT INTO hanging VALUES (1)")
        wait()
        yield time.monotonic()
        transaction.commit()
    elif place == "fetch":
        wait()
        yield time.monotonic()
        ask("SELECT REPEAT('x', 1000), SLEEP(0.01) FROM seq_1_to_500")
    else:
        connection.close()
        wait()
        yield time.monotonic()
        connection.ensure_connection()


def wait() -> None:
    print("ready", flush=True)
    sys.stdin.readline()


def ask(sql: str) -> Any:
    with connection.cursor() as cursor:
        cursor.execute(sql)
        return cursor.fetchall() if cursor.description else None


if __name__ == "__main__":
    main()
