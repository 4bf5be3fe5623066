"""The rows that tell whether a transaction was committed: one is written in it, and asked for by writing it again.

A key that is there already says that the transaction was committed. One that can be written says that it was not, and
stays, as a claim: should the old writer's COMMIT arrive late, the key is taken.
"""

from __future__ import annotations

import logging
import time
from typing import Any

from django.core.exceptions import ImproperlyConfigured
from django.db.utils import Error, IntegrityError, OperationalError, ProgrammingError

from ..errors import FailoverFailedError
from ..routing.errors import WritePrevented

logger = logging.getLogger(__name__)

TABLE = "aurora_routing_committoken"
KEEP_SECONDS = 24 * 3600
"""How old a token becomes. No search for a writer, which it has to outlive, takes nearly as long."""
PRUNE_SECONDS = 60.0
"""How often a process removes old tokens of an alias."""
BATCH = 500

_pruned_at: dict[str, float] = {}  # by alias, time.monotonic()


def write(connection: Any, token: str, *, is_claim: bool = False) -> None:
    """Write a token, in the transaction that is open or in none. Raises IntegrityError where it is there already."""
    try:
        with connection.cursor() as cursor:
            cursor.execute(f"INSERT INTO {TABLE} (token, made, is_claim) VALUES (%s, %s, %s)", _row(token, is_claim))
    except WritePrevented:
        raise
    except ProgrammingError as exc:
        raise ImproperlyConfigured(
            f"retry_on_failover(exactly_once=True) cannot write to its table {TABLE!r} on alias "
            f"{connection.alias!r} ({exc}). It is made by `migrate aurora_routing --database {connection.alias}`."
        ) from exc


def _row(token: str, is_claim: bool) -> list[Any]:
    return [token, int(time.time()), is_claim]


def is_committed(connection: Any, token: str, attempts: int) -> bool:
    """Whether the transaction with this token was committed; if not, it never will be.

    Outside of transactions. While the old one is still open on a living server, this waits for its end. Raises a
    database error when there is no answer to be had.
    """
    for attempt in range(1, attempts + 1):
        try:
            write(connection, token, is_claim=True)
            return False
        except IntegrityError:
            pass
        except FailoverFailedError:
            raise
        except OperationalError:  # lost again, so the claim may be there or not; or it waited too long for a lock
            if attempt == attempts:
                raise
            continue
        with connection.cursor() as cursor:
            cursor.execute(f"SELECT is_claim FROM {TABLE} WHERE token = %s", [token])
            return not cursor.fetchone()[0]
    raise AssertionError("the last attempt returns or raises")


def prune(connection: Any) -> None:
    """Remove some old tokens, now and then: by key, so that nobody waits for a lock. Outside of transactions."""
    now = time.monotonic()
    if now - _pruned_at.get(connection.alias, float("-inf")) < PRUNE_SECONDS:
        return
    if len(_pruned_at) >= 1000:  # dynamic databases come and go
        _pruned_at.clear()
    _pruned_at[connection.alias] = now
    try:
        with connection.cursor() as cursor:
            cursor.execute(
                f"SELECT token FROM {TABLE} WHERE made < %s LIMIT {BATCH}", [int(time.time()) - KEEP_SECONDS]
            )
            old = [token for (token,) in cursor.fetchall()]
            if old:
                cursor.execute(f"DELETE FROM {TABLE} WHERE token IN ({', '.join(['%s'] * len(old))})", old)
    except FailoverFailedError:
        raise
    except Error as exc:
        logger.warning("alias %r: old tokens could not be removed: %s", connection.alias, exc)
    else:
        if len(old) == BATCH:
            _pruned_at.pop(connection.alias, None)  # there are more
