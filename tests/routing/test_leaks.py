"""Nothing grows: what 10,000 blocks, scopes, requests, threads and tasks leave behind, counted and weighed.

Each test warms up, so that caches are full and arenas are allocated, weighs the process, does its work, and weighs it
again. A leak of a single string a block would be seen, as it would be there some thousand times.
"""

from __future__ import annotations

import asyncio
import gc
import os
import threading
import tracemalloc
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

import pytest
from asgiref.sync import sync_to_async
from django.core.signals import request_finished, request_started
from django.db import connections, router, transaction
from django.db.backends.base.base import RAN_DB_VERSION_CHECK, BaseDatabaseWrapper

from django_aurora_routing.routing import dynamic, in_database
from django_aurora_routing.routing.blocks import in_reader, in_writer, prevent_writes
from django_aurora_routing.routing.scopes import Scope, mark_written, scope

from .conftest import Config, names
from .models import Author

pytestmark = pytest.mark.usefixtures("both_routers")

MakeConfig = Callable[..., Config]

THREADS = 8
BLOCKS = 10_000
BYTES = 32_000
ROUNDS = 4
"""What leaks is more after each round. What is less in one was a cache: of sqlite3, of Python's types."""


class Held(NamedTuple):
    """What a process holds that a block might forget to let go."""

    descriptors: int
    wrappers: int
    scopes: int
    leases: int
    aliases: int
    version_checks: int
    bytes: int


def held() -> Held:
    for _ in range(3):  # finalizers may make garbage of their own
        gc.collect()
    everything = gc.get_objects()
    descriptors = len(os.listdir("/proc/self/fd")) if os.path.isdir("/proc/self/fd") else 0
    # Not isinstance(), which asks lazy objects of other tests for their class, and so evaluates them.
    kinds = [
        sum(issubclass(type(one), kind) for one in everything) for kind in (BaseDatabaseWrapper, Scope, dynamic._Lease)
    ]
    del everything
    aliases = len(dynamic._databases) + len(list(connections))
    return Held(descriptors, *kinds, aliases, len(RAN_DB_VERSION_CHECK), tracemalloc.get_traced_memory()[0])


@pytest.fixture
def weighing() -> Iterator[None]:
    tracemalloc.start()
    yield
    tracemalloc.stop()


def assert_nothing_grows(work: Callable[[int], object], *, warm_up: int, times: int) -> None:
    """`work` does something so many times. It is done often enough before for what is kept once to be there.

    What leaks grows in every round. What may be there or not at any moment, as the connection of a task that was
    just cancelled, does not.
    """
    work(warm_up)
    before = held()
    for _ in range(ROUNDS):
        work(times)
        after = held()
        grown = [
            f"{name}: {then} -> {now}"
            for name, then, now in zip(Held._fields, before, after, strict=True)
            if now > then + (BYTES if name == "bytes" else 0)
        ]
        if not grown:
            return
        before = after
    raise AssertionError(f"more in each of {ROUNDS} rounds of {times}, in the last one {grown}")


