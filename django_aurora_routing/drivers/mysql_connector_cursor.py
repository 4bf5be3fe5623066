"""A DB-API cursor over mysql-connector-python, of the kind Django's MySQL backend is used to.

It takes the place of the driver's own cursors, which ping the server before every statement, do not know `%%`, and
(unbuffered) lose rows when a second statement runs. Behaviour is mysqlclient's: parameters are written into the
statement by `%`, whole results are read at once, TIME is a time, SET is text.
"""

from __future__ import annotations

import datetime
import decimal
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import mysql.connector
from mysql.connector.connection import MySQLConnection
from mysql.connector.constants import FieldType
from mysql.connector.conversion import MySQLConverter

from .mysql_connector import NEVER_SENT, is_hung_up

_ESCAPES = str.maketrans({"\0": "\\0", "\n": "\\n", "\r": "\\r", "\x1a": "\\Z", "'": "\\'", '"': '\\"', "\\": "\\\\"})
_QUOTES_ONLY = str.maketrans({"'": "''"})
_BINARY_CHARSET = 63
_MORE_RESULTS = 0x0008  # SERVER_MORE_RESULTS_EXISTS
_INSERT_VALUES = re.compile(
    r"\s*((?:INSERT|REPLACE)\b.+\bVALUES?\s*)(\(\s*(?:%s|%\(.+\)s)\s*(?:,\s*(?:%s|%\(.+\)s)\s*)*\))(\s*(?:ON DUPLICATE.*)?);?\s*\Z",
    re.IGNORECASE | re.DOTALL,
)
_BATCH_BYTES = 64 * 1024

Row = tuple[Any, ...]


