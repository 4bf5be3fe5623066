"""Makes Python values of rows in MySQL's text protocol, by the types of their columns, as Django expects them."""

from __future__ import annotations

import datetime
import decimal
import re
from collections.abc import Callable, Sequence
from typing import Any

from mysql.connector.constants import FieldType

Row = tuple[Any, ...]
Column = Sequence[Any]
"""A column as the connector describes it: name, type, four times None, may be NULL, flags, number of its charset."""

_TYPE, _CHARSET = 1, 8
_BINARY_CHARSET = 63
_CHUNK = 1000  # rows turned into columns and back at a time: bounds the memory that takes
_DURATION = re.compile(r"(-?)(\d+):(\d\d):(\d\d)(?:\.(\d{1,6}))?")

_Convert = Callable[[Any], Any]


def rows_of(texts: Sequence[Sequence[bytes | None]], columns: Sequence[Column], codec: str) -> tuple[Row, ...]:
    """The rows of a result. `codec` is that of the connection's charset."""
    if not texts:
        return ()
    converters = [_converter(column, codec) for column in columns]
    rows: list[Row] = []
    for start in range(0, len(texts), _CHUNK):
        # Column by column: half the time of row by row.
        values = [
            [None if value is None else convert(value) for value in column]
            for convert, column in zip(converters, zip(*texts[start : start + _CHUNK], strict=True), strict=True)
        ]
        rows += zip(*values, strict=True)
    return tuple(rows)


def _converter(column: Column, codec: str) -> _Convert:
    if convert := _BY_TYPE.get(column[_TYPE]):
        return convert
    # JSON is text, although MySQL sends it as binary.
    if column[_CHARSET] == _BINARY_CHARSET and column[_TYPE] != FieldType.JSON:
        return bytes
    return _text_in(codec)


def _text_in(codec: str) -> _Convert:
    if codec == "utf-8":
        return bytes.decode
    return lambda value: value.decode(codec)


def _decimal(value: bytes) -> decimal.Decimal:
    return decimal.Decimal(value.decode("ascii"))


def _date(value: bytes) -> datetime.date | None:
    try:
        return datetime.date.fromisoformat(value.decode("ascii"))
    except ValueError:
        return None  # 0000-00-00


def _datetime(value: bytes) -> datetime.datetime | None:
    text = value.decode("ascii")
    if 20 <= len(text) < 26:
        text = text.ljust(26, "0")  # DATETIME(2): Python 3.10 knows fractions of three and six digits only
    try:
        return datetime.datetime.fromisoformat(text)
    except ValueError:
        return None  # 0000-00-00 00:00:00


def _time(value: bytes) -> datetime.time | datetime.timedelta | None:
    """A time of day, as Django wants it; what is none, for TIME goes from -838 to 838 hours, is a duration."""
    match = _DURATION.fullmatch(value.decode("ascii"))
    if match is None:
        return None
    sign, hours, minutes, seconds, fraction = match.groups(default="")
    micros = int(fraction.ljust(6, "0"))
    if not sign and int(hours) < 24:
        return datetime.time(int(hours), int(minutes), int(seconds), micros)
    duration = datetime.timedelta(hours=int(hours), minutes=int(minutes), seconds=int(seconds), microseconds=micros)
    return -duration if sign else duration


_BY_TYPE: dict[int, _Convert] = {
    FieldType.TINY: int,
    FieldType.SHORT: int,
    FieldType.INT24: int,
    FieldType.LONG: int,
    FieldType.LONGLONG: int,
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
