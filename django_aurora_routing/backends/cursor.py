"""Repeats after a failover what can safely be repeated; the rest goes on to the application as it was raised."""

from __future__ import annotations

from typing import Any

from django.db.backends.utils import CursorDebugWrapper, CursorWrapper

from ..core.statements import is_plain_read
from ..errors import (
    FailoverError,
    FailoverFailedError,
    FailoverSuccessError,
    TransactionResolutionUnknownError,
)

MAX_REPEATS = 5
"""How many losses in a row one statement may live through; the sixth is reported."""


def _may_repeat(error: FailoverError, sql: Any) -> bool:
    if error.in_transaction or isinstance(error, FailoverFailedError):
        return False
    return isinstance(error, FailoverSuccessError) or (isinstance(sql, str) and is_plain_read(sql))


class ClusterCursorMixin:
    """Over Django's `CursorWrapper` (or its debug variant)."""

    cursor: Any
    db: Any

    def _execute(self, sql: Any, params: Any, *context: Any) -> Any:
        try:
            return super()._execute(sql, params, *context)  # type: ignore[misc]
        except FailoverError as exc:
            error = exc
        for _ in range(MAX_REPEATS):
            if not _may_repeat(error, sql):
                break
            self.db.ensure_connection()
            self.cursor = self.db.create_cursor()
            try:
                return super()._execute(sql, params, *context)  # type: ignore[misc]
            except FailoverError as exc:
                error = exc
        raise error

    def _executemany(self, sql: Any, param_list: Any, *context: Any) -> Any:
        try:
            return super()._executemany(sql, param_list, *context)  # type: ignore[misc]
        except FailoverSuccessError as exc:
            if exc.in_transaction:
                raise
            error = TransactionResolutionUnknownError(
                f"executemany() was cut off, some of its rows may be there: {exc}"
            )
            error.in_transaction = False
            raise error from exc

    def close(self) -> None:
        """Close the driver's cursor. SQLCompiler does so while an error is on its way, which nothing here may hide."""
        self.cursor.close()


class ClusterCursor(ClusterCursorMixin, CursorWrapper):
    """What `connection.cursor()` gives."""


class ClusterDebugCursor(ClusterCursorMixin, CursorDebugWrapper):
    """What `connection.cursor()` gives while queries are being logged."""