@pytest.mark.slow
@pytest.mark.usefixtures("weighing")
def test_trap_07_ten_thousand_dict_blocks_over_eight_threads(make_config: MakeConfig) -> None:
    configs = [make_config(f"tenant{n}") for n in range(20)]

    def use(n: int) -> None:
        config = configs[n % len(configs)]
        with in_database(config, write=n % 50 == 0) as block:
            assert block.database not in list(connections)
            assert Author.objects.values_list("name", flat=True)[0] == f"tenant{n % len(configs)}"
            if n % 50 == 0:
                with transaction.atomic(using=block.database):
                    Author.objects.create(name="other")
                    transaction.set_rollback(True, using=block.database)
            elif n % 7 == 0:
                with in_database(configs[(n + 1) % len(configs)]):
                    names()
            elif n % 11 == 0:
                with pytest.raises(KeyError), in_database(config):
                    raise KeyError

    everyone = threading.Barrier(THREADS)

    def end_request(_: int) -> None:
        everyone.wait()  # each thread comes here once
        request_finished.send(sender=None)

    def use_all(times: int) -> None:
        list(pool.map(use, range(times)))
        list(pool.map(end_request, range(THREADS)))

    with ThreadPoolExecutor(THREADS) as pool:
        assert_nothing_grows(use_all, warm_up=BLOCKS // 5, times=BLOCKS)


@pytest.mark.usefixtures("weighing")
def test_trap_07_dict_blocks_that_never_connect(make_config: MakeConfig) -> None:
    """And of ten thousand different databases: nothing may be kept for an alias that has gone."""
    config = make_config()

    def use(times: int) -> None:
        for n in range(times):
            with in_database({**config, "PASSWORD": str(n)}):
                router.db_for_read(Author)

    assert_nothing_grows(use, warm_up=BLOCKS // 5, times=BLOCKS)


@pytest.mark.usefixtures("weighing")
def test_alias_blocks_scopes_and_requests() -> None:
    @in_database("external")
    def decorated() -> str:
        return router.db_for_read(Author)

    @in_database("external")
    def generated() -> Iterator[str]:
        yield router.db_for_read(Author)
        yield "never asked for"

    def use(_: int) -> None:
        with in_database("external"), in_database("reader1", read=False, write=True):
            router.db_for_read(Author)
        with in_database("external", models=[Author], prevent_writes=True):
            router.db_for_read(Author)
        with scope("task"), in_reader(), in_writer(), prevent_writes():
            router.db_for_read(Author)
        with scope():
            router.db_for_read(Author)
            mark_written()
        decorated()
        next(iter(generated()))  # abandoned

    def serve(_: int) -> None:
        request_started.send(sender=None)
        router.db_for_read(Author)
        mark_written()
        router.db_for_read(Author)
        request_finished.send(sender=None)

    def use_all(times: int) -> None:
        list(pool.map(use, range(times)))
        list(pool.map(serve, range(times)))

    with ThreadPoolExecutor(THREADS) as pool:
        assert_nothing_grows(use_all, warm_up=1_000, times=BLOCKS // 2)
        list(pool.map(lambda _: connections.close_all(), range(THREADS * 4)))


@pytest.mark.usefixtures("weighing")
def test_writes_in_transactions() -> None:
    """Each one waits for its commit, in a table beside the connection."""

    def write(times: int) -> None:
        for n in range(times):
            with scope(), transaction.atomic():
                Author.objects.using("default").filter(pk=1).update(name="new")
                assert router.db_for_read(Author) == "default"
                transaction.set_rollback(n % 3 == 0)

    assert_nothing_grows(write, warm_up=1_000, times=2_000)


@pytest.mark.usefixtures("weighing")
def test_threads_that_come_and_go(make_config: MakeConfig) -> None:
    config = make_config()

    def one() -> None:
        with in_database(config):
            names()
        with in_database("external"):
            router.db_for_read(Author)
        request_started.send(sender=None)  # and its end never comes
        mark_written()

    def start(times: int) -> None:
        for _ in range(times // THREADS):
            threads = [threading.Thread(target=one) for _ in range(THREADS)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()

    assert_nothing_grows(start, warm_up=200, times=1_000)


@pytest.mark.usefixtures("weighing")
def test_tasks_that_come_and_go_and_are_cancelled(make_config: MakeConfig) -> None:
    config = make_config()

    async def one(n: int) -> None:
        async with scope("task"), in_database("external"):
            await asyncio.sleep(0)
            async with in_database(config):
                if n % 10 == 0:
                    await Author.objects.acount()
                await asyncio.sleep(60 if n % 3 == 0 else 0)

    async def some(times: int) -> None:
        for start in range(0, times, 100):
            tasks = [asyncio.create_task(one(n)) for n in range(start, start + 100)]
            await asyncio.wait(tasks, timeout=0.01)
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        await sync_to_async(request_finished.send)(sender=None)  # after the last query, whose task is no more

    async def main() -> Any:
        loop = asyncio.get_running_loop()

        def work(times: int) -> None:
            asyncio.run_coroutine_threadsafe(some(times), loop).result()

        # In another thread: weighing would hold up the loop.
        await asyncio.to_thread(assert_nothing_grows, work, warm_up=1_000, times=2_000)
        await sync_to_async(connections.close_all)()

    asyncio.run(main())
