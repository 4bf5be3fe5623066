"""Databases that exist for a block: how they come, what sees them, how they go; and traps 1 to 9."""

from __future__ import annotations

import asyncio
import copy
import gc
import logging
import os
import sqlite3
import ssl
import sys
import threading
import time
import unittest
import weakref
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from asgiref.sync import sync_to_async
from django.core.exceptions import ImproperlyConfigured
from django.core.handlers.base import BaseHandler
from django.core.signals import request_finished, request_started
from django.db import close_old_connections, connections, router, transaction
from django.db.backends.base.base import RAN_DB_VERSION_CHECK
from django.test import SimpleTestCase, TestCase
from django.utils.connection import ConnectionDoesNotExist

from django_aurora_routing.routers import DynamicDbRouter
from django_aurora_routing.routing import DatabaseNotActive, dynamic, in_database

from .conftest import Config, make_tables, names
from .models import Author
from .pooled import base as pooled

pytestmark = pytest.mark.usefixtures("databases")

MakeConfig = Callable[..., Config]


def open_files(config: Config) -> int:
    """How many descriptors this process has on the database's file: what really is open."""
    if not os.path.isdir("/proc/self/fd"):
        pytest.skip("needs /proc")
    count = 0
    for descriptor in os.listdir("/proc/self/fd"):
        try:
            count += os.readlink(f"/proc/self/fd/{descriptor}") == config["NAME"]
        except OSError:
            continue
    return count


def test_trap_01_defaults_are_filled_in_and_options_kept(make_config: MakeConfig) -> None:
    config = {**make_config(), "OPTIONS": {"timeout": 7}}
    with in_database(config) as block:
        settings = connections[block.database].settings_dict
        assert names() == ["tenant"]
        assert settings["OPTIONS"] == {"timeout": 7}
        assert settings["CONN_MAX_AGE"] == 0
        assert settings["TEST"]["MIRROR"] is None


def test_trap_01_the_configuration_is_copied_and_never_changed(make_config: MakeConfig) -> None:
    config = make_config()
    before = copy.deepcopy(config)
    block = in_database(config)
    config["OPTIONS"]["timeout"] = "nonsense"
    config["NAME"] = "/nowhere"
    with block:
        connections[block.database].settings_dict["OPTIONS"]["timeout"] = 1
        assert names() == ["tenant"]
    with block:
        assert connections[block.database].settings_dict["OPTIONS"] == before["OPTIONS"]


def test_trap_02_a_decorated_function_runs_again_and_in_threads_at_once(make_config: MakeConfig) -> None:
    @in_database(make_config())
    def read() -> list[str]:
        return names()

    assert [read(), read()] == [["tenant"]] * 2
    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(lambda _: read(), range(100))) == [["tenant"]] * 100


def test_trap_03_never_entered_leaks_nothing_and_nesting_works(make_config: MakeConfig) -> None:
    block = in_database(make_config())
    with pytest.raises(ConnectionDoesNotExist):
        connections[block.database]
    with block, block:
        with block:
            assert names() == ["tenant"]
        assert names() == ["tenant"]
    assert not dynamic.is_active(block.database)


def test_trap_04_other_requests_do_not_see_it(make_config: MakeConfig) -> None:
    def view(request: object) -> None: ...

    before = (list(connections), dict(connections.settings))
    with in_database({**make_config(), "ATOMIC_REQUESTS": True}) as block:
        names()
        assert BaseHandler().make_view_atomic(view) is view
        assert (list(connections), dict(connections.settings)) == before
        assert connections.settings.copy() == before[1]
        assert block.database not in connections
        assert block.database not in [c.alias for c in connections.all()]
        close_old_connections()
        assert connections[block.database].connection is not None
        assert block.database in connections.settings
        assert connections.settings[block.database]["ATOMIC_REQUESTS"] is False


