"""Readers for tests: mirrors of the writer, readers that are behind for as long as a test wants, lags as told."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from typing import Any

from django.core.exceptions import ImproperlyConfigured
from django.db import NotSupportedError, connections
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.transaction import TransactionManagementError

from ..conf import did_you_mean, listed
from ..routing import lag
from ..routing.clusters import clusters
from ..routing.lag import Lag
from .contexts import context
from .stand_ins import standing_in


def writers_of(readers: tuple[str, ...]) -> dict[str, str]:
    """The writer of each of the readers, or of all that there are. Raises ImproperlyConfigured for other aliases."""
    known = clusters()
    for alias in readers:
        if alias not in known.readers:
            hint = did_you_mean(alias, known.readers)
            raise ImproperlyConfigured(f"{alias!r} is no reader.{hint} There is {listed(sorted(known.readers))}.")
    return {alias: known.by_alias[alias].writer for alias in readers or sorted(known.readers)}


@context
def mirror_readers(*readers: str) -> Iterator[None]:
    """Have readers show what the writer has, the rows of its open transaction too, as Django's TestCase needs it.

    A reader keeps its alias and its count of queries, and refuses what writes. It uses the writer's connection, so
    tests need not name it in `databases`. All readers of all clusters, unless some are named.
    """
    writers = writers_of(readers)
    with standing_in(writers, lambda alias: connections[writers[alias]]):
        yield


class StaleReaders:
    """What `stale_readers()` gives."""

    def __init__(self, snapshots: Mapping[str, Snapshot]) -> None:
        self._snapshots = snapshots

    def catch_up(self, *readers: str) -> None:
        """Have these readers show what the writer has by now; all of them unless some are named."""
        for alias in readers or self._snapshots:
            self._snapshots[alias].take()


@context
def stale_readers(*readers: str) -> Iterator[StaleReaders]:
    """Have readers show what the writer had at the beginning, until they `catch_up()`, whatever it writes meanwhile.

    On SQLite the readers get a copy of the database. On MySQL, MariaDB and PostgreSQL they hold a transaction with a
    snapshot, which cannot have rows that are not committed: there this needs a TransactionTestCase.
    """
    writers = writers_of(readers)
    snapshots: dict[str, Snapshot] = {}
    try:
        for alias, writer in writers.items():
            snapshots[alias] = Snapshot(writer)
            snapshots[alias].take()
        with standing_in(writers, lambda alias: snapshots[alias].connection):
            yield StaleReaders(snapshots)
    finally:
        for snapshot in snapshots.values():
            snapshot.discard()


class Snapshot:
    """A connection, shared by all threads, to what the writer had when `take()` was called last."""

    def __init__(self, writer: str) -> None:
        self._writer = writer
        source = connections[writer]
        settings: dict[str, Any] = {**source.settings_dict, "CONN_MAX_AGE": None, "CONN_HEALTH_CHECKS": False}
        if source.vendor == "sqlite":
            settings["NAME"] = ":memory:"
        # To Django's test cases it is a connection of the writer's, and allowed where that is.
        self.connection: BaseDatabaseWrapper = type(source)(settings, writer)
        self.connection.inc_thread_sharing()
        vars(self.connection)["close"] = lambda: None  # those who end a request would end the snapshot

    def take(self) -> None:
        source: Any = connections[self._writer]
        source.ensure_connection()
        if source.vendor == "sqlite":
            self._copy(source.connection)
            return
        statements = _SNAPSHOT.get(source.vendor)
        if statements is None:
            raise NotSupportedError(f"stale_readers() does not know how to take a snapshot on {source.display_name}.")
        if source.in_atomic_block or not source.autocommit:
            raise TransactionManagementError(
                f"stale_readers() cannot show what the open transaction on {self._writer!r} has written: use a "
                "TransactionTestCase, or pytest.mark.django_db(transaction=True)."
            )
        self._begin(statements)

    def _copy(self, source: Any) -> None:
        BaseDatabaseWrapper.close(self.connection)
        self.connection.ensure_connection()
        target: Any = self.connection.connection
        if not source.in_transaction:
            source.backup(target)
            return
        target.execute("PRAGMA foreign_keys = OFF")
        target.executescript("\n".join(source.iterdump()))  # backup() would wait for the end of the transaction
        target.execute("PRAGMA foreign_keys = ON")

    def _begin(self, statements: tuple[str, ...]) -> None:
        """Inside an atomic block as far as Django can tell: atomic() on the reader makes savepoints, no COMMIT."""
        connection = self.connection
        connection.ensure_connection()
        connection.in_atomic_block = False
        if connection.autocommit:
            connection.set_autocommit(False)
        else:
            connection.rollback()
        with connection.cursor() as cursor:
            for statement in statements:
                cursor.execute(statement)
        connection.in_atomic_block = True

    def discard(self) -> None:
        del vars(self.connection)["close"]
        self.connection.in_atomic_block = False
        BaseDatabaseWrapper.close(self.connection)  # SQLite's own leaves databases in memory open


_LEVEL = "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ"
_SNAPSHOT = {
    "mysql": (_LEVEL, "START TRANSACTION WITH CONSISTENT SNAPSHOT, READ ONLY"),
    "postgresql": (f"{_LEVEL}, READ ONLY", "SELECT 1"),  # the first query takes it
}


class _Told:
    """A source of lags; see `lag.Source`."""

    def __init__(self, seconds: Mapping[str, float]) -> None:
        self.seconds = dict(seconds)

    def lags(self, alias: str) -> tuple[Lag, ...]:
        if alias not in self.seconds:
            return ()
        return (Lag(alias, self.seconds[alias], time.monotonic()),)

    def request_newer(self, alias: str) -> None:
        """It is as new as can be."""


@context
def observed_lag(seconds: Mapping[str, float]) -> Iterator[dict[str, float]]:
    """Have the routers believe that readers are so many seconds behind: `observed_lag({"reader": 0.2})`.

    Gives a dict of these, which may be changed. What the readers show is not changed: see `stale_readers()`.
    """
    writers_of(tuple(seconds))
    told = _Told(seconds)
    lag.add_source(told, first=True)
    try:
        yield told.seconds
    finally:
        lag.remove_source(told)
