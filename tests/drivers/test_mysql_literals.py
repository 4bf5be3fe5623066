"""What Python writes, the server reads: each value goes there as a literal and comes back."""

from __future__ import annotations

import datetime
import decimal
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from mysql.connector import ProgrammingError

from django_aurora_routing.drivers.mysql_connector_cursor import Cursor
from django_aurora_routing.drivers.mysql_literals import literals

TEXT = st.text(st.characters(exclude_categories=["Cs"]))
TRICKY = st.text(st.sampled_from("'\"\\\0\n\r\x1a%_;-é表😀"))
LIMIT = datetime.timedelta(hours=838, minutes=59, seconds=59)  # of a TIME

literal = literals("utf-8", backslashes=True)


@pytest.fixture(scope="module")
def strict_session(connect: Any) -> Any:
    """A session in which a backslash is a character like any other."""
    connection = connect()
    Cursor(connection).execute("SET sql_mode = CONCAT(@@sql_mode, ',NO_BACKSLASH_ESCAPES')")
    return connection


def there_and_back(session: Any, value: Any, sql: str = "SELECT %s") -> Any:
    cursor = Cursor(session)
    # With a name of its own: a column without one is named by its text, and bytes that are no text make no name that
    # the driver could read.
    cursor.execute(f"{sql} AS v", [value])
    ((answer,),) = cursor.fetchall()
    return answer


@given(TEXT | TRICKY)
def test_text(session: Any, value: str) -> None:
    assert there_and_back(session, value) == value


@given(TEXT | TRICKY)
def test_text_where_a_backslash_is_a_character(strict_session: Any, value: str) -> None:
    assert there_and_back(strict_session, value) == value


@given(st.binary() | TRICKY.map(str.encode))
def test_bytes(session: Any, value: bytes) -> None:
    assert there_and_back(session, value, "SELECT _binary %s") == value


@given(st.binary() | TRICKY.map(str.encode))
def test_bytes_where_a_backslash_is_a_character(strict_session: Any, value: bytes) -> None:
    assert there_and_back(strict_session, value, "SELECT _binary %s") == value


@given(st.integers(-(2**63), 2**64 - 1))
def test_integers(session: Any, value: int) -> None:
    assert there_and_back(session, value) == value


@given(st.decimals(min_value=-(10**35), max_value=10**35, places=30, allow_nan=False))
@example(decimal.Decimal("1E+30"))
@example(decimal.Decimal("1E-30"))
@example(decimal.Decimal("-0.00"))
def test_decimals_stay_exact(session: Any, value: decimal.Decimal) -> None:
    assert there_and_back(session, value) == value


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_floats(session: Any, value: float) -> None:
    answer = there_and_back(session, value)
    assert isinstance(answer, float)
    assert answer == value


@given(st.datetimes())
def test_datetimes(session: Any, value: datetime.datetime) -> None:
    assert there_and_back(session, value, "SELECT CAST(%s AS DATETIME(6))") == value


@given(st.dates())
def test_dates(session: Any, value: datetime.date) -> None:
    assert there_and_back(session, value, "SELECT CAST(%s AS DATE)") == value


@given(st.times())
def test_times_of_day(session: Any, value: datetime.time) -> None:
    assert there_and_back(session, value, "SELECT CAST(%s AS TIME(6))") == value


@given(st.timedeltas(-LIMIT, LIMIT))
@example(datetime.timedelta(microseconds=-1))
@example(datetime.timedelta(days=-2, hours=3))
def test_durations(session: Any, value: datetime.timedelta) -> None:
    answer = there_and_back(session, value, "SELECT CAST(%s AS TIME(6))")
    if isinstance(answer, datetime.time):  # between 0:00 and 24:00 one cannot tell
        answer = datetime.datetime.combine(datetime.date.min, answer) - datetime.datetime.min
    assert answer == value


@pytest.mark.parametrize(
    ("charset", "text"),
    [
        ("sjis", "表ソ' OR 1=1 -- \\"),  # the second byte of the first two is a backslash
        ("gbk", "誠' OR 1=1 -- \\"),
        ("big5", "功' OR 1=1 -- \\"),
        ("latin1", "naïve €' \\"),  # with the euro sign: the server's latin1 is cp1252
    ],
)
def test_charsets_other_than_utf8(connect: Any, charset: str, text: str) -> None:
    session = connect(charset=charset)
    assert there_and_back(session, text) == text
    assert there_and_back(session, b"\x95\\'\xff\x00", "SELECT _binary %s") == b"\x95\\'\xff\x00"


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, b"NULL"),
        (True, b"1"),
        (1.0, b"1.0e0"),
        (1e100, b"1e+100"),
        (decimal.Decimal("1E+2"), b"100"),
        ((1, "a", None), b"(1,'a',NULL)"),
        ([b"\x00'"], b"('\\0\\'')"),
        ({"a"}, b"'a'"),
        (bytearray(b"b"), b"'b'"),
        (memoryview(b"b"), b"'b'"),
        (datetime.date(2024, 1, 31), b"'2024-01-31'"),
        (datetime.datetime(2024, 1, 31, 1, tzinfo=datetime.timezone.utc), b"'2024-01-31 01:00:00'"),
        (type("Id", (), {"__str__": lambda self: "it's"})(), b"'it\\'s'"),
        (type("Text", (str,), {})("it's"), b"'it\\'s'"),
    ],
)
def test_literals(value: Any, text: bytes) -> None:
    assert literal(value) == text


@pytest.mark.parametrize("value", [float("inf"), float("-inf"), float("nan")])
def test_a_float_that_sql_has_no_word_for(value: float) -> None:
    with pytest.raises(ProgrammingError, match="can not be used with MySQL"):
        literal(value)


def test_a_lone_surrogate_is_no_text() -> None:
    with pytest.raises(UnicodeEncodeError):
        literal("\udc80")
