"""Where a block is in force: threads, tasks, sync_to_async both ways, generators; and traps 10 to 16."""

from __future__ import annotations

import asyncio
import contextvars
import inspect
import threading
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from asgiref.sync import async_to_sync, sync_to_async
from django.core.exceptions import ImproperlyConfigured
from django.db import router

from django_aurora_routing.routing import context, in_database
from django_aurora_routing.routing.scopes import Scope

from .conftest import names
from .models import Author

pytestmark = pytest.mark.usefixtures("databases")


def blocks_in_force() -> list[object]:
    return [owner for owner in context.owners() if not isinstance(owner, Scope)]


def reads() -> str:
    return router.db_for_read(Author)


def writes() -> str:
    return router.db_for_write(Author)


def test_threads_start_clean_and_do_not_see_each_other() -> None:
    inside, done = threading.Barrier(2), threading.Barrier(2)
    seen: list[str] = []

    def other() -> None:
        seen.append(reads())
        with in_database("reader1"):
            inside.wait()
            seen.append(reads())
            done.wait()

    with in_database("external"):
        thread = threading.Thread(target=other)
        thread.start()
        inside.wait()
        assert reads() == "external"
        done.wait()
        thread.join()
        assert reads() == "external"
    assert seen == ["default", "reader1"]


def test_one_object_serves_many_threads_tasks_and_recursion_at_once() -> None:
    block = in_database("external", write=True)

    @block
    def down(depth: int) -> list[str]:
        with block:
            return [reads(), *(down(depth - 1) if depth else ()), writes()]

    async def tasks() -> list[str]:
        async def one() -> str:
            async with block:
                await asyncio.sleep(0)
                return reads()

        return await asyncio.gather(*(one() for _ in range(50)))

    with ThreadPoolExecutor(8) as pool:
        results = list(pool.map(lambda _: down(20), range(50)))
    assert all(set(result) == {"external"} for result in results)
    assert set(asyncio.run(tasks())) == {"external"}
    assert not blocks_in_force()


def test_trap_10_tasks_neither_see_nor_end_each_others_blocks() -> None:
    async def main() -> list[str]:
        entered, leave = asyncio.Event(), asyncio.Event()

        async def first() -> list[str]:
            with in_database("external"):
                entered.set()
                await leave.wait()
                return [reads()]

        async def second() -> list[str]:
            await entered.wait()
            outside = reads()
            with in_database("reader1"):
                leave.set()
                await asyncio.sleep(0.01)
                return [outside, reads()]

        one, two = await asyncio.gather(first(), second())
        return [*one, *two, reads()]

    assert asyncio.run(main()) == ["external", "default", "reader1", "default"]


def test_a_child_task_keeps_what_was_in_force_when_it_was_made() -> None:
    async def main() -> str:
        async def child() -> str:
            await asyncio.sleep(0.01)
            return reads()

        with in_database("external"):
            task = asyncio.create_task(child())
        return await task

    assert asyncio.run(main()) == "external"


def test_trap_11_with_and_async_with_route_the_asynchronous_orm() -> None:
    async def main() -> None:
        with in_database("external"):
            assert [a.name async for a in Author.objects.all()] == ["external"]
        async with in_database("external", write=True) as block:
            assert block.database == "external"
            await Author.objects.acreate(name="new")
            assert await Author.objects.acount() == 2
        assert await Author.objects.acount() == 1

    asyncio.run(main())


def test_trap_11_blocks_cross_sync_to_async_and_async_to_sync() -> None:
    async def inner() -> str:
        return reads()

    async def main() -> None:
        async with in_database("external"):
            assert await sync_to_async(reads)() == "external"
            assert await sync_to_async(reads, thread_sensitive=False)() == "external"
            assert await asyncio.to_thread(reads) == "external"
            assert await sync_to_async(lambda: async_to_sync(inner)())() == "external"

    asyncio.run(main())
    with in_database("reader1"):
        assert async_to_sync(inner)() == "reader1"


def test_trap_11_decorated_coroutine_functions() -> None:
    @in_database("external")
    async def read(more: str) -> list[str]:
        await asyncio.sleep(0)
        return [a.name async for a in Author.objects.all()] + [more]

    async def main() -> list[list[str]]:
        return await asyncio.gather(read("a"), read("b"))

    assert inspect.iscoroutinefunction(read)
    assert asyncio.run(main()) == [["external", "a"], ["external", "b"]]


def test_trap_12_entered_in_one_context_and_left_in_its_copy() -> None:
    # As the two halves of a middleware under ASGI: the values come along, a Token would not.
    block = in_database("external")
    first = contextvars.copy_context()
    first.run(block.__enter__)
    second = first.copy()

    def leave() -> str:
        block.__exit__(None, None, None)
        return reads()

    assert second.run(leave) == "default"
    assert contextvars.Context().run(leave) == "default"  # never entered there: nothing to do


def test_trap_13_blocks_left_out_of_order_leave_the_others_in_force() -> None:
    outer, middle, inner = (
        in_database("external", write=True),
        in_database("reader1", read=False, write=True),
        in_database("reader2"),
    )
    for block in (outer, middle, inner):
        block.__enter__()
    assert (reads(), writes()) == ("reader2", "reader1")
    middle.__exit__(None, None, None)
    assert (reads(), writes()) == ("reader2", "external")
    outer.__exit__(None, None, None)
    assert (reads(), writes()) == ("reader2", "default")
    inner.__exit__(None, None, None)
    assert not blocks_in_force()


