"""Transactions and raw SQL on the database of the block they are in."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import subprocess
import sys
import threading
import unittest
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from asgiref.sync import sync_to_async
from django.core.exceptions import ImproperlyConfigured
from django.core.handlers.base import BaseHandler
from django.db import connection as django_connection
from django.db import connections, transaction
from django.test import TestCase, override_settings
from django.utils.connection import ConnectionProxy

import django_aurora_routing
from django_aurora_routing import routing
from django_aurora_routing.routing import atomic, connection, current_alias, in_database, on_commit
from django_aurora_routing.routing.blocks import in_reader, in_writer, prevent_writes
from django_aurora_routing.routing.errors import WritePrevented
from django_aurora_routing.routing.scopes import scope

from .conftest import names
from .models import Author

pytestmark = pytest.mark.usefixtures("databases")

INSERT = f"INSERT INTO {Author._meta.db_table} (name) VALUES ('raw')"
SELECT = f"SELECT name FROM {Author._meta.db_table} ORDER BY id"


class Undo(Exception):
    pass


def names_in(alias: str) -> list[str]:
    return list(Author.objects.using(alias).order_by("pk").values_list("name", flat=True))


def raw(on: Any = connection, sql: str = SELECT) -> list[str]:
    with on.cursor() as cursor:
        cursor.execute(sql)
        return [row[0] for row in cursor.fetchall()]


def is_open(alias: str) -> bool:
    return bool(connections[alias].in_atomic_block)


@pytest.fixture
def following(databases: Any) -> Iterator[None]:
    with override_settings(AURORA_ROUTING={"TRANSACTIONS_FOLLOW_BLOCKS": True}):
        yield


# The two ways to have it; what is said of one holds for the other.
BOTH = pytest.mark.parametrize("opened_by", [atomic, transaction.atomic], ids=["routing", "django"])


# -- where


def test_the_alias_of_what_names_no_model() -> None:
    def both() -> tuple[str, str]:
        return current_alias(), current_alias(write=True)

    assert both() == ("default", "default")
    with in_database("external"):
        assert both() == ("external", "default")
        with in_database("reader1", read=False, write=True):
            assert both() == ("external", "reader1")
        with in_database("reader1", write=True):
            assert both() == ("reader1", "reader1")
            with in_database("reader2"), prevent_writes():
                assert both() == ("reader2", "reader1")
    assert both() == ("default", "default")


def test_a_block_limited_to_some_models_has_no_say() -> None:
    with in_database("external", write=True, models=[Author]):
        assert current_alias() == current_alias(write=True) == "default"
        with in_database("reader1", write=True, models=[Author]):
            assert current_alias(write=True) == "default"
    with in_database("reader1", write=True), in_database("external", write=True, models=[Author]):
        assert current_alias() == current_alias(write=True) == "reader1"


@override_settings(AURORA_ROUTING={"CLUSTERS": {"orders": {"writer": "external", "readers": ["reader1"]}}})
def test_in_writer_and_in_reader_have() -> None:
    with in_reader("orders"):
        assert (current_alias(), current_alias(write=True)) == ("reader1", "default")
        assert raw() == ["reader1"]
        with in_writer("orders"):
            assert (current_alias(), current_alias(write=True)) == ("external", "external")
    with in_database("reader2", write=True), in_reader("orders"):
        assert (current_alias(), current_alias(write=True)) == ("reader1", "reader2")
    with in_writer("orders"), in_database("reader2"):
        assert (current_alias(), current_alias(write=True)) == ("reader2", "external")


def test_a_debug_log_changes_nothing(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level("DEBUG", "django_aurora_routing"), scope(), in_database("external", write=True):
        assert current_alias() == current_alias(write=True) == "external"


# -- transactions


@pytest.mark.usefixtures("following")
@BOTH
def test_trap_17_a_transaction_is_where_the_block_writes(opened_by: Any) -> None:
    with contextlib.suppress(Undo), in_database("external", write=True), opened_by():
        assert (is_open("external"), is_open("default")) == (True, False)
        Author.objects.create(name="new")
        raise Undo
    assert names_in("external") == ["external"]
    with in_database("external", write=True), opened_by():
        Author.objects.create(name="new")
    assert names_in("external") == ["external", "new"]
    assert names_in("default") == ["default"]


def test_trap_17_without_the_switch_djangos_own_stays_on_default() -> None:
    with contextlib.suppress(Undo), in_database("external", write=True), transaction.atomic():
        assert (is_open("external"), is_open("default")) == (False, True)
        Author.objects.create(name="new")
        raise Undo
    assert names_in("external") == ["external", "new"]


@pytest.mark.usefixtures("following")
@BOTH
def test_trap_17_a_block_that_only_reads_leaves_it_where_its_writes_are_left(opened_by: Any) -> None:
    with contextlib.suppress(Undo), in_database("external"), opened_by():
        assert (is_open("external"), is_open("default")) == (False, True)
        Author.objects.create(name="new")
        raise Undo
    assert names() == ["default"]


@pytest.mark.usefixtures("following")
@BOTH
def test_an_alias_that_is_named_is_meant(opened_by: Any) -> None:
    with in_database("external", write=True), opened_by(using="reader1"), opened_by("reader2"):
        assert [alias for alias in connections if is_open(alias)] == ["reader1", "reader2"]
    with in_database("external", write=True), opened_by(using="default"):
        assert [alias for alias in connections if is_open(alias)] == ["default"]


@pytest.mark.usefixtures("following")
@BOTH
@pytest.mark.parametrize("bare", [True, False])
def test_a_function_decorated_outside_follows_each_time_it_is_called(opened_by: Any, bare: bool) -> None:
    @(opened_by if bare else opened_by())
    def call(*path: str) -> list[str]:
        """Its own words."""
        found = [alias for alias in connections if is_open(alias)]
        if path:
            with in_database(path[0], write=True):
                return call(*path[1:])
        return found

    assert call.__doc__ == "Its own words."
    assert call() == ["default"]
    with in_database("external", write=True):
        assert call() == ["external"]
        assert call("reader1", "external") == ["external", "reader1"]
    assert call() == ["default"]
    assert not any(is_open(alias) for alias in connections)


@pytest.mark.usefixtures("following")
@BOTH
def test_one_object_is_entered_again_in_other_blocks(opened_by: Any) -> None:
    again = opened_by()
    with in_database("external", write=True), again, in_database("reader1", write=True), again, again:
        for alias in ("external", "reader1"):
            assert len(connections[alias].atomic_blocks) == {"external": 1, "reader1": 2}[alias]
        Author.objects.create(name="new")
        transaction.set_rollback(True, using="reader1")
    assert names_in("reader1") == ["reader1"]


@pytest.mark.usefixtures("following")
@BOTH
def test_it_ends_where_it_began_whatever_blocks_have_come_and_gone(opened_by: Any) -> None:
    outer, inner = in_database("external", write=True), in_database("reader1", write=True)
    begun = opened_by()
    outer.__enter__()
    begun.__enter__()
    Author.objects.create(name="new")
    outer.__exit__(None, None, None)
    inner.__enter__()
    begun.__exit__(Undo, Undo(), None)
    assert not is_open("external")
    inner.__exit__(None, None, None)
    assert names_in("external") == ["external"]
    assert current_alias(write=True) == "default"


@pytest.mark.usefixtures("following")
@BOTH
def test_savepoints_and_durable_are_as_in_django(opened_by: Any) -> None:
    with in_database("external", write=True), opened_by():
        with contextlib.suppress(Undo), opened_by():
            Author.objects.create(name="undone")
            raise Undo
        with pytest.raises(RuntimeError, match="durable"), opened_by(durable=True):
            pass
        with in_database("reader1", write=True), opened_by(durable=True):  # another database, none in progress there
            pass
        with contextlib.suppress(Undo), opened_by(savepoint=False):
            raise Undo
        with pytest.raises(transaction.TransactionManagementError):
            names()
        transaction.set_rollback(False, using="external")
        Author.objects.create(name="kept")
    assert names_in("external") == ["external", "kept"]


@pytest.mark.usefixtures("following")
@BOTH
def test_an_error_at_the_beginning_leaves_nothing_behind(opened_by: Any) -> None:
    broken = {"ENGINE": "no.such.engine", "NAME": "x"}
    begun = opened_by()
    with pytest.raises(ImproperlyConfigured), in_database(broken, write=True), begun:
        raise AssertionError("not reached")
    with in_database("external", write=True), begun:
        assert is_open("external")
    assert not is_open("external")


@pytest.mark.usefixtures("following")
@BOTH
def test_a_configuration_has_its_transactions(opened_by: Any, make_config: Callable[..., Any]) -> None:
    config = make_config("tenant")
    with contextlib.suppress(Undo), in_database(config, write=True) as block, opened_by():
        assert is_open(block.database)
        Author.objects.create(name="new")
        raise Undo
    with in_database(config):
        assert names() == ["tenant"]


def test_atomic_is_refused_on_what_runs_later() -> None:
    async def coroutine() -> None: ...

    def generator() -> Any:
        yield

    async def both() -> Any:
        yield

    for function in (coroutine, generator, both, functools.partial(generator)):
        for decorate in (atomic, atomic(), atomic("external"), atomic(durable=True)):
            with pytest.raises(TypeError, match="cannot decorate asynchronous functions and generators"):
                decorate(function)  # type: ignore[operator]


@pytest.mark.usefixtures("following")
@BOTH
def test_threads_and_tasks_have_their_own(opened_by: Any) -> None:
    opened = opened_by()
    barrier = threading.Barrier(3, timeout=20)
    seen: dict[str, list[str]] = {}

    def work(alias: str) -> None:
        with in_database(alias, write=True), opened:
            barrier.wait()
            seen[alias] = [name for name in ("default", "external", "reader1") if is_open(name)]
            barrier.wait()
        seen[alias] += [name for name in ("default", "external", "reader1") if is_open(name)]
        connections.close_all()

    threads = [threading.Thread(target=work, args=(alias,)) for alias in ("default", "external", "reader1")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert seen == {alias: [alias] for alias in ("default", "external", "reader1")}

    @opened
    def create(name: str) -> None:
        Author.objects.create(name=name)
        if name == "undone":
            raise Undo

    async def task(alias: str, name: str) -> None:
        async with in_database(alias, write=True):
            await asyncio.sleep(0)
            with contextlib.suppress(Undo):
                await sync_to_async(create)(name)

    async def main() -> None:
        await asyncio.gather(*(task(alias, name) for alias in ("external", "reader1") for name in ("undone", "kept")))

    asyncio.run(main())
    assert names_in("external") == ["external", "kept"]
    assert names_in("reader1") == ["reader1", "kept"]


@pytest.mark.usefixtures("following")
def test_entered_and_left_in_two_calls_of_sync_to_async() -> None:
    begun = atomic()

    async def main() -> None:
        async with in_database("external", write=True):
            await sync_to_async(begun.__enter__)()
            await Author.objects.acreate(name="new")
        await sync_to_async(begun.__exit__)(Undo, Undo(), None)

    asyncio.run(main())
    assert names_in("external") == ["external"]


@pytest.mark.usefixtures("following")
@pytest.mark.parametrize("register", [on_commit, transaction.on_commit], ids=["routing", "django"])
def test_on_commit_follows(register: Any) -> None:
    done: list[str] = []
    with in_database("external", write=True):
        with atomic():
            register(lambda: done.append(current_alias(write=True)))
            register(functools.partial(done.append, "at once"), using="default")
            assert done == ["at once"]
        assert done == ["at once", "external"]
        with contextlib.suppress(Undo), atomic():
            register(lambda: done.append("never"))
            raise Undo
        with atomic():
            register(lambda: 1 / 0, robust=True)
    assert done == ["at once", "external"]


@pytest.mark.usefixtures("following")
def test_the_other_functions_of_django_follow() -> None:
    with in_database("external", write=True):
        assert transaction.get_connection() is connections["external"]
        assert transaction.get_connection("default") is connections["default"]
        with transaction.atomic():
            Author.objects.create(name="new")
            transaction.set_rollback(True)
            assert transaction.get_rollback()
            assert not connections["default"].needs_rollback
        transaction.set_autocommit(False)
        assert connections["default"].get_autocommit()
        Author.objects.create(name="new")
        transaction.rollback()
        transaction.set_autocommit(True)
    assert names_in("external") == ["external"]
    assert transaction.get_connection() is connections["default"]


# -- raw SQL


@pytest.mark.usefixtures("following")
@pytest.mark.parametrize("proxy", [connection, django_connection], ids=["routing", "django"])
def test_trap_18_raw_sql_is_sent_to_the_database_of_the_block(proxy: Any) -> None:
    assert raw(proxy) == ["default"]
    with in_database("external"):
        assert raw(proxy) == ["external"]
        assert proxy.alias == "external"
        assert proxy == connections["external"]
    with in_database("external", write=True):
        with proxy.cursor() as cursor:
            cursor.execute(INSERT)
        with contextlib.suppress(Undo), atomic():
            assert proxy.in_atomic_block
            proxy.cursor().execute(INSERT)
            raise Undo
    assert names_in("external") == ["external", "raw"]
    assert names_in("default") == raw(proxy) == ["default"]


def test_trap_18_without_the_switch_djangos_own_is_default() -> None:
    with in_database("external"):
        assert raw(django_connection) == ["default"]
        assert type(django_connection) is ConnectionProxy


@pytest.mark.usefixtures("following")
@pytest.mark.parametrize("proxy", [connection, django_connection], ids=["routing", "django"])
def test_raw_sql_that_writes_is_refused_where_the_block_writes_elsewhere(proxy: Any) -> None:
    with in_database("external"):
        assert raw(proxy) == ["external"]
        for cursor in (proxy.cursor(), proxy.chunked_cursor()):
            with (
                cursor,
                pytest.raises(WritePrevented, match=r"'external' was not sent 'INSERT INTO .*'default'") as error,
            ):
                cursor.execute(INSERT)
            assert error.value.alias == "external"
        with proxy.cursor() as cursor, pytest.raises(WritePrevented):
            cursor.executemany(INSERT.replace("'raw'", "%s"), [("one",)])
        with proxy.cursor() as cursor, pytest.raises(WritePrevented, match="a call of 'clean_up'"):
            cursor.callproc("clean_up", [])
        with connections[current_alias(write=True)].cursor() as cursor:
            cursor.execute(INSERT)
        with connections["external"].cursor() as cursor:  # who names it means it
            cursor.execute(INSERT)
    assert names_in("external") == ["external", "raw"]
    assert names_in("default") == ["default", "raw"]


@pytest.mark.usefixtures("both_routers")
def test_raw_sql_in_a_reader() -> None:
    assert raw() == ["default"], "raw SQL outside of blocks is for the writer"
    with in_reader():
        assert raw() == names() != ["default"]
        with connection.cursor() as cursor, pytest.raises(WritePrevented):
            cursor.execute(INSERT)
        with in_writer(), connection.cursor() as cursor:
            cursor.execute(INSERT)
    assert names_in("default") == ["default", "raw"]


@pytest.mark.usefixtures("following")
@pytest.mark.parametrize("proxy", [connection, django_connection], ids=["routing", "django"])
def test_attributes_and_execute_wrappers_are_those_of_the_blocks_connection(proxy: Any) -> None:
    seen: list[str] = []

    def note(execute: Any, sql: str, params: Any, many: bool, context: dict[str, Any]) -> Any:
        seen.append(context["connection"].alias)
        return execute(sql, params, many, context)

    with in_database("external"):
        with proxy.execute_wrapper(note):
            names()
            with in_database("reader1"):
                names()
            names_in("default")
            inner = in_database("reader1")
            inner.__enter__()
        inner.__exit__(None, None, None)  # the wrapper is taken from where it was put
        names()
        proxy.mark = "set through it"
        assert "mark" in vars(connections["external"])
        with in_database("reader1"):
            assert not hasattr(proxy, "mark")
        del proxy.mark
        assert not hasattr(connections["external"], "mark")
    assert seen == ["external"]


@pytest.mark.usefixtures("following")
@pytest.mark.parametrize("proxy", [connection, django_connection], ids=["routing", "django"])
def test_raw_sql_in_threads_and_tasks(proxy: Any) -> None:
    found: list[Any] = []

    def elsewhere() -> None:
        found.append(raw(proxy))
        connections.close_all()

    with in_database("external"):
        thread = threading.Thread(target=elsewhere)
        thread.start()
        thread.join()
    assert found == [["default"]], "a thread begins without blocks"

    async def task(alias: str) -> list[str]:
        async with in_database(alias):
            await asyncio.sleep(0)
            return await sync_to_async(raw)(proxy)

    async def main() -> list[list[str]]:
        return await asyncio.gather(task("external"), task("reader1"), sync_to_async(raw)(proxy))

    assert asyncio.run(main()) == [["external"], ["reader1"], ["default"]]


# -- the switch


def test_the_switch_can_be_turned_off_in_the_middle() -> None:
    with in_database("external", write=True):
        with override_settings(AURORA_ROUTING={"TRANSACTIONS_FOLLOW_BLOCKS": True}):
            begun = transaction.atomic()
            begun.__enter__()
            Author.objects.create(name="new")
        assert is_open("external")
        begun.__exit__(Undo, Undo(), None)
        assert not is_open("external")
        assert transaction.get_connection() is connections["default"]
        assert django_connection.alias == "default"
        with transaction.atomic():
            assert is_open("default")
    assert names_in("external") == ["external"]


def test_settings_that_are_wrong_do_not_turn_it_on() -> None:
    with override_settings(AURORA_ROUTING={"TRANSACTIONS_FOLOW_BLOCKS": True}):
        assert type(django_connection) is ConnectionProxy


@pytest.mark.usefixtures("following")
def test_the_transactions_around_test_cases_are_as_ever() -> None:
    class Case(TestCase):
        databases = {"default", "external"}

        def test(self) -> None:
            assert is_open("default")
            assert is_open("external")
            with in_database("external", write=True):
                with transaction.atomic(durable=True):
                    Author.objects.create(name="new")
                with self.captureOnCommitCallbacks(using="external") as callbacks:
                    transaction.on_commit(lambda: None)
                assert len(callbacks) == 1
                assert names() == ["external", "new"]
                with pytest.raises(Exception, match="'reader1'"), in_database("reader1", write=True):
                    connection.cursor().execute(SELECT)

    result = unittest.TestResult()
    unittest.TestSuite([Case("test")]).run(result)
    assert (result.testsRun, result.errors, result.failures) == (1, [], [])
    assert names_in("external") == ["external"]


@pytest.mark.usefixtures("following")
def test_the_transaction_of_a_request_is_as_ever() -> None:
    connections["default"].settings_dict["ATOMIC_REQUESTS"] = True
    connections.settings["default"]["ATOMIC_REQUESTS"] = True

    @BaseHandler().make_view_atomic
    def view() -> list[str]:
        return [alias for alias in connections if is_open(alias)]

    with in_database("external", write=True):
        assert view() == ["default"]


START = """
import django
from django.conf import settings
from django.db import connection, connections, transaction