def quoted(value: Any, *, backslashes: bool = True, utf8: bool = True) -> str:
    """A value as a literal of MySQL's SQL. Escaping is by character, so it holds in every connection charset.

    Bytes pass through the text as lone surrogates and come out of `encode(..., "surrogateescape")` as they were; in
    a charset where that is not certain they go as hexadecimal.
    """
    kind = type(value)
    if kind is int or kind is bool:
        return str(int(value))
    if isinstance(value, str):
        return "'" + value.translate(_ESCAPES if backslashes else _QUOTES_ONLY) + "'"
    if value is None:
        return "NULL"
    if isinstance(value, (bytes, bytearray, memoryview)):
        if not utf8:
            return "x'" + bytes(value).hex() + "'"
        text = bytes(value).decode("utf-8", "surrogateescape")
        return "_binary'" + text.translate(_ESCAPES if backslashes else _QUOTES_ONLY) + "'"
    if isinstance(value, (bool, int)):
        return str(int(value))
    if isinstance(value, float):
        text = repr(float(value))
        return text if "e" in text or "n" in text else text + "e0"
    if isinstance(value, decimal.Decimal):
        return str(value)
    if isinstance(value, datetime.datetime):
        return f"'{value.replace(tzinfo=None).isoformat(' ')}'"
    if isinstance(value, datetime.timedelta):
        sign = "-" if value < datetime.timedelta() else ""
        seconds, micros = divmod(abs(value) // datetime.timedelta(microseconds=1), 1_000_000)
        text = f"{sign}{seconds // 3600:02}:{seconds // 60 % 60:02}:{seconds % 60:02}"
        return f"'{text}.{micros:06}'" if micros else f"'{text}'"
    if isinstance(value, (datetime.date, datetime.time)):
        return f"'{value.isoformat()}'"
    if isinstance(value, (list, tuple, set, frozenset)):
        return "(" + ",".join(quoted(item, backslashes=backslashes, utf8=utf8) for item in value) + ")"
    return quoted(str(value), backslashes=backslashes)


def _text_in(codec: str) -> Callable[[Any], str]:
    if codec == "utf-8":
        return lambda value: value.decode()
    return lambda value: value.decode(codec)


def _date(value: Any) -> datetime.date | None:
    try:
        return datetime.date.fromisoformat(value.decode("ascii"))
    except ValueError:
        return None


def _datetime(value: Any) -> datetime.datetime | None:
    try:
        text = value.decode("ascii")
        if len(text) not in (19, 26):
            text = text[:26].ljust(26, "0") if "." in text else text
        return datetime.datetime.fromisoformat(text)
    except ValueError:
        return None


def _time(value: Any) -> datetime.time | datetime.timedelta | None:
    """TIME as Django wants it; a duration outside a day stays a timedelta."""
    if isinstance(value, (bytes, bytearray)):
        value = MySQLConverter._time_to_python(bytes(value))
    if isinstance(value, datetime.timedelta) and datetime.timedelta() <= value < datetime.timedelta(days=1):
        return (datetime.datetime.min + value).time()
    return value  # type: ignore[no-any-return]


def _set(value: Any) -> Any:
    """The extension makes a Python set of a SET column; its text is what every other MySQL driver gives."""
    return ",".join(sorted(value)) if isinstance(value, set) else value


def _decimal(value: Any) -> decimal.Decimal:
    return decimal.Decimal(value.decode("ascii"))


_FROM_TEXT: dict[int, Callable[[Any], Any]] = {
    **dict.fromkeys((FieldType.TINY, FieldType.SHORT, FieldType.LONG, FieldType.LONGLONG, FieldType.INT24), int),
    FieldType.YEAR: int,
    FieldType.FLOAT: float,
    FieldType.DOUBLE: float,
    FieldType.DECIMAL: _decimal,
    FieldType.NEWDECIMAL: _decimal,
    FieldType.DATE: _date,
    FieldType.NEWDATE: _date,
    FieldType.DATETIME: _datetime,
    FieldType.TIMESTAMP: _datetime,
    FieldType.TIME: _time,
    FieldType.BIT: bytes,
    FieldType.GEOMETRY: bytes,
}
_SET_FLAG = 1 << 11


def _rows_from_text(rows: Iterable[Sequence[Any]], columns: Sequence[Sequence[Any]], codec: str) -> list[Row]:
    """Rows as the pure implementation hands them over (bytes), by the types of their columns."""
    text = _text_in(codec)
    converters = []
    for column in columns:
        is_binary = column[8] == _BINARY_CHARSET and column[1] != FieldType.JSON
        converters.append(_FROM_TEXT.get(column[1]) or (bytes if is_binary else text))
    return [
        tuple([None if v is None else convert(v) for convert, v in zip(converters, row, strict=True)]) for row in rows
    ]


def _rows_from_extension(rows: list[Row], columns: Sequence[Sequence[Any]]) -> list[Row]:
    """The extension has converted already; only TIME and SET come out differently from what Django expects."""
    odd = [
        (at, _time if column[1] == FieldType.TIME else _set)
        for at, column in enumerate(columns)
        if column[1] == FieldType.TIME or column[7] & _SET_FLAG
    ]
    if not odd:
        return rows
    changed = []
    for row in rows:
        values = list(row)
        for at, convert in odd:
            values[at] = convert(values[at])
        changed.append(tuple(values))
    return changed


class Cursor:
    """One statement at a time; its results are read in full before `execute()` returns."""

    arraysize = 1

    def __init__(self, connection: Any, *, backslashes: bool = True) -> None:
        self.connection = connection
        self._pure = isinstance(connection, MySQLConnection)
        self._backslashes = backslashes
        charset = str(connection.python_charset).lower().replace("-", "")
        self._codec = "utf-8" if charset.startswith("utf8") else charset
        self._executed: bytes | None = None
        self._pending: list[tuple[int, int, Any, list[Row]]] = []
        self._rows: list[Row] = []
        self._next = 0
        self.rowcount = -1
        self.lastrowid: int = 0
        self.description: Any = None

    # -- running

    def mogrify(self, query: str | bytes, args: Any = None) -> str:
        """The statement with its parameters written in; `args=None` means that `%` is not looked at."""
        text = query.decode() if isinstance(query, (bytes, bytearray)) else str(query)
        if args is None:
            return text
        how = {"backslashes": self._backslashes, "utf8": self._codec == "utf-8"}
        try:
            if isinstance(args, Mapping):
                return text % {key: quoted(value, **how) for key, value in args.items()}
            if not isinstance(args, (list, tuple)):
                args = tuple(args) if isinstance(args, (set, frozenset, Iterator)) else (args,)
            return text % tuple([quoted(value, **how) for value in args])
        except (TypeError, KeyError) as exc:
            raise mysql.connector.ProgrammingError(str(exc)) from exc

    def execute(self, query: str | bytes, args: Any = None) -> int:
        """Run a statement; returns the number of rows, as mysqlclient does."""
        return self._run(self.mogrify(query, args))

    def executemany(self, query: str | bytes, seq_of_args: Iterable[Any]) -> int:
        """Run a statement for each parameter set; INSERT ... VALUES (...) goes out in batches of many rows."""
        args = list(seq_of_args)
        text = query.decode() if isinstance(query, (bytes, bytearray)) else str(query)
        if not args:
            return 0
        if match := _INSERT_VALUES.match(text):
            return self._insert_batches(match[1] % (), match[2], match[3] % (), args)
        total = sum(self._run(self.mogrify(text, one)) for one in args)
        self.rowcount = total
        return total

    def _insert_batches(self, head: str, values: str, tail: str, args: Sequence[Any]) -> int:
        total, size = 0, 0
        batch: list[str] = []
        for one in args:
            row = self.mogrify(values, one)
            if batch and size + len(row) > _BATCH_BYTES:
                total += self._run(head + ",".join(batch) + tail)
                batch, size = [], 0
            batch.append(row)
            size += len(row)
        total += self._run(head + ",".join(batch) + tail)
        self.rowcount = total
        return total

    def callproc(self, procname: str, args: Sequence[Any] = ()) -> Sequence[Any]:
        """Call a stored procedure; changed arguments are in the server variables @_<procname>_<n>."""
        for at, value in enumerate(args):
            self._run(f"SET @_{procname}_{at}={quoted(value, backslashes=self._backslashes)}")
        self._run(f"CALL {procname}({','.join(f'@_{procname}_{at}' for at in range(len(args)))})")
        return args

    def _run(self, text: str) -> int:
        statement = text.encode(self._codec, "surrogateescape")
        if is_hung_up(self.connection):
            raise mysql.connector.OperationalError(NEVER_SENT, errno=-1)
        self._executed = statement
        self._pending = []
        self._rows, self._next, self.description, self.rowcount = [], 0, None, -1
        results = self._query_pure(statement) if self._pure else self._query_extension(statement)
        self._pending = results
        self._load(*self._pending.pop(0))
        return self.rowcount

    def _query_pure(self, statement: bytes) -> list[tuple[int, int, Any, list[Row]]]:
        connection = self.connection
        outcome = connection.cmd_query(statement)
        results = []
        while True:
            if "columns" in outcome:
                raw, end = connection.get_rows(raw=True)
                rows = _rows_from_text(raw, outcome["columns"], self._codec)
                results.append((len(rows), 0, outcome["columns"], rows))
                flags = end.get("status_flag", end.get("server_status", 0))
            else:
                results.append((outcome["affected_rows"], outcome["insert_id"], None, []))
                flags = outcome.get("status_flag", outcome.get("server_status", 0))
            if not flags & _MORE_RESULTS:
                return results
            outcome = connection._handle_result(connection._socket.recv())

    def _query_extension(self, statement: bytes) -> list[tuple[int, int, Any, list[Row]]]:
        connection = self.connection
        outcome = connection.cmd_query(statement, raw=False, buffered=True)
        results = []
        while True:
            if "columns" in outcome:
                rows, _ = connection.get_rows(raw=False)
                rows = _rows_from_extension(rows, outcome["columns"])
                results.append((len(rows), 0, outcome["columns"], rows))
            else:
                results.append((outcome["affected_rows"], outcome["insert_id"], None, []))
            session = connection._cmysql
            if not session.more_results():
                session.free_result()
                return results
            session.next_result()
            outcome = connection.fetch_eof_columns() if session.have_result_set else connection.fetch_eof_status()

    def _load(self, rowcount: int, lastrowid: int, columns: Any, rows: list[Row]) -> None:
        self._rows, self._next = rows, 0
        self.rowcount = rowcount
        self.description = None if columns is None else tuple(tuple(column[:7]) for column in columns)
        if columns is None:
            self.lastrowid = lastrowid

    # -- reading

    def fetchone(self) -> Row | None:
        self._check_executed()
        if self._next >= len(self._rows):
            return None
        self._next += 1
        return self._rows[self._next - 1]

    def fetchmany(self, size: int | None = None) -> Sequence[Row]:
        self._check_executed()
        end = self._next + (size or self.arraysize)
        rows = tuple(self._rows[self._next : end])
        self._next = min(end, len(self._rows))
        return rows

    def fetchall(self) -> Sequence[Row]:
        self._check_executed()
        rows = tuple(self._rows[self._next :]) if self._next else tuple(self._rows)
        self._next = len(self._rows)
        return rows

    def nextset(self) -> bool | None:
        """Go to the next result of a statement that gave several; None when there is none."""
        if not self._pending:
            return None
        self._load(*self._pending.pop(0))
        return True

    def _check_executed(self) -> None:
        if self._executed is None:
            raise mysql.connector.ProgrammingError("execute() first")

    def __iter__(self) -> Iterator[Row]:
        return iter(self.fetchone, None)

    def close(self) -> None:
        """Let go of the results; nothing is said to the server."""
        self._pending, self._rows, self._next = [], [], 0

    def setinputsizes(self, *args: Any) -> None:
        """Required by PEP 249; does nothing."""

    def setoutputsizes(self, *args: Any) -> None:
        """Required by PEP 249; does nothing."""

    def __enter__(self) -> Cursor:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()
