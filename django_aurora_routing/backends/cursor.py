"""Repeats after a failover what can safely be repeated; the rest goes on to the application as it was raised."""

from __future__ import annotations

from typing import Any

from django.db.backends.utils import CursorDebugWrapper, CursorWrapper

from ..core.failures import Failure, classify_mysql
from ..core.statements import is_one_statement, is_plain_read
from ..errors import (
    FailoverError,
    FailoverSuccessError,
    TransactionResolutionUnknownError,
)

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

    def _execute(self, sql: Any, params: Any, *context: Any) -> Any:
        db = self.db
        try:
            if (wants_read_only := db.wants_read_only) is not None and wants_read_only() is not db.session_is_read_only:
                db.follow_read_only()
            result = super()._execute(sql, params, *context)  # type: ignore[misc]
            db.is_untouched = False
            return result
        except FailoverError as exc:
            error = self._judged(exc, sql)
        was_slow = False
        for _ in range(MAX_REPEATS):
            if not isinstance(error, FailoverSuccessError):
                break
            if error.in_transaction:
                if not (db.is_untouched and self._did_nothing(error, sql)):
                    break
                db.begin_again()
            else:
                ran_out = db.ran_out_of_time
                db.ensure_connection()
                if ran_out and (was_slow or db.is_where_time_ran_out()):
                    db.raise_as_it_came(error)  # to wait once more would end no better
                was_slow = ran_out
            self.cursor = db.create_cursor()
            try:
                result = super()._execute(sql, params, *context)  # type: ignore[misc]
                db.is_untouched = False
                return result
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
            connection = getattr(self.cursor, "connection", None)
            if connection is not None and connection is not db.connection and db.is_to_go_on():
                db.ensure_connection()
                self.cursor = db.create_cursor()
            try:
                db.follow_read_only()
                if db.is_hung_up():
                    db.meet_hang_up()
                db.is_untouched = False
                return
            except FailoverSuccessError as exc:
                if exc.in_transaction or attempt == MAX_REPEATS:
                    raise

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

    def close(self) -> None:
        """Close the driver's cursor. SQLCompiler does so while an error is on its way, which nothing here may hide."""
        self.cursor.close()


class ClusterCursor(ClusterCursorMixin, CursorWrapper):
    """What `connection.cursor()` gives."""


class ClusterDebugCursor(ClusterCursorMixin, CursorDebugWrapper):
    """What `connection.cursor()` gives while queries are being logged."""
