"""Effects: which SQL reads, which holds something, which writes; and that nothing is taken for less than it is."""

from __future__ import annotations

import contextlib
import sqlite3
import time

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from django_aurora_routing.core.effects import Effect, effect_of, first_words

VENDORS = ("mysql", "sqlite", "postgresql", "oracle", "another")

READS = """
    SELECT 1
    select * from t where a = %s
    SELECT "shop_order"."id", "shop_order"."into" FROM "shop_order" WHERE "shop_order"."note" = 'x' LIMIT 21
    (SELECT 1) UNION (SELECT 2)
    /* who asks */ SELECT 1
    SELECT 1;
    SELECT 'for update'
    SELECT 'it''s for update; delete from t'
    SELECT replace(name, 'into', '') FROM t
    SELECT updated, deleted_at, format_update FROM t
    SELECT a -- for update
    SELECT my_nextval(1)
    SELECT currval('s')
    WITH a AS (SELECT 1) SELECT * FROM a
    WITH a (x) AS (SELECT replace(b, 'c', 'd') FROM e) SELECT 'delete from' FROM a
    WITH RECURSIVE a AS (SELECT 1 UNION SELECT 2) SELECT deleted FROM a
    VALUES (1)
    TABLE t
    SHOW TABLES
    SHOW CREATE TABLE t
    DESCRIBE t
    EXPLAIN SELECT 1
    EXPLAIN DELETE FROM t
    EXPLAIN SELECT * FROM t FOR UPDATE
    EXPLAIN (FORMAT JSON) SELECT nextval('s')
    EXPLAIN QUERY PLAN SELECT 1
    EXPLAIN ANALYZE SELECT 1
    EXPLAIN (ANALYZE, BUFFERS) SELECT 1
    EXPLAIN ANALYZE FORMAT=TREE SELECT 1
    DESC ANALYZE SELECT 1
    USE app
    SET @a = 1
    SET SESSION sql_mode = 'STRICT_ALL_TABLES', time_zone = '+00:00'
    SET SQL_AUTO_IS_NULL = 0; SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED
    SET SESSION TRANSACTION READ ONLY
    SET CONSTRAINTS ALL IMMEDIATE
    SET ROLE r
    SET STATEMENT max_statement_time = 1 FOR SELECT 1
    ALTER SESSION SET NLS_TERRITORY = 'AMERICA'
    BEGIN
    BEGIN IMMEDIATE
    BEGIN TRANSACTION ISOLATION LEVEL SERIALIZABLE, READ ONLY
    START TRANSACTION
    START TRANSACTION WITH CONSISTENT SNAPSHOT
    SAVEPOINT "s1_x1"
    RELEASE SAVEPOINT "s1_x1"
    ROLLBACK TO SAVEPOINT "s1_x1"
    ROLLBACK
    COMMIT
    COMMIT AND CHAIN
    PRAGMA foreign_keys
    PRAGMA foreign_keys = ON
    PRAGMA table_info("shop_order")
    PRAGMA main.table_info("shop_order")
    PRAGMA foreign_key_check
    PRAGMA user_version
"""

HOLDS = """
    SELECT * FROM t FOR UPDATE
    SELECT * FROM t WHERE a IN (SELECT b FROM u) FOR UPDATE NOWAIT
    SELECT * FROM t for /* */ no key update
    SELECT * FROM t FOR SHARE SKIP LOCKED
    SELECT * FROM t FOR KEY SHARE
    SELECT * FROM t LOCK IN SHARE MODE
    (SELECT * FROM t FOR UPDATE)
    WITH a AS (SELECT 1) SELECT * FROM a FOR UPDATE
    SELECT GET_LOCK('a', 1)
    SELECT release_lock ('a')
    SELECT nextval('s')
    SELECT pg_catalog.nextval('s')
    SELECT "nextval" ('s')
    SELECT setval('s', 1)
    SELECT NEXT VALUE FOR s
    SELECT "s".NEXTVAL FROM dual
    SELECT pg_advisory_xact_lock(1)
    SELECT pg_try_advisory_lock(1)
    SELECT 1 WHERE pg_notify('a', 'b') IS NULL
    SELECT 1; SELECT 2 FOR UPDATE
    SET @a = GET_LOCK('a', 1)
    LOCK TABLES t WRITE
    LOCK TABLE t IN SHARE MODE
    EXPLAIN ANALYZE SELECT 1 FOR UPDATE
"""

