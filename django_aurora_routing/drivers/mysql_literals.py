"""Writes Python values as literals of MySQL's SQL, the same ones that mysqlclient writes.

The connection's charset and sql_mode come in as arguments.
"""

from __future__ import annotations

import datetime
import decimal
import functools
import math
import re
from collections.abc import Callable
from typing import Any

from mysql.connector import ProgrammingError

Literal = Callable[[Any], bytes]

# As mysql_real_escape_string() has them. The backslash first: the others bring backslashes of their own.
_ESCAPES = (
    ("\\", "\\\\"),
    ("'", "\\'"),
    ('"', '\\"'),
    ("\0", "\\0"),
    ("\n", "\\n"),
    ("\r", "\\r"),
    ("\x1a", "\\Z"),
)
_BYTE_ESCAPES = tuple((plain.encode(), escape.encode()) for plain, escape in _ESCAPES)
_needs_escapes = re.compile("[" + re.escape("".join(plain for plain, _ in _ESCAPES)) + "]").search

# Where no byte of a character but the first can be a quote or backslash, bytes are escaped one by one.
_SAFE_BYTE_BY_BYTE = ("utf-8", "ascii", "cp1252", "latin")


@functools.cache
def literals(codec: str, *, backslashes: bool) -> Literal:
    """What writes literals in the connection's `codec`; `backslashes` is False in sql_mode NO_BACKSLASH_ESCAPES.

    It raises UnicodeEncodeError for text that the codec cannot take, ProgrammingError for a float that SQL has no word
    for, and TypeError for a set of anything but text.
    """
    bytes_are_safe = codec.startswith(_SAFE_BYTE_BY_BYTE)

    def text(value: str) -> bytes:
        # By character, before encoding: in some charsets the second byte of a character looks like a backslash.
        if not backslashes:
            value = value.replace("'", "''")
        elif _needs_escapes(value):
            for plain, escape in _ESCAPES:
                value = value.replace(plain, escape)
        return b"'" + value.encode(codec) + b"'"

    def binary(value: bytes | bytearray | memoryview) -> bytes:
        if not bytes_are_safe:
            return b"x'" + bytes(value).hex().encode() + b"'"
        value = bytes(value)
        if backslashes:
            for plain, escape in _BYTE_ESCAPES:
                value = value.replace(plain, escape)
        else:
            value = value.replace(b"'", b"''")
        return b"'" + value + b"'"

    def sequence(values: list[Any] | tuple[Any, ...]) -> bytes:
        return b"(" + b",".join([literal(value) for value in values]) + b")"

    def members(values: set[str] | frozenset[str]) -> bytes:
        return text(",".join(values))

    by_type: dict[type, Literal] = {
        str: text,
        int: _integer,
        type(None): _null,
        bool: _integer,
        float: _float,
        decimal.Decimal: _decimal,
        bytes: binary,
        bytearray: binary,
        memoryview: binary,
        datetime.datetime: _datetime,
        datetime.timedelta: _timedelta,
        list: sequence,
        tuple: sequence,
        set: members,
        frozenset: members,
    }
    written_by = by_type.get

    def literal(value: Any) -> bytes:
        write = written_by(type(value))
        # Anything else, subclasses too, goes as the text that it makes of itself; a date and a time among them.
        return write(value) if write is not None else text(str(value))

    return literal


def _integer(value: int) -> bytes:
    return b"%d" % value


def _null(value: None) -> bytes:
    return b"NULL"


def _float(value: float) -> bytes:
    if not math.isfinite(value):
        raise ProgrammingError(f"{value} can not be used with MySQL")
    text = repr(value)
    # With an exponent it is a DOUBLE; without one it would be a DECIMAL.
    return (text if "e" in text else text + "e0").encode()


def _decimal(value: decimal.Decimal) -> bytes:
    return format(value, "f").encode()  # with an exponent it would be a DOUBLE


def _datetime(value: datetime.datetime) -> bytes:
    return f"'{value.replace(tzinfo=None).isoformat(' ')}'".encode()


def _timedelta(value: datetime.timedelta) -> bytes:
    sign = "-" if value < datetime.timedelta() else ""
    seconds, micros = divmod(abs(value) // datetime.timedelta(microseconds=1), 1_000_000)
    text = f"{sign}{seconds // 3600:02}:{seconds // 60 % 60:02}:{seconds % 60:02}"
    return (f"'{text}.{micros:06}'" if micros else f"'{text}'").encode()