def test_a_database_added_to_connections_by_hand_still_works(make_config: MakeConfig) -> None:
    config = connections.configure_settings({"default": {}, "added": make_config("added")})["added"]
    with in_database(make_config()):
        connections.settings["added"] = config
    try:
        with in_database("added"):
            assert names() == ["added"]
    finally:
        connections["added"].close()
        del connections["added"], connections.settings["added"]


def test_trap_05_iteration_beside_dynamic_blocks(make_config: MakeConfig) -> None:
    settings, stop, errors = [make_config(f"t{n}") for n in range(4)], threading.Event(), []

    def iterate() -> None:
        while not stop.is_set():
            try:
                connections.all(initialized_only=True)
                dict(connections.settings)
            except RuntimeError as error:
                errors.append(error)

    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    iterating = [threading.Thread(target=iterate) for _ in range(2)]
    try:
        for thread in iterating:
            thread.start()
        with ThreadPoolExecutor(2) as pool:
            for _ in pool.map(lambda n: in_database(settings[n % 4])(lambda: None)(), range(1000)):
                pass
    finally:
        stop.set()
        sys.setswitchinterval(interval)
        for thread in iterating:
            thread.join()
    assert errors == []


def test_trap_06_the_last_exit_closes_the_connections_of_all_threads(make_config: MakeConfig) -> None:
    config = make_config()
    block = in_database(config)
    connected, leave = threading.Barrier(4), threading.Event()

    def use() -> None:
        with block:
            names()
            connected.wait()
        leave.wait()  # out of the block, with the thread alive

    threads = [threading.Thread(target=use, daemon=True) for _ in range(3)]
    with block:
        names()
        for thread in threads:
            thread.start()
        connected.wait()
        assert open_files(config) == 4
    deadline = time.monotonic() + 10
    while open_files(config) and time.monotonic() < deadline:
        time.sleep(0.01)
    assert open_files(config) == 0
    leave.set()
    for thread in threads:
        thread.join()


def test_trap_06_a_connection_at_work_is_left_to_its_thread(make_config: MakeConfig) -> None:
    """A task is cancelled while its query runs in another thread: the block ends before the query."""
    config, other = make_config(), make_config("other")
    started, finish = threading.Event(), threading.Event()
    seen: list[object] = []

    def slow(alias: str) -> None:
        def wait() -> int:
            started.set()
            finish.wait(10)
            return 1

        with connections[alias].cursor() as cursor:
            connections[alias].connection.create_function("wait", 0, wait)
            cursor.execute("SELECT wait()")
            seen.append(cursor.fetchone())
            try:
                cursor.execute("SELECT 1")
            except DatabaseNotActive as error:
                seen.append(error)

    async def main() -> None:
        asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(1))
        task = asyncio.create_task(inside())
        while not started.is_set():
            await asyncio.sleep(0.01)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert open_files(config) == 1
        finish.set()
        while len(seen) < 2:
            await asyncio.sleep(0.01)
        assert open_files(config) == 1
        # The next block in that thread, whatever its database, tidies up.
        assert await asyncio.to_thread(in_database(other)(names)) == ["other"]
        assert open_files(config) == 0

    async def inside() -> None:
        with in_database(config) as block:
            await asyncio.to_thread(slow, block.database)

    asyncio.run(main())
    assert seen[0] == (1,)
    assert isinstance(seen[1], DatabaseNotActive)


@pytest.mark.parametrize("kind", ["with", "async with"])
def test_trap_06_asynchronous_code_closes_what_the_orms_thread_opened(make_config: MakeConfig, kind: str) -> None:
    config = make_config()

    async def main() -> None:
        if kind == "with":
            with in_database(config):
                assert await Author.objects.acount() == 1
                assert open_files(config) == 1
        else:
            async with in_database(config):
                assert await Author.objects.acount() == 1
                assert open_files(config) == 1
        assert open_files(config) == 0

    asyncio.run(main())


