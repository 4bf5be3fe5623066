"""What comes out of columns of each type."""

from __future__ import annotations

import datetime
from decimal import Decimal
from typing import Any

import pytest
from mysql.connector.constants import FieldType

from django_aurora_routing.drivers.mysql_connector_cursor import Cursor
from django_aurora_routing.drivers.mysql_rows import rows_of


@pytest.mark.parametrize(
    ("kind", "value", "expected"),
    [
        ("TINYINT", "-128", -128),
        ("BOOLEAN", "1", 1),
        ("SMALLINT UNSIGNED", "65535", 65535),
        ("MEDIUMINT", "-8388608", -8388608),
        ("INT ZEROFILL", "7", 7),
        ("BIGINT UNSIGNED", "18446744073709551615", 2**64 - 1),
        ("FLOAT", "0.5", 0.5),
        ("DOUBLE", "1.7976931348623157e308", 1.7976931348623157e308),
        ("DECIMAL(65, 30)", "'-12345678901234567890123456789012345.100000000000000000000000000001'", None),
        ("DECIMAL(5, 2)", "'1.5'", Decimal("1.50")),
        ("DATE", "'2024-02-29'", datetime.date(2024, 2, 29)),
        ("DATETIME", "'2024-02-29 23:59:59'", datetime.datetime(2024, 2, 29, 23, 59, 59)),
        ("DATETIME(2)", "'2024-02-29 23:59:59.25'", datetime.datetime(2024, 2, 29, 23, 59, 59, 250_000)),
        ("DATETIME(6)", "'2024-02-29 23:59:59.000001'", datetime.datetime(2024, 2, 29, 23, 59, 59, 1)),
        ("TIMESTAMP(3) NULL", "'2024-02-29 23:59:59.125'", datetime.datetime(2024, 2, 29, 23, 59, 59, 125_000)),
        ("TIME", "'23:59:59'", datetime.time(23, 59, 59)),
        ("TIME(2)", "'00:00:00.25'", datetime.time(0, 0, 0, 250_000)),
        ("TIME", "'24:00:00'", datetime.timedelta(hours=24)),
        ("TIME(6)", "'-838:59:58.000001'", -datetime.timedelta(hours=838, minutes=59, seconds=58, microseconds=1)),
        ("YEAR", "2024", 2024),
        ("BIT(9)", "b'100000001'", b"\x01\x01"),
        ("CHAR(10)", "'é表😀'", "é表😀"),
        ("VARCHAR(10) COLLATE utf8mb4_bin", "'é'", "é"),
        ("TEXT", "'é'", "é"),
        ("LONGTEXT", "REPEAT('é', 100000)", "é" * 100_000),
        ("VARBINARY(10)", "x'ff00'", b"\xff\x00"),
        ("BINARY(2)", "x'ff'", b"\xff\x00"),
        ("LONGBLOB", "x'ff'", b"\xff"),
        ("ENUM('a', 'é')", "'é'", "é"),
        ("SET('b', 'a')", "'a,b'", "b,a"),
        ("JSON", '\'{"a": "é"}\'', '{"a": "é"}'),
        ("POINT", "POINT(0, 0)", b"\0\0\0\0\1\1\0\0\0" + bytes(16)),
    ],
)
def test_types(cursor: Cursor, kind: str, value: str, expected: Any) -> None:
    cursor.execute(f"CREATE TEMPORARY TABLE kinds (value {kind}) CHARSET utf8mb4")
    try:
        cursor.execute(f"INSERT INTO kinds VALUES ({value}), (NULL)")
        cursor.execute("SELECT value FROM kinds")
        (first,), (second,) = cursor.fetchall()
    finally:
        cursor.execute("DROP TEMPORARY TABLE kinds")
    expected = Decimal(value.strip("'")) if expected is None else expected
    assert first == expected
    assert type(first) is type(expected)
    assert second is None


@pytest.mark.parametrize(
    ("kind", "value"),
    [("DATE", "0000-00-00"), ("DATE", "2024-00-31"), ("DATETIME(6)", "0000-00-00"), ("TIMESTAMP", "0000-00-00")],
)
def test_a_date_that_is_none(connect: Any, kind: str, value: str) -> None:
    cursor = Cursor(connect(sql_mode=""))
    cursor.execute(f"CREATE TEMPORARY TABLE days (value {kind} NOT NULL)")
    cursor.execute("INSERT INTO days VALUES (%s)", [value])
    cursor.execute("SELECT value FROM days")
    assert cursor.fetchall() == ((None,),)


def test_json_of_mysql_is_text_although_it_calls_it_binary() -> None:
    # MariaDB, which the other tests ask, has no such type on the wire.
    column = ("value", FieldType.JSON, None, None, None, None, 1, 144, 63)
    assert rows_of([('{"a": "é"}'.encode(),)], [column], "utf-8") == (('{"a": "é"}',),)


@pytest.mark.parametrize("count", [0, 1, 999, 1000, 1001, 2500])
def test_any_number_of_rows(cursor: Cursor, count: int) -> None:
    cursor.execute(f"SELECT seq, CONCAT('row ', seq), IF(seq %% 2, NULL, 1.5) FROM seq_1_to_3000 LIMIT {count}", ())
    expected = tuple((n, f"row {n}", None if n % 2 else Decimal("1.5")) for n in range(1, count + 1))
    assert cursor.fetchall() == expected
    assert cursor.rowcount == count
