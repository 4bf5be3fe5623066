"""Statements: which SQL may be sent a second time."""

import pytest

from django_aurora_routing.core.statements import KNOWN_READS, is_one_statement, is_plain_read


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT 1",
        "  select * from t where a = %s",
        "(SELECT 1) UNION (SELECT 2)",
        "/* who asks */ SELECT 1",
        "-- a comment\nSELECT 1",
        "# another\nSELECT 1",
        "SHOW TABLES",
        "EXPLAIN SELECT 1",
        "DESCRIBE t",
    ],
)
def test_plain_reads(sql: str) -> None:
    assert is_plain_read(sql)


@pytest.mark.parametrize(
    "sql",
    [
        "INSERT INTO t VALUES (1)",
        "UPDATE t SET a = 1",
        "SELECT * FROM t FOR UPDATE",
        "SELECT * FROM t LOCK IN SHARE MODE",
        "select * from t for\n share",
        "SELECT GET_LOCK('a', 1)",
        "SELECT NEXTVAL(s)",
        "SELECT 1 INTO @a",
        "SELECT @a := 1",
        "SELECT LAST_INSERT_ID()",
        "SELECT 1; DELETE FROM t",
        "/*! DELETE */ SELECT 1",
        "/* SELECT 1 */ DELETE FROM t",
        "-- SELECT\nDELETE FROM t",
        "WITH a AS (SELECT 1) DELETE FROM t",
        "CALL p()",
        "SET @a = 1",
        "EXPLAIN ANALYZE SELECT 1",
        "SELECTED",
        "",
    ],
)
def test_everything_else(sql: str) -> None:
    assert not is_plain_read(sql)


@pytest.mark.parametrize("sql", ["INSERT INTO t VALUES (%s)", " /* a; b */ UPDATE t SET a = 1;\n", "(SELECT 1)"])
def test_what_is_done_as_a_whole(sql: str) -> None:
    assert is_one_statement(sql)


@pytest.mark.parametrize(
    "sql", ["CALL p()", "INSERT INTO t VALUES (1); DELETE FROM t", "BEGIN NOT ATOMIC INSERT INTO t VALUES (1); END", ""]
)
def test_what_may_be_done_in_part(sql: str) -> None:
    assert not is_one_statement(sql)


def test_what_was_found_out_about_a_text_is_kept_but_not_without_end() -> None:
    known = type(KNOWN_READS)()
    assert known["SELECT 1"]
    assert not known["DELETE FROM t"]
    assert dict(known) == {"SELECT 1": True, "DELETE FROM t": False}
    assert not known[f"SELECT {'1, ' * 1000} 1"], "nobody has read it"
    assert len(known) == 2
    for number in range(2000):
        known[f"SELECT {number}"]
    assert len(known) == 1000
    assert known["SELECT 1"]
