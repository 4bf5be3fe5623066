"""The guard on SQLite: what a reader and a prevent_writes block refuse, and which writes a scope remembers."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from typing import Any

import pytest
from django.conf import settings
from django.contrib.contenttypes.models import ContentType
from django.core.management import CommandError, call_command
from django.db import DatabaseError, ProgrammingError, connections, transaction
from django.test import TransactionTestCase, override_settings

from django_aurora_routing.routing import guard as guard_module
from django_aurora_routing.routing import in_database
from django_aurora_routing.routing.blocks import in_writer, prevent_writes
from django_aurora_routing.routing.errors import WritePrevented
from django_aurora_routing.routing.guard import guard
from django_aurora_routing.routing.scopes import current_scope, mark_written, scope

from .conftest import CLUSTERS, Config, names
from .models import Author, Book

pytestmark = pytest.mark.usefixtures("both_routers")

READERS = ("reader1", "reader2")


def execute(sql: str, alias: str = "reader1", params: Any = None) -> Any:
    with connections[alias].cursor() as cursor:
        cursor.execute(sql, params)
        return cursor.fetchall()


def is_pinned() -> bool:
    return current_scope().is_pinned("default")


# -- readers


@pytest.mark.parametrize(
    "write",
    [
        lambda: Author.objects.using("reader1").create(name="new"),
        lambda: Author.objects.using("reader1").bulk_create([Author(name="new"), Author(name="newer")]),
        lambda: Author.objects.using("reader1").update(name="new"),
        lambda: Author.objects.using("reader1").all().delete(),
        lambda: Author.objects.using("reader1").get().save(using="reader1"),
        lambda: execute("INSERT INTO routing_tests_author (name) VALUES ('new') RETURNING id"),
        lambda: execute("/* a comment */ delete from routing_tests_author"),
        lambda: execute("WITH a AS (SELECT 1) DELETE FROM routing_tests_author"),
        lambda: execute("PRAGMA user_version = 5"),
        lambda: execute("VACUUM"),
    ],
)
def test_trap_33_a_reader_refuses_writes_before_they_are_sent(write: Callable[[], Any]) -> None:
    with pytest.raises(DatabaseError, match="reader1"):
        write()
    assert list(Author.objects.using("reader1").values_list("name", flat=True)) == ["reader1"]
    assert not is_pinned()


def test_trap_33_raw_sql_that_locks_or_draws_from_a_sequence() -> None:
    for sql in (
        "SELECT * FROM routing_tests_author FOR UPDATE",
        "SELECT nextval('s')",
        "SELECT get_lock('a', 1)",
        "INSERT INTO routing_tests_author (name) VALUES ('new') RETURNING id",
    ):
        with pytest.raises(WritePrevented):
            list(Author.objects.using("reader1").raw(sql))


def test_a_refusal_says_what_where_and_what_to_do_and_shows_no_value() -> None:
    with pytest.raises(WritePrevented) as caught:
        execute("UPDATE auth_user SET email = 'secret' WHERE id = %s", params=["confidential"])
    error = caught.value
    assert isinstance(error, ProgrammingError)
    assert (error.alias, error.model) == ("reader1", "auth.User")
    assert str(error) == (
        "Alias 'reader1' was not sent 'UPDATE auth_user SET email' for model auth.User: it is a reader of cluster "
        "'default', and this writes, locks, or may do so. Use in_writer(), or .using('default')."
    )
    with pytest.raises(WritePrevented) as caught:
        execute("CREATE TABLE other (a)")
    assert caught.value.model is None


def test_a_readers_reads_and_transactions_go_on() -> None:
    with transaction.atomic(using="reader1"):
        assert execute("SELECT name FROM routing_tests_author") == [("reader1",)]
        with pytest.raises(WritePrevented):
            execute("DELETE FROM routing_tests_author")
        with transaction.atomic(using="reader1"):  # a savepoint: nothing was sent, nothing is broken
            assert Author.objects.using("reader1").filter(name="reader1").exists()
    assert Author.objects.using("reader1").in_bulk()
    assert execute("WITH a AS (SELECT name FROM routing_tests_author) SELECT 'delete from' FROM a") == [
        ("delete from",)
    ]
    assert connections["reader1"].introspection.table_names()
    connections["reader1"].check_constraints()


def test_readers_may_be_written_to_where_settings_say_so() -> None:
    with override_settings(AURORA_ROUTING={**CLUSTERS, "PREVENT_WRITES_ON_READERS": False}):
        Author.objects.using("reader1").create(name="new")
        with prevent_writes(), pytest.raises(WritePrevented):
            Author.objects.using("reader1").create(name="newer")
    with pytest.raises(WritePrevented):
        Author.objects.using("reader1").create(name="newest")


def test_without_clusters_nobody_is_a_reader() -> None:
    with override_settings(AURORA_ROUTING={}):
        Author.objects.using("reader1").create(name="new")


def test_settings_that_are_wrong_are_told_by_the_router_and_not_by_every_statement() -> None:
    with override_settings(AURORA_ROUTING={"CLUSTERS": {"default": {"writer": "defualt"}}}):
        assert execute("SELECT 1") == [(1,)]


def test_in_other_threads_and_in_asynchronous_code() -> None:
    errors: list[DatabaseError] = []

    def work() -> None:
        try:
            Author.objects.using("reader2").create(name="new")
        except DatabaseError as error:
            errors.append(error)
        finally:
            connections["reader2"].close()

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    with pytest.raises(WritePrevented):
        asyncio.run(Author.objects.using("reader2").acreate(name="new"))
    assert [type(error) for error in errors] == [WritePrevented]


def test_django_sets_up_a_test_database_of_a_readers_own(
    databases: dict[str, Config], monkeypatch: pytest.MonkeyPatch
) -> None:
    # With TEST["MIRROR"] there would be none; without, Django notes there that nothing is to be migrated.
    monkeypatch.setitem(settings.DATABASES, "reader1", databases["reader1"])
    creation = connections["reader1"].creation
    name = connections["reader1"].settings_dict["NAME"]
    creation.create_test_db(verbosity=0, autoclobber=True)
    assert execute("SELECT 1 FROM django_migrations LIMIT 1") == [(1,)]
    with pytest.raises(WritePrevented):
        execute("DELETE FROM django_migrations")
    creation.destroy_test_db(name, verbosity=0)


@override_settings(DATABASE_ROUTERS=[])  # ours would let nobody flush a reader
def test_django_flushes_a_readers_own_test_database_after_a_test() -> None:
    with override_settings(AURORA_ROUTING={}), connections["reader1"].schema_editor() as editor:
        editor.create_model(ContentType)
        ContentType.objects.using("reader1").create(app_label="routing_tests", model="author")

    class Case(TransactionTestCase):
        databases = {"reader1"}
        available_apps = ["django.contrib.contenttypes"]

        def runTest(self) -> None:
            with pytest.raises(CommandError):
                call_command("flush", database="reader1", interactive=False, verbosity=0)

    Case().debug()
    assert not ContentType.objects.using("reader1").exists()


# -- how it is installed


def test_once_a_connection_and_outside_of_everything_else() -> None:
    connection = connections["reader1"]
    seen: list[str] = []

    def mine(execute: Any, sql: str, params: Any, many: bool, context: Any) -> Any:
        seen.append(sql)
        return execute(sql, params, many, context)

    connection.close()
    with connection.execute_wrapper(mine):  # connects inside a block which then removes the last wrapper
        execute("SELECT 1")
        with pytest.raises(WritePrevented):
            execute("DELETE FROM routing_tests_author")
    assert seen == ["SELECT 1"]
    for _ in range(3):
        connection.close()
        connection.ensure_connection()
    guard_module.install()
    assert connection.execute_wrappers == [guard]


def test_a_connection_that_was_open_before_is_guarded_too() -> None:
    connection = connections["reader1"]
    connection.ensure_connection()
    connection.execute_wrappers.clear()
    guard_module.install()
    assert connection.execute_wrappers == [guard]


# -- prevent_writes


def test_trap_19_a_write_that_the_block_does_not_route_is_refused_where_it_would_be_made() -> None:
    with in_database("external", prevent_writes=True):
        assert names() == ["external"]
        with pytest.raises(WritePrevented, match=r"^Alias 'default' .*in_database\('external'"):
            Author.objects.create(name="new")
        with pytest.raises(WritePrevented, match="'external'"):
            Author.objects.using("external").create(name="new")
    Author.objects.create(name="new")


@pytest.mark.parametrize("alias", ["default", "external", "reader1"])
def test_a_block_prevents_writes_on_every_connection(alias: str) -> None:
    with prevent_writes():
        assert Author.objects.using(alias).count() == 1
        for sql in (
            "INSERT INTO routing_tests_author (name) VALUES ('new')",
            "DROP TABLE routing_tests_author",
            "VACUUM",
        ):
            with pytest.raises(WritePrevented, match=r"prevent_writes\(\)"):
                execute(sql, alias)
        with transaction.atomic(using=alias), transaction.atomic(using=alias):
            pass
    assert Author.objects.using(alias).count() == 1


def test_a_block_prevents_writes_in_dynamic_databases(make_config: Callable[..., Config]) -> None:
    with in_database(make_config(), write=True):
        Author.objects.create(name="new")
        with prevent_writes():
            assert names() == ["tenant", "new"]
            with pytest.raises(WritePrevented):
                Author.objects.create(name="newer")
        Author.objects.create(name="newest")


def test_the_blocks_inside_do_not_lift_it() -> None:
    with prevent_writes(), in_database("default", write=True), in_writer(), pytest.raises(WritePrevented):
        Author.objects.create(name="new")


def test_it_ends_with_the_block_and_holds_in_its_own_task_alone() -> None:
    async def other() -> None:
        await Author.objects.acreate(name="new")

    async def main() -> None:
        started = asyncio.Event()

        async def preventing() -> None:
            async with prevent_writes():
                started.set()
                await asyncio.sleep(0.05)
                with pytest.raises(WritePrevented):
                    await Author.objects.acreate(name="newer")

        task = asyncio.create_task(preventing())
        await started.wait()
        await other()
        await task

    asyncio.run(main())
    assert sorted(Author.objects.using("default").values_list("name", flat=True)) == ["default", "new"]


def test_sql_as_bytes_is_looked_at_too() -> None:
    with prevent_writes(), pytest.raises(WritePrevented):
        execute(b"DELETE FROM routing_tests_author")  # type: ignore[arg-type]


# -- what a scope has written


def test_trap_26_a_get_that_writes_is_followed_by_reads_of_its_writes() -> None:
    with scope("GET"):
        assert names() in [[alias] for alias in READERS]
        Author.objects.create(name="new")
        assert names() == ["default", "new"]
        assert "default" in current_scope().commits()


def test_trap_27_a_request_that_only_reads_uses_readers_whatever_its_verb() -> None:
    with scope("POST"):
        assert names() in [[alias] for alias in READERS]
        assert not is_pinned()


@pytest.mark.parametrize(
    "use",
    [
        lambda: Author(name="new").full_clean(),
        lambda: Author.objects.get_or_create(name="default"),
        lambda: Author.objects.select_for_update().filter(pk=-1).exists(),
        lambda: Book(author=Author.objects.using("default").get()),
        lambda: Author.objects.using("default").get(),
        lambda: execute("PRAGMA foreign_keys", "default"),
        lambda: Author.objects.using("external").create(name="new"),
    ],
)
def test_trap_28_nothing_but_an_executed_write_pins(use: Callable[[], Any]) -> None:
    with scope(), transaction.atomic():
        use()
    with scope():
        use()
        assert not is_pinned()


@pytest.mark.parametrize(
    "write",
    [
        lambda: Author.objects.create(name="new"),
        lambda: Author.objects.bulk_create([Author(name="new")]),
        lambda: Author.objects.using("default").update(name="new"),
        lambda: Author.objects.using("default").all().delete(),
        lambda: execute("REPLACE INTO routing_tests_author (id, name) VALUES (1, 'new')", "default"),
        lambda: execute("CREATE TABLE other (a)", "default"),
        lambda: execute("WITH a AS (SELECT 1) DELETE FROM routing_tests_author", "default"),
        lambda: mark_written(),
    ],
)
def test_trap_28_every_executed_write_does(write: Callable[[], Any]) -> None:
    with scope():
        write()
        assert is_pinned()


def test_a_statement_that_failed_has_written_nothing() -> None:
    with scope():
        with pytest.raises(DatabaseError):
            execute("INSERT INTO nowhere VALUES (1)", "default")
        assert not is_pinned()


def test_what_was_rolled_back_does_not_pin() -> None:
    with scope():
        with pytest.raises(ZeroDivisionError), transaction.atomic():
            Author.objects.create(name="new")
            raise ZeroDivisionError
        assert not is_pinned()