WRITES = """
    INSERT INTO t VALUES (1)
    insert into t values (1)
    UPDATE t SET a = 1
    DELETE FROM t
    REPLACE INTO t VALUES (1)
    MERGE INTO t USING u ON (1 = 1) WHEN MATCHED THEN DELETE
    TRUNCATE t
    CREATE TABLE t (a INT)
    CREATE TEMPORARY TABLE t (a INT)
    ALTER TABLE t ADD b INT
    DROP TABLE t
    VACUUM
    ANALYZE TABLE t
    ANALYZE SELECT 1
    GRANT SELECT ON t TO u
    CALL p()
    DO GET_LOCK('a', 1)
    DO $$ BEGIN DELETE FROM t; END $$
    EXECUTE p
    COPY t FROM STDIN
    HANDLER t OPEN
    FLUSH TABLES
    SELECT 1; DELETE FROM t
    SELECT 1;delete from t
    COMMIT; DELETE FROM t
    SELECT * INTO u FROM t
    SELECT (1)INTO @a
    SELECT 1 INTO OUTFILE '/tmp/x'
    SELECT'x'INTO @a
    SELECT lo_create(0)
    SELECT * FROM dblink('a', 'DELETE FROM t') AS (a int)
    WITH a AS (SELECT 1) DELETE FROM t
    WITH a AS (DELETE FROM t RETURNING *) SELECT * FROM a
    WITH a AS (INSERT INTO t VALUES (1) RETURNING *) SELECT * FROM a
    WITH a AS (UPDATE t SET b = 1 RETURNING *) SELECT * FROM a FOR UPDATE
    WITH a AS (MERGE INTO t USING u ON true WHEN MATCHED THEN DO NOTHING RETURNING 1) SELECT 1
    WITH a AS (SELECT 1) REPLACE INTO t SELECT * FROM a
    EXPLAIN ANALYZE DELETE FROM t
    EXPLAIN (ANALYZE, VERBOSE) UPDATE t SET a = 1
    EXPLAIN ANALYZE VERBOSE INSERT INTO t VALUES (1)
    EXPLAIN ANALYZE EXECUTE p
    EXPLAIN PLAN FOR SELECT 1
    DESCRIBE ANALYZE DELETE FROM t
    SET GLOBAL read_only = 0
    SET @@GLOBAL.read_only = 0
    SET time_zone = '+00:00', PERSIST max_connections = 10
    SET PASSWORD = 'x'
    SET STATEMENT max_statement_time = 1 FOR DELETE FROM t
    PREPARE TRANSACTION 'a'
    COMMIT PREPARED 'a'
    BEGIN NOT ATOMIC DELETE FROM t; END
    BEGIN DELETE FROM t; END;
    PRAGMA user_version = 5
    PRAGMA user_version(5)
    PRAGMA journal_mode = WAL
    PRAGMA "user_version" = 5
    PRAGMA wal_checkpoint
    ATTACH DATABASE 'x' AS y
    /* SELECT 1 */ DELETE FROM t
    SELECTED
    SELECT 'never closed
    SELECT 1 /* never closed
    ;
"""


def lines(text: str) -> list[str]:
    return [line.strip() for line in text.strip().splitlines()] + ([""] if text is WRITES else [])


@pytest.mark.parametrize("vendor", VENDORS)
@pytest.mark.parametrize("sql", lines(READS))
def test_reads(sql: str, vendor: str) -> None:
    if vendor == "mysql":
        sql = sql.replace('"', "`")
    assert effect_of(sql, vendor) is Effect.NONE


@pytest.mark.parametrize("vendor", VENDORS)
@pytest.mark.parametrize("sql", lines(HOLDS))
def test_what_holds_something(sql: str, vendor: str) -> None:
    if vendor == "mysql":
        sql = sql.replace('"', "`")
    assert effect_of(sql, vendor) is Effect.LOCK


