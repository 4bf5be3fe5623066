"""Which statements the facade changes, into what, and which it must leave alone."""

import pytest

from django_aurora_routing.lab.kinds.aurora import AURORA_VERSION, Rewriter, Session
from django_aurora_routing.lab.kinds.base import Member

MEMBERS = (
    Member(id="11", is_writer=True, session_id="unused", cpu=12.5),
    Member(id="12", is_writer=False, session_id="a-session", age=1.5, lag_ms=7.25),
)
VERSION = f"'{AURORA_VERSION}'"
READ_ONLY = "(CONCAT(@@global.read_only) NOT IN ('0', 'OFF'))"  # MariaDB gives a number or, from 12.0.1 on, a word


def rewrite(statement: str) -> str:
    return Rewriter("12", members=lambda: MEMBERS).rewrite(statement.encode()).decode()


@pytest.mark.parametrize(
    ("statement", "expected"),
    [
        ("SELECT @@aurora_version", f"SELECT {VERSION} AS `@@aurora_version`"),
        ("select @@AURORA_VERSION;", f"select {VERSION} AS `@@AURORA_VERSION`;"),
        ("SELECT @@global.aurora_version", f"SELECT {VERSION} AS `@@global.aurora_version`"),
        ("SELECT @@`aurora_server_id`", "SELECT '12' AS `@@aurora_server_id`"),
        (
            "SELECT 1, @@aurora_server_id , @@innodb_read_only FROM dual",
            f"SELECT 1, '12' AS `@@aurora_server_id` , {READ_ONLY} AS `@@innodb_read_only` FROM dual",
        ),
        ("SELECT @@aurora_server_id AS id", "SELECT '12' AS id"),
        ("SELECT CONCAT('a', @@aurora_server_id, 'b')", "SELECT CONCAT('a', '12', 'b')"),
        ("SELECT 1 WHERE @@aurora_server_id = '12'", "SELECT 1 WHERE '12' = '12'"),
        ("SELECT 1; SELECT @@aurora_version", f"SELECT 1; SELECT {VERSION} AS `@@aurora_version`"),
        ("SET @a = @@innodb_read_only", f"SET @a = {READ_ONLY}"),
        (
            "SELECT @@aurora_replica_read_consistency",
            "SELECT CONVERT(IFNULL(@aurora_replica_read_consistency, '') USING utf8mb4)"
            " AS `@@aurora_replica_read_consistency`",
        ),
    ],
)
def test_variables(statement: str, expected: str) -> None:
    assert rewrite(statement) == expected


@pytest.mark.parametrize(
    "statement",
    [
        "SELECT '@@aurora_version'",
        "SELECT 'it''s @@aurora_version'",
        r"SELECT 'it\'s @@aurora_version'",
        'SELECT "@@aurora_server_id"',
        "SELECT `@@aurora_version` FROM t",
        "SELECT 1 /* @@aurora_version */",
        "SELECT 1 -- @@aurora_version\n",
        "SELECT 1 # @@aurora_version",
        "SELECT @@aurora_version_2",
        "SELECT @@my_aurora_version",
        "INSERT INTO log (line) VALUES ('SELECT * FROM information_schema.replica_host_status')",
        "SELECT * FROM replica_host_status",
        "SELECT * FROM my_information_schema.replica_host_status",
        "SELECT * FROM information_schema.replica_host_status_old",
        "SELECT 1 FROM information_schema.tables WHERE table_name = 'AURORA_GLOBAL_DB_STATUS'",
        "SHOW TABLES LIKE 'aurora_version'",
        "SELECT * FROM auroras",
    ],
)
def test_leaves_alone(statement: str) -> None:
    assert rewrite(statement) == statement


