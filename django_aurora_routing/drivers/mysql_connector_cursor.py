"""A DB-API cursor over mysql-connector-python that behaves as mysqlclient's, for which Django's backend is written.

It takes the place of the driver's own cursors, which ping the server before every statement, do not know `%%`, and
(unbuffered) lose rows when a second statement runs. Parameters are written into the statement by `%`, results are read
in full at once, and rows come out the same from the driver's Python and C implementations.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple, NoReturn

from mysql.connector import ProgrammingError
from mysql.connector.connection import MySQLConnection
from mysql.connector.constants import ServerFlag

from .mysql_connector import server_status
from .mysql_literals import Literal, literals
from .mysql_rows import Column, Row, rows_of

# By the name of the connection's charset; Python knows the others by the name that MySQL gives them.
_CODECS = {
    "utf8mb4": "utf-8",
    "utf8mb3": "utf-8",
    "utf8": "utf-8",
    "binary": "utf-8",
    "latin1": "cp1252",
}
_INSERT_VALUES = re.compile(
    rb"\s*((?:INSERT|REPLACE)\b(?:[^%]|%%)+\bVALUES?\s*)"
    rb"(\(\s*(?:%s|%\(.+\)s)\s*(?:,\s*(?:%s|%\(.+\)s)\s*)*\))"
    rb"(\s*(?:ON DUPLICATE[^%]*)?);?\s*\Z",
    re.IGNORECASE | re.DOTALL,
)
_BATCH_BYTES = 64 * 1024
_PLAIN_NAME = re.compile(r"[\w$.]+")


class _Result(NamedTuple):
    """What one statement came to. `columns` is None for one that gives no rows."""

    rowcount: int
    lastrowid: int
    columns: Sequence[Column] | None
    rows: tuple[Row, ...]


class Cursor:
    """One statement at a time; its results are read in full before `execute()` returns."""

    arraysize = 1

    def __init__(self, connection: Any) -> None:
        self.connection = connection
        self.rowcount = -1
        self.lastrowid: int | None = None
        self.description: tuple[tuple[Any, ...], ...] | None = None
        self._executed: bytes | None = None
        self._waiting: list[_Result] = []
        self._rows: tuple[Row, ...] = ()
        self._next = 0
        charset = connection.charset
        self._codec = _CODECS.get(charset, charset)

    # -- running

    def mogrify(self, query: str | bytes, args: Iterable[Any] | Mapping[str, Any] | None = None) -> bytes:
        """The statement with its parameters written in; with `args=None`, `%` means nothing in it."""
        codec = self._codec
        text = query.encode(codec) if isinstance(query, str) else bytes(query)
        if args is None:
            return text
        literal = self._literals()
        values: Any
        if isinstance(args, Mapping):
            values = {key.encode(codec): literal(value) for key, value in args.items()}
        else:
            values = tuple([literal(value) for value in args])
        try:
            return bytes(text % values)
        except TypeError as exc:
            raise ProgrammingError(str(exc)) from exc

    def execute(self, query: str | bytes, args: Iterable[Any] | Mapping[str, Any] | None = None) -> int:
        """Run a statement; returns the number of rows it found or changed."""
        return self._run(self.mogrify(query, args))

    def executemany(self, query: str | bytes, seq_of_args: Iterable[Any]) -> int | None:
        """Run a statement for each parameter set; INSERT ... VALUES (...) goes out in batches of many rows."""
        args = list(seq_of_args)
        if not args:
            return None
        text = query.encode(self._codec) if isinstance(query, str) else bytes(query)
        if match := _INSERT_VALUES.match(text):
            self.rowcount = self._insert_batches(match[1] % (), match[2], match[3], args)
        else:
            self.rowcount = sum([self.execute(text, one) for one in args])
        return self.rowcount

    def _insert_batches(self, head: bytes, values: bytes, tail: bytes, args: Sequence[Any]) -> int:
        batch: list[bytes] = []
        total, size = 0, len(head) + len(tail)
        for one in args:
            row = self.mogrify(values, one)
            if batch and size + len(row) >= _BATCH_BYTES:
                total += self._run(head + b",".join(batch) + tail)
                batch, size = [], len(head) + len(tail)
            batch.append(row)
            size += len(row) + 1
        return total + self._run(head + b",".join(batch) + tail)

    def callproc(self, procname: str, args: Sequence[Any] = ()) -> Sequence[Any]:
        """Call a stored procedure; what it made of its arguments is in the server's variables @_<procname>_<n>."""
        name = procname if _PLAIN_NAME.fullmatch(procname) else _quoted_name(procname)
        variables = [f"@{_quoted_name(f'_{procname}_{at}')}".encode(self._codec) for at in range(len(args))]
        if args:
            literal = self._literals()
            settings = [variable + b" = " + literal(value) for variable, value in zip(variables, args, strict=True)]
            self._run(b"SET " + b", ".join(settings))
        self._run(b"CALL " + name.encode(self._codec) + b"(" + b", ".join(variables) + b")")
        return args

    def _literals(self) -> Literal:
        # Asked each time: a statement may have changed sql_mode, and the server says so with its answer.
        status = server_status(self._open_connection())
        return literals(self._codec, backslashes=not status & ServerFlag.STATUS_NO_BACKSLASH_ESCAPES)

    def _run(self, statement: bytes) -> int:
        connection = self._open_connection()
        self._forget_results()
        self._executed = statement
        self.rowcount, self.lastrowid = -1, None
        is_pure = isinstance(connection, MySQLConnection)
        results = (_query_pure if is_pure else _query_extension)(connection, statement, self._codec)
        self._waiting = results[1:]
        self._load(results[0])
        return self.rowcount

    def _open_connection(self) -> Any:
        if self.connection is None:
            self._say_closed()
        return self.connection

    def _say_closed(self) -> NoReturn:
        raise ProgrammingError("cursor closed")

    # -- reading

    def fetchone(self) -> Row | None:
        self._check_executed()
        if self._next >= len(self._rows):
            return None
        self._next += 1
        return self._rows[self._next - 1]

    def fetchmany(self, size: int | None = None) -> tuple[Row, ...]:
        self._check_executed()
        end = self._next + (size or self.arraysize)
        rows = self._rows[self._next : end]
        self._next += len(rows)
        return rows

    def fetchall(self) -> tuple[Row, ...]:
        self._check_executed()
        rows = self._rows[self._next :]
        self._next += len(rows)
        return rows

    def nextset(self) -> bool | None:
        """Go to the next result of a statement that gave several; None when there is none."""
        if not self._waiting:
            return None
        self._load(self._waiting.pop(0))
        return True

    def __iter__(self) -> Iterator[Row]:
        return iter(self.fetchone, None)

    def _check_executed(self) -> None:
        if self.connection is None:
            self._say_closed()
        if self._executed is None:
            raise ProgrammingError("execute() first")

    def _load(self, result: _Result) -> None:
        self.rowcount, self.lastrowid, columns, self._rows = result
        self._next = 0
        self.description = None if columns is None else tuple([tuple(column[:7]) for column in columns])

    def _forget_results(self) -> None:
        self._waiting, self._rows, self._next, self.description = [], (), 0, None

    # -- ending

    def close(self) -> None:
        """Let go of the results and the connection; nothing is said to the server. `rowcount` and `lastrowid` stay."""
        self.connection = None
        self._forget_results()

    def __enter__(self) -> Cursor:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    def setinputsizes(self, *args: Any) -> None:
        """Required by PEP 249; does nothing."""

    def setoutputsizes(self, *args: Any) -> None:
        """Required by PEP 249; does nothing."""


