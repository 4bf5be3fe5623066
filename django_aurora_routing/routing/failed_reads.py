"""A plain read that its reader failed, made by another reader of the cluster or by the writer; on any backend.

For readers that are lost while they are connected. One that cannot be connected to is passed over when it is chosen
(readers.py), and our own backend first looks for another instance by itself.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable
from typing import Any

from django.db import Error, InterfaceError, OperationalError, connections
from django.db.backends.base.base import BaseDatabaseWrapper

from ..conf import routing_settings
from ..core.failures import Failure, classify_postgresql
from ..errors import FailoverError
from . import readers
from .clusters import Cluster
from .scopes import set_aside

logger = logging.getLogger(__name__)

Execute = Callable[[str, Any, bool, dict[str, Any]], Any]

_CONFLICT = "40001"  # PostgreSQL cancels a read on a standby that is in the way of replication


def is_worth_another_reader(error: Error, connection: BaseDatabaseWrapper) -> bool:
    """Whether the same read may succeed elsewhere: outside of transactions, when it was not the read that was wrong."""
    if not isinstance(error, (OperationalError, InterfaceError)) or isinstance(error, FailoverError):
        return False
    if connection.in_atomic_block or not connection.autocommit:
        return False
    return sqlstate_of(error) == _CONFLICT or is_lost(connection, error)


def is_lost(connection: BaseDatabaseWrapper, error: Error) -> bool:
    """Whether an error has left nothing of the connection that is of use. Asks the server where the error is silent.

    Our own backend also gives up one that lives, on a server that has another role by now.
    """
    if connection.connection is None:
        return True
    if connection.vendor == "postgresql" and (state := sqlstate_of(error)) is not None:
        severity = getattr(getattr(error.__cause__, "diag", None), "severity_nonlocalized", None)
        if classify_postgresql(state, severity) is Failure.LOST:
            return True
    return not connection.is_usable()


def read_elsewhere(
    error: Error, cluster: Cluster, execute: Execute, sql: Any, params: Any, context: dict[str, Any]
) -> Any:
    """What `execute` returns elsewhere; the cursor leads there from then on. Raises `error` if nobody serves it."""
    cursor = context["cursor"]
    tried: set[str] = set()
    while True:
        failed: BaseDatabaseWrapper = context["connection"]
        tried.add(failed.alias)
        with contextlib.suppress(Exception):
            cursor.cursor.close()
        if sqlstate_of(error) != _CONFLICT:
            with contextlib.suppress(Error):
                failed.close()
            if failed.alias in cluster.readers:
                set_aside(cluster.name, failed.alias)
        other = _next(cluster, tried, failed)
        if other is None:
            raise error
        logger.warning("Alias %r failed a read, which goes to %r instead: %s", failed.alias, other.alias, error)
        _lead_to(other, context)
        try:
            return execute(sql, params, False, context)
        except Error as again:
            if not is_worth_another_reader(again, other):
                raise
            error = again


def _next(cluster: Cluster, tried: set[str], failed: BaseDatabaseWrapper) -> BaseDatabaseWrapper | None:
    """A connection of another reader, or else of the writer, that understands the same cursors."""
    fit = readers.fit_readers(cluster, routing_settings().max_lag)
    while fit := tuple(alias for alias in fit if alias not in tried):
        alias = readers.one_of(cluster, fit)
        tried.add(alias)
        if _can_stand_in(connections[alias], failed) and readers.answers(alias):
            return connections[alias]
    writer = connections[cluster.writer]
    if writer.alias in tried or routing_settings().on_no_reader == "error" or not _can_stand_in(writer, failed):
        return None
    return writer


def stands_in(other: BaseDatabaseWrapper, context: dict[str, Any]) -> bool:
    """Have the cursor lead to another connection that understands the same cursors; whether it can."""
    if not _can_stand_in(other, context["connection"]):
        return False
    with contextlib.suppress(Exception):
        context["cursor"].cursor.close()
    _lead_to(other, context)
    return True


def _lead_to(other: BaseDatabaseWrapper, context: dict[str, Any]) -> None:
    cursor = context["cursor"]
    instead = other.chunked_cursor() if getattr(cursor.cursor, "name", None) else other.cursor()
    cursor.cursor, cursor.db, context["connection"] = instead.cursor, other, other
    if hasattr(instead, "made_on"):  # our backend's, which would make its cursor anew on another connection than that
        cursor.made_on = instead.made_on


def _can_stand_in(other: BaseDatabaseWrapper, failed: BaseDatabaseWrapper) -> bool:
    return type(other) is type(failed) and not other.in_atomic_block


def sqlstate_of(error: Error) -> str | None:
    """The SQLSTATE that came with an error, by psycopg's name for it, or by psycopg2's."""
    cause = error.__cause__
    return getattr(cause, "sqlstate", None) or getattr(cause, "pgcode", None)
