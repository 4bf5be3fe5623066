"""Repeats after a failover what can safely be repeated; the rest goes on to the application as it was raised."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.apps import apps
from django.db.backends.utils import CursorDebugWrapper, CursorWrapper

from ..cluster.connector import Search
from ..core.failures import Failure, classify_mysql
from ..core.statements import KNOWN_READS, is_one_statement, is_plain_read
from ..errors import (
    FailoverError,
    FailoverSuccessError,
    TransactionResolutionUnknownError,
)
from .lost import LostConnection

if TYPE_CHECKING:
    from django.db.backends.base.base import BaseDatabaseWrapper as _Base
else:
    _Base = object

MAX_REPEATS = 5
"""How many losses in a row one statement may live through; the sixth is reported."""


def _unknown(reason: str, cause: FailoverError) -> TransactionResolutionUnknownError:
    error = TransactionResolutionUnknownError(f"{reason}: {cause}")
    error.in_transaction, error.__cause__ = False, cause
    return error


def _certain(error: FailoverError) -> FailoverSuccessError:
    certain = FailoverSuccessError(f"The connection was lost during a read: {error.__cause__}")
    certain.in_transaction, certain.__cause__ = False, error.__cause__
    return certain


class ClusterCursorMixin:
    """Over Django's `CursorWrapper` (or its debug variant)."""

    cursor: Any
    db: Any
    made_on: Any = None
    """The driver's connection that `cursor` belongs to."""

    def _execute(self, sql: Any, params: Any, *context: Any) -> Any:
        db = self.db
        untouched = db.is_untouched
        try:
            if (search := db._search) is not None and db._generation != search.cluster.generation:
                db.ensure_connection()  # a cursor may be kept for long, and its connection be in the wrong place by now
            if self.made_on is not db.connection:
                self._leave_former_connection()
            if db._needs_rollback or not apps.ready:
                return super()._execute(sql, params, *context)  # type: ignore[misc]
            if (wants_read_only := db.wants_read_only) is not None and wants_read_only() is not db.session_is_read_only:
                db.follow_read_only()
            # No look before a plain read, which can be sent again, nor in a transaction, which is lost in any case but
            # for one that has done nothing yet.
            if (
                untouched
                or (db.autocommit and not db.in_atomic_block and not (isinstance(sql, str) and KNOWN_READS[sql]))
            ) and db.look(0):
                db.meet_hang_up()
            db.is_untouched = False  # whatever comes of it, it may have been carried out
            # What Django's own does when nothing is amiss, written out: calling it costs 0.3 us.
            with db.wrap_database_errors:
                return self.cursor.execute(sql) if params is None else self.cursor.execute(sql, params)
        except FailoverError as exc:
            error = self._judged(exc, sql)
        was_slow = False
        for _ in range(MAX_REPEATS):
            if not isinstance(error, FailoverSuccessError):
                break
            if error.in_transaction:
                if not (untouched and self._did_nothing(error, sql)):
                    break
                db.begin_again()
            else:
                ran_out = db.ran_out_of_time
                db.ensure_connection()
                if ran_out and (was_slow or db.is_where_time_ran_out()):
                    db.raise_as_it_came(error)  # to wait once more would end no better
                was_slow = ran_out
            self._renew()
            db.is_untouched = False
            try:
                return super()._execute(sql, params, *context)  # type: ignore[misc]
            except FailoverError as exc:
                error = self._judged(exc, sql)
        raise error

    def _executemany(self, sql: Any, param_list: Any, *context: Any) -> Any:
        self._make_ready()
        try:
            return super()._executemany(sql, param_list, *context)  # type: ignore[misc]
        except FailoverSuccessError as exc:
            if exc.in_transaction:
                raise
            raise _unknown("executemany() was cut off, some of its rows may be there", exc) from exc

    def callproc(self, procname: Any, params: Any = None, kparams: Any = None) -> Any:
        self._make_ready()
        try:
            return super().callproc(procname, params, kparams)  # type: ignore[misc]
        except FailoverError as exc:
            raise self._judged(exc, f"CALL {procname}") from exc.__cause__

    def _make_ready(self) -> None:
        """Meet a loss that there has been before a call that cannot be repeated, having sent a part of it."""
        db = self.db
        for attempt in range(MAX_REPEATS + 1):
            untouched = db.is_untouched
            try:
                if db.connection is not None:
                    db.ensure_connection()  # which moves one that is in the wrong place
                if self.made_on is not db.connection:
                    self._leave_former_connection()
                db.validate_no_broken_transaction()
                db.follow_read_only()
                if db.look(0):
                    db.meet_hang_up()
                db.is_untouched = False
                return
            except FailoverSuccessError as exc:
                if attempt == MAX_REPEATS or (exc.in_transaction and not (untouched and self._did_nothing(exc, None))):
                    raise
                if exc.in_transaction:
                    db.begin_again()

    def _leave_former_connection(self) -> None:
        """Go on with the present connection where this cursor was kept over a loss."""
        if isinstance(self.db.connection, LostConnection):
            self.db.connection.raise_again()
        if self.db.is_to_go_on():
            self.db.ensure_connection()
            self._renew()
        elif self.db.gave_session_back:
            self.db.meet_hang_up()  # somebody else may have it by now

    def _renew(self) -> None:
        self.cursor, self.made_on = self.db.create_cursor(), self.db.connection

    def _judged(self, error: FailoverError, sql: Any) -> FailoverError:
        """The error, or what it comes to for this statement.

        A read that was cut off has done nothing; a refused write that was not the first of its call may have.
        """
        if error.in_transaction:
            return error
        if isinstance(error, TransactionResolutionUnknownError) and isinstance(sql, str) and is_plain_read(sql):
            return _certain(error)
        if not isinstance(error, FailoverSuccessError):
            return error
        if self._failure(error) is not Failure.READ_ONLY or (isinstance(sql, str) and is_one_statement(sql)):
            return error
        return _unknown("A part of what was called may have been done before the rest was refused", error)

    def _did_nothing(self, error: FailoverError, sql: Any) -> bool:
        """Whether a statement was never sent, or refused as a whole: a transaction that it began has lost nothing."""
        failure = self._failure(error)
        was_refused = failure is Failure.READ_ONLY and isinstance(sql, str) and is_one_statement(sql)
        return was_refused or failure is Failure.NEVER_SENT

    def _failure(self, error: FailoverError) -> Failure | None:
        cause = error.__cause__
        facts = self.db.driver.facts(cause) if cause is not None else None
        return None if facts is None else classify_mysql(facts)

    # Django finds these by way of `__getattr__()`, twice with mysqlclient, and wraps them anew for each call: 0.5 us.

    def fetchone(self) -> Any:
        with self.db.wrap_database_errors:
            return self.cursor.fetchone()

    def fetchmany(self, *args: Any, **kwargs: Any) -> Any:
        with self.db.wrap_database_errors:
            return self.cursor.fetchmany(*args, **kwargs)

    def fetchall(self) -> Any:
        with self.db.wrap_database_errors:
            return self.cursor.fetchall()

    def close(self) -> None:
        """Close the driver's cursor. SQLCompiler does so while an error is on its way, which nothing here may hide."""
        self.cursor.close()


class ClusterCursor(ClusterCursorMixin, CursorWrapper):
    """What `connection.cursor()` gives."""


class ClusterDebugCursor(ClusterCursorMixin, CursorDebugWrapper):
    """What `connection.cursor()` gives while queries are being logged."""


class ClusterCursorsMixin(_Base):
    """Over a Django `DatabaseWrapper`: gives these cursors."""

    _search: Search | None
    _generation: int

    def make_cursor(self, cursor: Any) -> ClusterCursor:
        made = ClusterCursor(cursor, self)
        made.made_on = self.connection
        return made

    def make_debug_cursor(self, cursor: Any) -> ClusterDebugCursor:
        made = ClusterDebugCursor(cursor, self)
        made.made_on = self.connection
        return made

    def _cursor(self, name: str | None = None) -> Any:
        # Django's own, which calls ensure_connection() each time: that asks asyncio once more for a running event loop.
        self.close_if_health_check_failed()
        search = self._search
        if self.connection is None or (search is not None and self._generation != search.cluster.generation):
            self.ensure_connection()
        with self.wrap_database_errors:
            return self._prepare_cursor(self.create_cursor(name))  # type: ignore[attr-defined]