def test_trap_06_cancelled_on_the_way_out(make_config: MakeConfig) -> None:
    config, other = make_config(), make_config("other")
    busy, finish = threading.Event(), threading.Event()

    def occupy() -> None:
        busy.set()
        finish.wait(10)

    async def inside() -> None:
        async with in_database(config):
            await Author.objects.acount()
            occupying.append(asyncio.create_task(sync_to_async(occupy)()))
            while not busy.is_set():
                await asyncio.sleep(0.01)

    occupying: list[asyncio.Task[None]] = []

    async def main() -> None:
        task = asyncio.create_task(inside())
        while not busy.is_set():
            await asyncio.sleep(0.01)
        await asyncio.sleep(0.05)  # it waits in __aexit__ for the ORM's thread
        task.cancel()
        finish.set()
        with pytest.raises(asyncio.CancelledError):
            await task
        await occupying[0]
        await sync_to_async(in_database(other)(names))()
        assert open_files(config) == 0

    asyncio.run(main())


def test_trap_07_nothing_is_kept_of_a_block(make_config: MakeConfig) -> None:
    with in_database(make_config()) as block:
        names()
        wrapper = weakref.ref(connections[block.database])
    gc.collect()
    assert wrapper() is None
    assert block.database not in RAN_DB_VERSION_CHECK
    with in_database(make_config("other")) as block:
        unconnected = weakref.ref(connections[block.database])
    gc.collect()
    assert unconnected() is None


def test_trap_07_many_blocks_over_many_threads_leave_nothing(make_config: MakeConfig) -> None:
    settings = [make_config(f"t{n}") for n in range(10)]

    def use(n: int) -> tuple[list[str], int]:
        with in_database(settings[n % 10]):
            return names(), open_files(settings[n % 10])

    with ThreadPoolExecutor(8) as pool:
        for n, (result, opened) in enumerate(pool.map(use, range(400))):
            assert result == [f"t{n % 10}"]
            assert opened
        gc.collect()
        assert sum(map(open_files, settings)) == 0


def test_trap_08_a_bad_engine_fails_in_the_body_and_leaves_nothing() -> None:
    read = in_database({"ENGINE": "no_such_backend"})(names)
    with pytest.raises(ImproperlyConfigured, match="no_such_backend"):
        read()


def test_trap_08_the_end_of_a_block_never_hides_the_bodys_error(
    make_config: MakeConfig, caplog: pytest.LogCaptureFixture
) -> None:
    class WillNotClose(sqlite3.Connection):
        def close(self) -> None:
            super().close()
            raise sqlite3.OperationalError("will not close")

    config = {**make_config(), "OPTIONS": {"factory": WillNotClose}}

    @in_database(config)
    def fail() -> None:
        names()
        raise KeyError("the body's")

    with caplog.at_level(logging.WARNING), pytest.raises(KeyError, match="the body's"):
        fail()
    assert "Could not close the connection to dyn_" in caplog.text


def test_trap_09_it_works_inside_test_cases(make_config: MakeConfig) -> None:
    config, seen = make_config(), []

    class Simple(SimpleTestCase):
        def test(self) -> None:
            with in_database(config):
                seen.append(names())

    class Full(TestCase):
        def test(self) -> None:
            with in_database(config, write=True):
                seen.append(names())
                Author.objects.create(name="new")
                seen.append(names())
            seen.append(names())

    result = unittest.TestResult()
    unittest.TestSuite([Simple("test"), Full("test")]).run(result)
    assert (result.testsRun, result.errors, result.failures) == (2, [], [])
    assert seen == [["tenant"], ["tenant"], ["tenant", "new"], ["default"]]