@pytest.mark.parametrize("vendor", VENDORS)
@pytest.mark.parametrize("sql", lines(WRITES))
def test_writes_and_what_is_not_known(sql: str, vendor: str) -> None:
    assert effect_of(sql, vendor) is Effect.WRITE


@pytest.mark.parametrize(
    ("vendor", "sql", "effect"),
    [
        # A backslash escapes the quote behind it in MySQL, and in PostgreSQL after an E.
        ("mysql", r"SELECT 'it\'s for update'", Effect.NONE),
        ("mysql", r'SELECT "it\"s for update"', Effect.NONE),
        ("mysql", r"SELECT '\\'; DELETE FROM t -- '", Effect.WRITE),
        ("sqlite", r"SELECT a FROM t WHERE a LIKE %s ESCAPE '\'", Effect.NONE),
        ("sqlite", r"SELECT '\'; DELETE FROM t -- '", Effect.WRITE),
        ("postgresql", r"SELECT E'it\'s for update'", Effect.NONE),
        ("postgresql", r"SELECT '\'; DELETE FROM t -- '", Effect.WRITE),
        # Comments of MySQL: some are executed, '#' begins one, '--' only before a space.
        ("mysql", "SELECT 1 # for update", Effect.NONE),
        ("mysql", "SELECT 1--1 FOR UPDATE", Effect.LOCK),
        ("mysql", "SELECT 1 --\tFOR UPDATE", Effect.NONE),
        ("mysql", "SELECT /*! SQL_NO_CACHE */ 1", Effect.WRITE),
        ("mysql", "SELECT 1 /*M! FOR UPDATE */", Effect.WRITE),
        ("mysql", "SELECT /*+ MAX_EXECUTION_TIME(1) */ 1", Effect.NONE),
        ("sqlite", "SELECT 1--1 FOR UPDATE", Effect.NONE),
        # PostgreSQL: '#' is an operator, comments nest, dollars quote.
        ("postgresql", "SELECT a #> '{b,0}' FROM t FOR UPDATE", Effect.LOCK),
        ("postgresql", "SELECT /* /* */ ' */ 1; DELETE FROM t; -- '", Effect.WRITE),
        ("postgresql", "SELECT $$for update$$, $a$ $$ delete $a$", Effect.NONE),
        ("postgresql", "SELECT $a$ $$; DELETE FROM t", Effect.WRITE),
        ("postgresql", "SELECT a[1], ARRAY['for update'] FROM t", Effect.NONE),
        ("postgresql", "SELECT $1 FROM t$x$ FOR UPDATE -- $x$", Effect.LOCK),
        ("sqlite", "SELECT [for update] FROM [into]", Effect.NONE),
        ("sqlite", "SELECT [it's] FROM t; DELETE FROM t -- '", Effect.WRITE),
        ("oracle", "SELECT q'[it's]' FROM t; DELETE FROM t -- '", Effect.WRITE),
        ("oracle", "SELECT v$x FROM sys.v$y$ FOR UPDATE", Effect.LOCK),
    ],
)
def test_what_each_database_quotes(vendor: str, sql: str, effect: Effect) -> None:
    assert effect_of(sql, vendor) is effect


# -- by chance

NASTY = st.lists(
    st.sampled_from([*"'\"`;()-/*#[]$\\\n aE", " for update", "into ", "delete from t", "--", "/*", "*/"]), max_size=12
).map("".join)
COMMENTS = st.sampled_from(["", " ", "/* 'x */", "-- it's\n", "((", "/**/", "\n\t"])


@given(NASTY, NASTY, COMMENTS, st.sampled_from(VENDORS))
def test_quoted_text_is_never_taken_for_sql(value: str, name: str, before: str, vendor: str) -> None:
    quoted = value.replace("\\", "\\\\") if vendor == "mysql" else value
    name = name.replace('"', "").replace("`", "")
    column = f"`{name}`" if vendor == "mysql" else f'"{name}"'
    quoted = quoted.replace("'", "''")
    read = f"{before}SELECT {column} FROM t WHERE a = '{quoted}'"
    assert effect_of(read, vendor) is Effect.NONE
    assert effect_of(f"{read} FOR UPDATE", vendor) is Effect.LOCK
    assert effect_of(f"{read}; DROP TABLE t", vendor) is Effect.WRITE
    assert effect_of(f"{before}WITH a AS (DELETE FROM b RETURNING '{quoted}') SELECT * FROM a", vendor) is Effect.WRITE