def test_trap_13_a_decorated_generator_does_not_leak_to_its_consumer() -> None:
    @in_database("external")
    def steps() -> Iterator[str]:
        yield reads()
        with in_database("reader1"):
            yield reads()
            yield reads()
        yield reads()

    assert inspect.isgeneratorfunction(steps)
    seen = []
    with in_database("reader2"):
        for value in steps():
            seen.append((value, reads()))
        assert reads() == "reader2"
    assert [inside for inside, _ in seen] == ["external", "reader1", "reader1", "external"]
    assert {outside for _, outside in seen} == {"reader2"}
    assert not blocks_in_force()


def test_trap_13_a_decorated_generator_keeps_send_throw_return_and_close() -> None:
    log: list[str] = []

    @in_database("external")
    def conversation() -> Any:
        try:
            heard = yield reads()
            try:
                yield heard
            except KeyError:
                yield "caught in " + reads()
            return "result"
        finally:
            log.append(reads())

    def delegate() -> Any:
        log.append((yield from conversation()))

    talk = delegate()
    assert next(talk) == "external"
    assert talk.send("hello") == "hello"
    assert talk.throw(KeyError()) == "caught in external"
    with pytest.raises(StopIteration):
        next(talk)
    assert log == ["external", "result"]

    closed = conversation()
    next(closed)
    closed.close()
    assert log == ["external", "result", "external"]
    with pytest.raises(StopIteration):
        next(closed)

    failing = conversation()
    next(failing)
    with pytest.raises(ZeroDivisionError):
        failing.throw(ZeroDivisionError())
    assert not blocks_in_force()


def test_trap_13_a_decorated_generator_in_two_threads() -> None:
    @in_database("external")
    def steps() -> Iterator[str]:
        yield reads()
        yield reads()

    generator = steps()
    seen = [next(generator)]
    thread = threading.Thread(target=lambda: seen.extend([*generator, reads()]))
    thread.start()
    thread.join()
    assert [*seen, reads()] == ["external", "external", "default", "default"]


def test_trap_13_a_decorated_asynchronous_generator() -> None:
    log: list[str] = []

    @in_database("external")
    async def steps(rounds: int = 3) -> AsyncIterator[str]:
        try:
            for _ in range(rounds):
                yield reads()
                await asyncio.sleep(0)
        finally:
            await asyncio.sleep(0)
            log.append(reads())

    async def main() -> None:
        assert [(value, reads()) async for value in steps()] == [("external", "default")] * 3
        async with in_database("reader1"):
            generator = steps()
            assert await generator.__anext__() == "external"
            assert reads() == "reader1"
            await generator.aclose()  # type: ignore[attr-defined]
            assert reads() == "reader1"
            thrown = steps()
            await thrown.__anext__()
            with pytest.raises(KeyError):
                await thrown.athrow(KeyError())  # type: ignore[attr-defined]
        names = [a.name async for a in Author.objects.all()]
        assert names == ["default"]

    assert inspect.isasyncgenfunction(steps)
    asyncio.run(main())
    assert log == ["external"] * 3


def test_decorated_methods_and_callables() -> None:
    class Report:
        @in_database("external")
        def run(self) -> str:
            return reads()

        @staticmethod
        @in_database("reader1")
        def static() -> str:
            return reads()

        @classmethod
        @in_database("reader2")
        def of_class(cls) -> str:
            return reads()

    class Called:
        async def __call__(self) -> str:
            await asyncio.sleep(0)
            return reads()

    assert (Report().run(), Report.static(), Report.of_class()) == ("external", "reader1", "reader2")
    wrapped: Callable[[], Coroutine[Any, Any, str]] = in_database("external")(Called())
    assert asyncio.run(wrapped()) == "external"
    with pytest.raises(TypeError, match="decorates functions, not str"):
        in_database("external")("function")  # type: ignore[type-var]


def test_trap_15_no_opinion_outside_blocks_so_objects_stay_where_they_came_from() -> None:
    with in_database("external"):
        author = Author.objects.get()
    author.name = "changed"
    author.save()
    assert names() == ["default"]
    assert Author.objects.using("external").get().name == "changed"
    author.books.create(title="book")
    assert author.books.get()._state.db == "external"


def test_trap_15_later_routers_are_asked_outside_blocks(settings: Any) -> None:
    class Later:
        def db_for_read(self, model: Any, **hints: Any) -> str:
            return "reader2"

    settings.DATABASE_ROUTERS = [*settings.DATABASE_ROUTERS, Later()]
    assert reads() == "reader2"
    with in_database("external"):
        assert reads() == "external"
    with in_database("external", read=False):
        assert reads() == "reader2"


def test_trap_20_an_alias_that_does_not_exist_is_refused_at_once() -> None:
    with pytest.raises(ImproperlyConfigured, match=r"'extrenal'.*Did you mean 'external'\?.*'reader1'"):
        in_database("extrenal")
    with pytest.raises(ImproperlyConfigured, match=r"no such database\. DATABASES has"):
        in_database("")


def test_a_block_says_what_it_does() -> None:
    assert repr(in_database("external", write=True)) == "in_database('external', read=True, write=True)"