@pytest.mark.parametrize(
    ("before", "after", "expected_after"),
    [
        ("SELECT SERVER_ID FROM ", "", " AS replica_host_status"),
        ("SELECT SERVER_ID FROM ", " WHERE CPU > 1", " AS replica_host_status WHERE CPU > 1"),
        ("SELECT SERVER_ID FROM ", " ORDER BY 1", " AS replica_host_status ORDER BY 1"),
        ("SELECT SERVER_ID FROM ", " AS r WHERE r.CPU > 1", " AS r WHERE r.CPU > 1"),
        ("SELECT SERVER_ID FROM ", " r", " r"),
        ("SELECT SERVER_ID FROM ", " `r`", " `r`"),
        ("SELECT (SELECT COUNT(*) FROM ", ")", " AS replica_host_status)"),
        ("SELECT SERVER_ID FROM ", ", t", " AS replica_host_status, t"),
    ],
)
@pytest.mark.parametrize(
    "table",
    [
        "information_schema.replica_host_status",
        "INFORMATION_SCHEMA.REPLICA_HOST_STATUS",
        "`information_schema` . `replica_host_status`",
    ],
)
def test_the_topology_stands_where_the_table_stood(before: str, after: str, expected_after: str, table: str) -> None:
    result = rewrite(before + table + after)

    assert result.startswith(before + "(SELECT '11' AS SERVER_ID, 'MASTER_SESSION_ID' AS SESSION_ID")
    assert " UNION ALL SELECT '12' AS SERVER_ID, 'a-session' AS SESSION_ID" in result
    assert "NOW(6) - INTERVAL 1500000 MICROSECOND AS LAST_UPDATE_TIMESTAMP" in result
    assert "7.250E0 AS REPLICA_LAG_IN_MILLISECONDS" in result
    assert result.endswith(")" + expected_after)


def test_a_column_named_with_its_table() -> None:
    result = rewrite("SELECT information_schema.replica_host_status.CPU FROM information_schema.replica_host_status")

    assert result.startswith("SELECT replica_host_status.CPU FROM (SELECT '11'")


@pytest.mark.parametrize(
    ("statement", "condition"),
    [
        ("SHOW VARIABLES LIKE 'aurora_version'", "WHERE Variable_name LIKE 'aurora_version'"),
        ("show global variables like 'aurora%';", "WHERE Variable_name like 'aurora%'"),
        ("/* hint */ SHOW VARIABLES WHERE Variable_name = 'aurora_version'", "WHERE Variable_name = 'aurora_version'"),
        ("SHOW SESSION VARIABLES LIKE 'innodb_read_only'", "WHERE Variable_name LIKE 'innodb_read_only'"),
    ],
)
def test_show_variables(statement: str, condition: str) -> None:
    result = rewrite(statement)

    assert result.startswith("SELECT * FROM (SELECT 'aurora_server_id' AS Variable_name, '12' AS Value")
    assert result.endswith(f") AS variables {condition}")


@pytest.mark.parametrize(
    ("statement", "expected", "waits"),
    [
        ("SET aurora_replica_read_consistency = 'GLOBAL'", "'GLOBAL'", True),
        ("set session AURORA_REPLICA_READ_CONSISTENCY='global';", "'GLOBAL'", True),
        ('SET @@session.aurora_replica_read_consistency := "Global"', "'GLOBAL'", True),
        ("SET @@aurora_replica_read_consistency = global", "'GLOBAL'", True),
        ("SET SESSION aurora_replica_read_consistency = 'SESSION'", "'SESSION'", False),
        ("SET SESSION aurora_replica_read_consistency = 'eventual'", "'EVENTUAL'", False),
        ("SET SESSION aurora_replica_read_consistency = ''", "''", False),
        ("SET SESSION aurora_replica_read_consistency = DEFAULT", "''", False),
    ],
)
def test_a_session_sets_its_consistency(statement: str, expected: str, waits: bool) -> None:
    session = Session(Rewriter("12", members=lambda: MEMBERS))

    assert session.rewrite(statement.encode()).decode() == f"SET @aurora_replica_read_consistency = {expected}"
    assert session.waits_for_all is waits
    assert session.rewrite(b"SELECT @@aurora_server_id").startswith(b"SELECT '12'")
    assert session.waits_for_all is waits