def test_equal_configurations_have_one_alias(make_config: MakeConfig) -> None:
    config = make_config()
    alias = in_database(config).unique_db_id
    assert in_database({**reversed_dict(config), "CONN_MAX_AGE": 0}).unique_db_id == alias
    assert in_database({**config, "OPTIONS": {"timeout": 31}}).unique_db_id != alias
    assert in_database({**config, "PASSWORD": "other"}).unique_db_id != alias
    context = ssl.create_default_context()
    with_context = {**config, "OPTIONS": {"ssl": context}}
    assert in_database(with_context).database == in_database(with_context).database
    other = {**config, "OPTIONS": {"ssl": ssl.create_default_context()}}
    assert in_database(with_context).database != in_database(other).database


def reversed_dict(config: Config) -> Config:
    return dict(reversed(list(config.items())))


def test_no_secret_is_readable(make_config: MakeConfig) -> None:
    block = in_database({**make_config(), "PASSWORD": "hunter2"})
    assert "hunter2" not in repr(block) + block.database
    with block:
        pass
    with pytest.raises(DatabaseNotActive) as error:
        connections[block.database]
    assert "hunter2" not in str(error.value)


def test_a_configuration_needs_an_engine() -> None:
    for config in ({}, {"NAME": "db"}, {"ENGINE": ""}):
        with pytest.raises(ImproperlyConfigured, match="no 'ENGINE'"):
            in_database(config)


def test_objects_that_outlive_the_block_get_a_clear_error(make_config: MakeConfig) -> None:
    with in_database(make_config()) as block:
        author = Author.objects.get()
    for use in (author.save, author.delete, author.refresh_from_db, lambda: list(author.books.all())):
        with pytest.raises(DatabaseNotActive, match="block that has ended") as error:
            use()
        assert error.value.alias == block.database
        assert isinstance(error.value, ConnectionDoesNotExist)
    with pytest.raises(DatabaseNotActive):
        Author.objects.using(block.database).count()
    with pytest.raises(DatabaseNotActive):
        in_database(block.database)
    with block:
        author.refresh_from_db()


def test_a_wrapper_that_outlives_the_block_does_not_connect_again(make_config: MakeConfig) -> None:
    config = make_config()
    with in_database(config) as block:
        names()
        wrapper = connections[block.database]
    with pytest.raises(DatabaseNotActive):
        wrapper.cursor()
    assert open_files(config) == 0


def test_the_alias_of_an_active_database_may_be_routed_to(make_config: MakeConfig) -> None:
    outer = in_database(make_config())
    with outer:
        inner = in_database(outer.database, write=True)
        inner.__enter__()
    assert names() == ["tenant"]  # held by the inner block
    inner.__exit__(None, None, None)
    assert names() == ["default"]


def test_transactions_inside_the_block(make_config: MakeConfig) -> None:
    config = make_config()
    with in_database(config, write=True) as block:
        with transaction.atomic(using=block.database):
            Author.objects.create(name="rolled back")
            transaction.set_rollback(True, using=block.database)
        with transaction.atomic(using=block.database):
            with in_database(config):  # not the last exit: the transaction goes on
                assert names() == ["tenant"]
            Author.objects.create(name="kept")
    with in_database(config):
        assert names() == ["tenant", "kept"]


def test_a_database_in_memory_ends_with_its_block() -> None:
    config = {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}
    for _ in range(2):
        with in_database(config, write=True) as block:
            make_tables(block.database, "memory")
            assert names() == ["memory"]
            raw = connections[block.database].connection
        with pytest.raises(sqlite3.ProgrammingError, match="closed"):
            raw.execute("SELECT 1")


def test_conn_max_age_keeps_the_connection_for_the_next_block(make_config: MakeConfig) -> None:
    config = {**make_config(), "CONN_MAX_AGE": 60}
    with in_database(config) as block:
        names()
        raw = connections[block.database].connection
    try:
        assert open_files(config) == 1
        with pytest.raises(DatabaseNotActive):
            connections[block.database].cursor().execute("SELECT 1")
        request_started.send(sender=None)
        with in_database(config):
            names()
            assert connections[block.database].connection is raw
        connections[block.database].close_at = time.monotonic()
        request_finished.send(sender=None)
        assert open_files(config) == 0
    finally:
        with in_database({**make_config("other")}):
            pass