def _quoted_name(name: str) -> str:
    return "`" + name.replace("`", "``") + "`"


def _query_pure(connection: Any, statement: bytes, codec: str) -> list[_Result]:
    outcome = connection.cmd_query(statement)
    results = []
    while True:
        if "columns" in outcome:
            columns = outcome["columns"]
            texts, _ = connection.get_rows(raw=True)
            results.append(_Result(len(texts), 0, columns, rows_of(texts, columns, codec)))
        else:
            results.append(_Result(outcome["affected_rows"], outcome["insert_id"], None, ()))
        if not server_status(connection) & ServerFlag.MORE_RESULTS_EXISTS:
            return results
        outcome = connection._handle_result(connection._socket.recv(connection.read_timeout))


def _query_extension(connection: Any, statement: bytes, codec: str) -> list[_Result]:
    outcome = connection.cmd_query(statement, raw=True, buffered=True)
    session = connection._cmysql
    results = []
    while True:
        if "columns" in outcome:
            columns = outcome["columns"]
            # The connection's own get_rows() looks at each value once more, in Python.
            texts = list(iter(session.fetch_row, None))
            results.append(_Result(len(texts), 0, columns, rows_of(texts, columns, codec)))
        else:
            results.append(_Result(outcome["affected_rows"], outcome["insert_id"], None, ()))
        session.free_result()
        if not session.more_results():
            return results
        session.next_result()
        outcome = connection.fetch_eof_columns() if session.have_result_set else connection.fetch_eof_status()
