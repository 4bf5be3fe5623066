"""The cursor does what Django knows of mysqlclient's, on both implementations of the connector."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from mysql.connector import ProgrammingError

from django_aurora_routing.drivers.mysql_connector import DRIVER_ERRORS, MySQLConnectorDriver, autocommits
from django_aurora_routing.drivers.mysql_connector_cursor import Cursor
from django_aurora_routing.lab import LocalServer


@pytest.fixture
def table(cursor: Cursor) -> Iterator[str]:
    cursor.execute(
        "CREATE TEMPORARY TABLE things (id INT AUTO_INCREMENT PRIMARY KEY, name VARCHAR(1000) UNIQUE, n INT DEFAULT 0)"
    )
    yield "things"
    cursor.execute("DROP TEMPORARY TABLE things")


def asked(cursor: Cursor, sql: str, args: Any = None) -> tuple[tuple[Any, ...], ...]:
    cursor.execute(sql, args)
    return cursor.fetchall()


def count_of(cursor: Cursor, counter: str) -> int:
    ((_, count),) = asked(cursor, "SHOW SESSION STATUS LIKE %s", [counter])
    return int(count)


class TestParameters:
    def test_by_position_and_by_name(self, cursor: Cursor) -> None:
        assert asked(cursor, "SELECT %s, %s", (1, "a")) == ((1, "a"),)
        assert asked(cursor, "SELECT %(b)s, %(a)s", {"a": 1, "b": "é"}) == (("é", 1),)

    def test_a_percent_sign_is_one_without_parameters_and_two_with(self, cursor: Cursor) -> None:
        assert asked(cursor, "SELECT '100%', 'a%sb'") == (("100%", "a%sb"),)
        assert asked(cursor, "SELECT '100%%', %s", [1]) == (("100%", 1),)
        assert asked(cursor, "SELECT '100%%'", ()) == (("100%",),)

    def test_a_percent_sign_in_a_value_is_a_value(self, cursor: Cursor) -> None:
        assert asked(cursor, "SELECT %s, %s", ["%s", "%%"]) == (("%s", "%%"),)

    @pytest.mark.parametrize("args", [(), (1, 2, 3)])
    def test_too_few_or_too_many(self, cursor: Cursor, args: tuple[int, ...]) -> None:
        with pytest.raises(ProgrammingError, match="arguments"):
            cursor.execute("SELECT %s, %s", args)

    def test_a_sequence_is_a_list_of_values(self, cursor: Cursor) -> None:
        assert asked(cursor, "SELECT 2 IN %s", [(1, 2)]) == ((1,),)

    def test_a_statement_may_be_bytes(self, cursor: Cursor) -> None:
        assert asked(cursor, "SELECT %s, 'é'".encode(), ["é"]) == (("é", "é"),)

    def test_sql_mode_may_change_under_way(self, connect: Any) -> None:
        cursor = Cursor(connect())
        value = "\\' OR 1=1 -- "
        for mode in ("NO_BACKSLASH_ESCAPES", "", "NO_BACKSLASH_ESCAPES"):
            cursor.execute("SET sql_mode = %s", [mode])
            assert asked(cursor, "SELECT %s", [value]) == ((value,),)


class TestResults:
    def test_before_anything_was_run(self, session: Any) -> None:
        cursor = Cursor(session)
        assert (cursor.rowcount, cursor.lastrowid, cursor.description) == (-1, None, None)
        with pytest.raises(ProgrammingError, match=r"execute\(\) first"):
            cursor.fetchall()

    def test_reading_in_steps(self, cursor: Cursor) -> None:
        assert cursor.execute("SELECT seq FROM seq_1_to_7") == 7
        assert cursor.fetchone() == (1,)
        assert cursor.fetchmany() == ((2,),)
        assert cursor.fetchmany(3) == ((3,), (4,), (5,))
        assert cursor.fetchall() == ((6,), (7,))
        assert cursor.fetchall() == cursor.fetchmany(5) == ()
        assert cursor.fetchone() is None

    def test_iterating(self, cursor: Cursor) -> None:
        cursor.execute("SELECT seq FROM seq_1_to_3")
        assert list(cursor) == [(1,), (2,), (3,)]

    def test_two_cursors_do_not_disturb_each_other(self, session: Any) -> None:
        first, second = Cursor(session), Cursor(session)
        first.execute("SELECT seq FROM seq_1_to_5000")
        assert first.fetchone() == (1,)
        assert asked(second, "SELECT 'x'") == (("x",),)
        assert len(first.fetchall()) == 4999

    def test_rowcount_and_lastrowid(self, cursor: Cursor, table: str) -> None:
        assert cursor.execute(f"INSERT INTO {table} (name) VALUES ('a'), ('b')") == 2
        assert (cursor.rowcount, cursor.lastrowid, cursor.description) == (2, 1, None)
        assert cursor.execute(f"UPDATE {table} SET n = n + 1") == 2
        assert cursor.execute(f"INSERT INTO {table} (name) VALUES ('c') RETURNING id, name") == 1
        assert cursor.fetchall() == ((3, "c"),)

    def test_description(self, cursor: Cursor, table: str) -> None:
        cursor.execute(f"SELECT id, name AS 'naïve' FROM {table}")
        assert cursor.description is not None
        assert [column[0] for column in cursor.description] == ["id", "naïve"]
        assert [len(column) for column in cursor.description] == [7, 7]

    def test_values_larger_than_a_packet_of_the_protocol(self, cursor: Cursor) -> None:
        size = 17 * 1024 * 1024
        ((value, after),) = asked(cursor, "SELECT REPEAT('x', %s), 'after'", [size])
        assert (len(value), after) == (size, "after")
        assert asked(cursor, "SELECT LENGTH(%s)", [value]) == ((size,),)


class TestSeveralResults:
    def test_one_after_the_other(self, cursor: Cursor, table: str) -> None:
        cursor.execute(f"SELECT 1; INSERT INTO {table} (name) VALUES ('a'), ('b'); SELECT 'x', 'y'")
        assert cursor.fetchall() == ((1,),)
        assert cursor.nextset()
        assert (cursor.rowcount, cursor.description) == (2, None)
        assert cursor.nextset()
        assert cursor.fetchall() == (("x", "y"),)
        assert cursor.nextset() is None

    def test_what_is_not_looked_at_is_in_nobodys_way(self, cursor: Cursor) -> None:
        cursor.execute("SELECT 1; SELECT 2; SELECT 3")
        assert asked(cursor, "SELECT 4") == ((4,),)

    def test_an_error_of_a_later_one_is_raised_and_leaves_the_session_well(self, cursor: Cursor) -> None:
        with pytest.raises(DRIVER_ERRORS) as caught:
            cursor.execute("SELECT 1; SELECT * FROM nowhere.to_be_found; SELECT 3")
        facts = MySQLConnectorDriver().facts(caught.value)
        assert facts is not None
        assert facts.errno == 1146
        assert asked(cursor, "SELECT 4") == ((4,),)


class TestExecutemany:
    def test_insert_goes_out_as_one_statement(self, cursor: Cursor, table: str) -> None:
        before = count_of(cursor, "Com_insert")
        names = ((f"name {n}%",) for n in range(500))
        assert cursor.executemany(f"INSERT INTO {table} (name) VALUES (%s)", names) == cursor.rowcount == 500
        assert count_of(cursor, "Com_insert") - before == 1
        assert asked(cursor, f"SELECT COUNT(DISTINCT name) FROM {table} WHERE name LIKE 'name %'") == ((500,),)

    def test_and_as_more_where_it_would_be_long(self, cursor: Cursor, table: str) -> None:
        before = count_of(cursor, "Com_insert")
        names = [(f"{n}" + "é" * 990,) for n in range(100)]
        assert cursor.executemany(f"INSERT INTO {table} (name) VALUES (%s)", names) == 100
        assert 3 < count_of(cursor, "Com_insert") - before < 6  # of 200 kB, in 64 kB each

    def test_what_is_around_the_values_stays(self, cursor: Cursor, table: str) -> None:
        sql = f"INSERT /* 100%% */ INTO {table} (name, n) VALUES (%(name)s, 7) ON DUPLICATE KEY UPDATE n = n + 100"
        cursor.executemany(sql, [{"name": "a"}, {"name": "b"}])
        cursor.executemany(sql, [{"name": "b"}])
        assert asked(cursor, f"SELECT name, n FROM {table} ORDER BY name") == (("a", 7), ("b", 107))

    def test_parameters_behind_the_values(self, cursor: Cursor, table: str) -> None:
        sql = f"INSERT INTO {table} (name) VALUES (%s) ON DUPLICATE KEY UPDATE n = %s"
        cursor.executemany(sql, [("a", 1), ("a", 2), ("b", 3)])
        assert asked(cursor, f"SELECT name, n FROM {table} ORDER BY name") == (("a", 2), ("b", 0))

    def test_parameters_before_the_values(self, cursor: Cursor, table: str) -> None:
        sql = f"INSERT INTO {table} (name) SELECT %s UNION VALUES (%s)"
        assert cursor.executemany(sql, [("a", "b"), ("c", "c")]) == 3

    def test_anything_else_goes_one_by_one(self, cursor: Cursor, table: str) -> None:
        cursor.executemany(f"INSERT INTO {table} (name) VALUES (%s)", [("a",), ("b",), ("c",)])
        assert cursor.executemany(f"UPDATE {table} SET n = %s WHERE name = %s", [(1, "a"), (2, "b"), (3, "-")]) == 2
        assert cursor.rowcount == 2

    def test_nothing_to_do(self, cursor: Cursor, table: str) -> None:
        assert cursor.executemany(f"INSERT INTO {table} (name) VALUES (%s)", []) is None


class TestCallproc:
    @pytest.fixture(params=["plain", "odd na`me"])
    def procedure(self, request: pytest.FixtureRequest, cursor: Cursor) -> Iterator[str]:
        quoted = request.param.replace("`", "``")
        cursor.execute(
            f"CREATE PROCEDURE `{quoted}` (IN a TEXT CHARSET utf8mb4, INOUT b INT) "
            "BEGIN SELECT a; SET b = b + 1; SELECT b, 'second'; END"
        )
        yield request.param
        cursor.execute(f"DROP PROCEDURE `{quoted}`")

    def test_results_and_changed_arguments(self, cursor: Cursor, procedure: str) -> None:
        args = ("it's 100%", 1)
        assert cursor.callproc(procedure, args) == args
        assert cursor.fetchall() == (("it's 100%",),)
        assert cursor.nextset()
        assert cursor.fetchall() == ((2, "second"),)
        while cursor.nextset():
            pass
        quoted = procedure.replace("`", "``")
        assert asked(cursor, f"SELECT @`_{quoted}_1`") == ((2,),)

    def test_of_another_database(self, cursor: Cursor, procedure: str) -> None:
        if procedure == "plain":
            cursor.callproc("app.plain", ["x", 0])
            assert cursor.fetchall() == (("x",),)


class TestAround:
    def test_autocommit_is_as_the_server_last_said(self, connect: Any) -> None:
        connection = connect()
        assert autocommits(connection)
        Cursor(connection).execute("SET autocommit = 0")
        assert not autocommits(connection)
        Cursor(connection).execute("SELECT seq FROM seq_1_to_5")
        assert not autocommits(connection)
        Cursor(connection).execute("SET autocommit = 1")
        assert autocommits(connection)

    @pytest.mark.parametrize("wanted", [True, False])
    def test_a_session_is_in_autocommit_as_it_was_asked_for_whatever_the_server_begins_with(
        self, connect: Any, lab_server: LocalServer, wanted: bool
    ) -> None:
        for default in (0, 1):
            lab_server.server.query(f"SET GLOBAL autocommit = {default}")
            try:
                connection = connect(autocommit=wanted)
            finally:
                lab_server.server.query("SET GLOBAL autocommit = 1")
            cursor = Cursor(connection)
            cursor.execute("SELECT @@autocommit")
            assert cursor.fetchall() == ((wanted,),)
            assert autocommits(connection) is wanted

    def test_a_local_file_is_loaded_where_that_is_allowed(self, connect: Any, tmp_path: Path) -> None:
        (tmp_path / "rows.tsv").write_text("1\té\n2\tb\n")
        load = f"LOAD DATA LOCAL INFILE '{tmp_path}/rows.tsv' INTO TABLE loaded"
        for allowed in (True, False):
            cursor = Cursor(connect(allow_local_infile=allowed))
            cursor.execute("CREATE TEMPORARY TABLE loaded (id INT, name VARCHAR(10))")
            if allowed:
                assert cursor.execute(load) == 2
                assert asked(cursor, "SELECT * FROM loaded") == ((1, "é"), (2, "b"))
            else:
                with pytest.raises(DRIVER_ERRORS):
                    cursor.execute(load)


class TestEnds:
    def test_a_closed_cursor_says_so(self, session: Any) -> None:
        with Cursor(session) as cursor:
            cursor.execute("SELECT 1")
        for use in (lambda: cursor.execute("SELECT 1"), lambda: cursor.execute("SELECT %s", [1]), cursor.fetchone):
            with pytest.raises(ProgrammingError, match="cursor closed"):
                use()
        assert cursor.rowcount == 1
        cursor.close()

    def test_nobody_pings(self, connect: Any) -> None:
        connection = connect()
        before = count_of(Cursor(connection), "Com_admin_commands")
        for _ in range(3):
            asked(Cursor(connection), "SELECT 1")
        assert count_of(Cursor(connection), "Com_admin_commands") == before

    def test_after_an_error_the_session_goes_on(self, cursor: Cursor) -> None:
        with pytest.raises(ProgrammingError):
            cursor.execute("SELEKT 1")
        assert cursor._executed == b"SELEKT 1"
        assert asked(cursor, "SELECT 1") == ((1,),)