def test_a_pool_is_closed_with_its_database(make_config: MakeConfig) -> None:
    config = {**make_config(), "ENGINE": "tests.routing.pooled", "OPTIONS": {"pool": True}}
    for _ in range(2):
        with in_database(config) as block:
            assert names() == ["tenant"]
            assert pooled.DatabaseWrapper.pools == {block.database}
        assert pooled.DatabaseWrapper.pools == set()


def test_between_requests_a_connection_in_use_ages_as_any_other(make_config: MakeConfig) -> None:
    config = make_config()
    with in_database(config):
        names()
        request_finished.send(sender=None)
        assert open_files(config) == 0
        assert names() == ["tenant"]


def test_a_decorated_generator_holds_its_database_while_it_is_suspended(make_config: MakeConfig) -> None:
    config = make_config()

    @in_database(config)
    def read() -> Iterator[str]:
        for _ in range(2):
            yield from (author.name for author in Author.objects.iterator())

    generator = read()
    assert open_files(config) == 0
    assert next(generator) == "tenant"
    assert names() == ["default"]
    assert open_files(config) == 1
    assert list(generator) == ["tenant"]
    assert open_files(config) == 0
    abandoned = read()
    next(abandoned)
    del abandoned
    gc.collect()
    assert open_files(config) == 0


def test_a_decorated_asynchronous_generator_and_coroutine(make_config: MakeConfig) -> None:
    config = make_config()

    @in_database(config)
    async def read() -> AsyncIterator[str]:
        async for author in Author.objects.all():
            yield author.name

    @in_database(config)
    async def count() -> int:
        return await Author.objects.acount()

    async def main() -> None:
        assert [name async for name in read()] == ["tenant"]
        assert await asyncio.gather(*(count() for _ in range(20))) == [1] * 20
        assert open_files(config) == 0

    asyncio.run(main())


def test_a_task_that_outlives_the_block_gets_a_clear_error(make_config: MakeConfig) -> None:
    config = make_config()

    async def late(go: asyncio.Event) -> int:
        await go.wait()
        return await Author.objects.acount()

    async def main() -> None:
        go = asyncio.Event()
        async with in_database(config):
            task = asyncio.create_task(late(go))
            await asyncio.sleep(0)
        go.set()
        with pytest.raises(DatabaseNotActive):
            await task

    asyncio.run(main())
    assert open_files(config) == 0


def test_a_forked_child_can_enter_blocks(make_config: MakeConfig) -> None:
    if not hasattr(os, "fork"):
        pytest.skip("needs fork")
    config = make_config()
    with dynamic._lock:
        child = os.fork()
        if child == 0:
            try:
                thread = threading.Thread(target=lambda: in_database(config)(names)(), daemon=True)
                thread.start()
                thread.join(10)
                os._exit(1 if thread.is_alive() else 0)
            finally:
                os._exit(2)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def test_trap_43_no_migration_on_a_dynamic_database(make_config: MakeConfig) -> None:
    with in_database(make_config()) as block:
        assert router.allow_migrate(block.database, "routing_tests") is False
    assert DynamicDbRouter().allow_migrate("external", "routing_tests") is None
    assert DynamicDbRouter().allow_migrate("dyn_gone", "routing_tests") is False


def test_an_alias_of_the_project_may_look_like_a_dynamic_one(make_config: MakeConfig) -> None:
    connections.settings["dyn_mine"] = connections.settings["external"]
    assert DynamicDbRouter().allow_migrate("dyn_mine", "routing_tests") is None
    with in_database(make_config()):
        assert DynamicDbRouter().allow_migrate("dyn_mine", "routing_tests") is None
        with in_database("dyn_mine"):
            assert names() == ["external"]
    RAN_DB_VERSION_CHECK.discard("dyn_mine")