before = transaction.get_connection, transaction.Atomic.__enter__, transaction.Atomic.__exit__, type(connection)
settings.configure(
    INSTALLED_APPS=["django_aurora_routing"],
    DATABASE_ROUTERS=["django_aurora_routing.routers.DynamicDbRouter"],
    DATABASES={name: {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"} for name in ("default", "other")},
    AURORA_ROUTING={"TRANSACTIONS_FOLLOW_BLOCKS": %r},
)
django.setup()

@transaction.atomic
def opened():
    return [name for name in connections if connections[name].in_atomic_block]

from django_aurora_routing import in_database
from django.test import override_settings

with in_database("other", write=True):
    print(*opened())
    with override_settings(AURORA_ROUTING={}):
        print(*opened(), type(connections["default"].alias).__name__)
after = transaction.get_connection, transaction.Atomic.__enter__, transaction.Atomic.__exit__, type(connection)
print("untouched" if before == after else "changed")
"""


@pytest.mark.parametrize(
    ("is_on", "said"),
    [(True, ["other", "default str", "changed"]), (False, ["default", "default str", "untouched"])],
)
def test_the_switch_in_a_settings_file_is_on_before_the_projects_modules_are_imported(
    is_on: bool, said: list[str]
) -> None:
    command = [sys.executable, "-W", "error", "-c", START % is_on]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert (done.stdout.splitlines(), done.stderr) == (said, "")


def test_the_public_names() -> None:
    for name in ("atomic", "connection", "current_alias", "on_commit"):
        assert getattr(django_aurora_routing, name) is getattr(routing, name)
        assert name in django_aurora_routing.__all__