PIECES = st.sampled_from(
    [
        *"'\"`;()-/*[]$\\\n\t ,1#.=",
        *("--", "/*", "*/", "''", "select 1", "SELECT a FROM t", "delete from t", "INSERT INTO t VALUES (1)"),
        *("with x as (select 1)", "WITH", "x AS", "replace into t values (1)", "update t set a = 1", "drop table t"),
        *(
            "values (1)",
            "pragma",
            "user_version",
            "table_info",
            "journal_mode",
            "explain",
            "analyze",
            "begin",
            "commit",
        ),
        *("\x00", "\x0b", "\ufeff", "\xa0", "$$", "[a]", '"a"'),
    ]
)
READ_CODES = {sqlite3.SQLITE_SELECT, sqlite3.SQLITE_READ, sqlite3.SQLITE_FUNCTION, sqlite3.SQLITE_RECURSIVE}


@settings(max_examples=1500)
@given(st.lists(PIECES, max_size=9).map("".join))
@example("PRAGMA user_version = 5")
@example("explain delete from t")
@example("select 1;delete from t")
def test_what_sqlite_itself_takes_for_a_write_is_one(sql: str) -> None:
    database = sqlite3.connect(":memory:", isolation_level=None)
    with contextlib.closing(database):
        database.execute("CREATE TABLE t (a)")
        database.execute("INSERT INTO t VALUES (0)")
        before = list(database.iterdump())
        with contextlib.suppress(sqlite3.Error, sqlite3.Warning, ValueError):
            database.executescript(sql)
        version = database.execute("PRAGMA user_version").fetchone()
        if database.in_transaction:
            database.execute("COMMIT")
        if list(database.iterdump()) != before or version != (0,):
            assert effect_of(sql, "sqlite") is Effect.WRITE


@pytest.mark.parametrize("vendor", VENDORS[:4])
@pytest.mark.parametrize(
    "piece",
    ["'", "''", "\\'", '"', "`", "/*", "/* ", "*/", "--", "-- \n", "$a$", "$$", "e'\\'", "(", "((", " ", ".", ". ", "[",
     "FOR ", "FOR UPDATE ", "EXPLAIN ", "ANALYZE ", "(a)", "SET ,",
     "STATEMENT A FOR SET ", ";", "a", "q'", "BEGIN ", "WITH ", "a.", "* "],
)  # fmt: skip
def test_the_time_grows_with_the_text_and_no_faster(piece: str, vendor: str) -> None:
    for start in ("SELECT ", "EXPLAIN ", "BEGIN ", "SET "):
        text = start + piece * (100_000 // len(piece))
        began = time.process_time()
        effect_of(text, vendor)
        first_words(text, vendor)
        assert time.process_time() - began < 1


@pytest.mark.parametrize(
    ("vendor", "sql", "words"),
    [
        ("sqlite", 'INSERT INTO "shop_order" ("id") VALUES (%s)', 'INSERT INTO "shop_order"'),
        ("mysql", "UPDATE `shop_order` SET `paid` = 1 WHERE `id` = 5", "UPDATE `shop_order` SET `paid`"),
        ("sqlite", "/* hi */ (SELECT * FROM t FOR UPDATE)", "SELECT * FROM t FOR UPDATE"),
        ("mysql", "DELETE FROM t WHERE name = 'secret'", "DELETE FROM t WHERE name"),
        ("mysql", "DELETE FROM t WHERE a LIKE 'secret'", "DELETE FROM t WHERE a LIKE"),
        ("mysql", 'CALL "secret"', "CALL"),
        ("postgresql", "DELETE FROM a.b WHERE 5 = c", "DELETE FROM a.b WHERE"),
        ("sqlite", "", ""),
    ],
)
def test_first_words_never_show_a_value(vendor: str, sql: str, words: str) -> None:
    assert first_words(sql, vendor) == words
