"""Attacks on the routing core: threads, tasks and generators at once, contexts carried elsewhere, ends out of order."""

from __future__ import annotations

import asyncio
import contextvars
import gc
import random
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from asgiref.sync import async_to_sync, sync_to_async
from django.core.signals import request_finished
from django.db import OperationalError, connections, router, transaction
from django.db.models import Prefetch
from django.db.models.query import RawQuerySet
from django.http import HttpRequest, HttpResponse
from django.test import AsyncRequestFactory, Client, override_settings
from django.test.client import AsyncClientHandler
from django.urls import path
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from django_aurora_routing.routing import context, in_database
from django_aurora_routing.routing._inheriting import LocalVariable
from django_aurora_routing.routing.scopes import Scope, current_scope, mark_written, note_write, scope

from .conftest import BOTH_ROUTERS, Config, names
from .models import Author, Book

pytestmark = pytest.mark.usefixtures("both_routers")

READERS = {"reader1", "reader2"}
MakeConfig = Callable[..., Config]


def reads(**hints: Any) -> str:
    return router.db_for_read(Author, **hints)


def writes() -> str:
    return router.db_for_write(Author)


def blocks_in_force() -> list[object]:
    return [owner for owner in context.owners() if not isinstance(owner, Scope)]


# -- against a model: a stack of (reads, writes) from which blocks are taken wherever they are

ALIASES = ("external", "reader1", "reader2")
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("enter"), st.sampled_from(ALIASES), st.booleans(), st.booleans()),
        st.tuples(st.just("leave"), st.integers(0, 5)),
        st.tuples(st.just("again"), st.integers(0, 5)),
    ),
    max_size=25,
)


def expected(stack: list[in_database]) -> tuple[str | None, str]:
    """What the innermost block that says something says; reads of no block go to one of the readers."""
    found = [next((b.database for b in reversed(stack) if getattr(b, kind)), None) for kind in ("read", "write")]
    return found[0], found[1] or "default"


def assert_as_expected(stack: list[in_database]) -> None:
    wanted, written = expected(stack)
    assert reads() in (READERS if wanted is None else {wanted})
    assert writes() == written


@given(steps=STEPS)
@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_trap_13_any_order_of_entering_and_leaving(steps: list[tuple[Any, ...]]) -> None:
    stack: list[in_database] = []
    with scope():
        for step in steps:
            if step[0] == "enter":
                stack.append(in_database(step[1], read=step[2], write=step[3]).__enter__())
            elif stack and step[0] == "again":  # the same object once more
                stack.append(stack[step[1] % len(stack)].__enter__())
            elif stack:
                block = stack[step[1] % len(stack)]
                block.__exit__(None, None, None)
                del stack[len(stack) - 1 - stack[::-1].index(block)]  # its innermost entry
            assert_as_expected(stack)
        for block in reversed(stack):
            block.__exit__(None, None, None)
        assert not blocks_in_force()


def wander(rng: random.Random, depth: int = 0) -> Iterator[None]:
    """Enter and leave blocks at random, and look each time whether reads and writes are where they have to be."""
    stack: list[in_database] = []
    for _ in range(rng.randrange(3, 12)):
        if stack and rng.random() < 0.5:
            stack.pop().__exit__(None, None, None)
        else:
            stack.append(in_database(rng.choice(ALIASES), rng.random() < 0.7, rng.random() < 0.5).__enter__())
        assert_as_expected(stack)
        yield
        assert_as_expected(stack)
        if depth < 2 and rng.random() < 0.2:
            for _ in wander_beside(rng, depth + 1):
                assert_as_expected(stack)
            assert_as_expected(stack)
    while stack:
        stack.pop().__exit__(None, None, None)


def wander_beside(rng: random.Random, depth: int) -> Iterator[None]:
    """The same in a decorated generator, which starts in a block of its own and shows its consumer nothing of it."""

    @in_database("external", write=True)
    def steps() -> Iterator[None]:
        for _ in range(rng.randrange(1, 5)):
            assert (reads(), writes()) == ("external", "external")
            with in_database("reader2"):
                yield
                assert (reads(), writes()) == ("reader2", "external")

    return steps()


def test_trap_10_threads_tasks_and_generators_at_once() -> None:
    async def task(seed: int) -> None:
        rng = random.Random(seed)
        for _ in wander(rng):
            kind = rng.randrange(4)
            if kind == 0:
                await asyncio.sleep(0)
            elif kind == 1:
                here = (reads(), writes())
                assert await sync_to_async(lambda: (reads(), writes()), thread_sensitive=False)() == here
            elif kind == 2:
                here = (reads(), writes())
                assert await asyncio.to_thread(lambda: (reads(), writes())) == here

    async def tasks(seed: int) -> None:
        await asyncio.gather(*(task(seed * 100 + n) for n in range(12)))

    def thread(seed: int) -> None:
        with scope():
            for _ in wander(random.Random(seed)):
                pass
            asyncio.run(tasks(seed))
            assert not blocks_in_force()

    switching = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    try:
        with ThreadPoolExecutor(4) as pool:
            list(pool.map(thread, range(8)))
    finally:
        sys.setswitchinterval(switching)


# -- contexts that are carried elsewhere


def test_a_context_that_a_user_copies_into_a_thread() -> None:
    seen: list[Any] = []

    def work() -> None:
        seen.append((reads(), current_scope()))
        with in_database("reader1"):
            seen.append(reads())
        mark_written()

    with scope() as mine, in_database("external"):
        thread = threading.Thread(target=contextvars.copy_context().run, args=(work,))
        thread.start()
        thread.join()
        assert reads() == "external"
    assert seen == [("external", mine), "reader1"]
    assert mine.is_pinned("default")  # the thread worked for this scope


def test_executors_of_a_loop_start_clean_and_to_thread_does_not() -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        with in_database("external"):
            assert await loop.run_in_executor(None, reads) in READERS
            assert await asyncio.to_thread(reads) == "external"
            in_context = contextvars.copy_context().run
            assert await loop.run_in_executor(None, in_context, reads) == "external"
            later: asyncio.Future[str] = loop.create_future()
            loop.call_soon(lambda: later.set_result(reads()))
        assert await later == "external"  # what a callback sees is what was in force when it was ordered

    asyncio.run(main())


def test_a_scope_in_several_threads_at_once() -> None:
    """Its own writes are read by all of them, and no thread brings an older memory back."""
    stop = threading.Event()
    wrong: list[str] = []

    def read(written: threading.Event) -> None:
        while not stop.is_set():
            was_written = written.is_set()
            alias = reads()
            if was_written and alias != "default":
                wrong.append(alias)

    for _ in range(30):
        with scope():
            written = threading.Event()
            stop.clear()
            run = contextvars.copy_context
            threads = [threading.Thread(target=run().run, args=(read, written)) for _ in range(4)]
            for thread in threads:
                thread.start()
            time.sleep(0.002)
            mark_written()
            written.set()
            time.sleep(0.002)
            stop.set()
            for thread in threads:
                thread.join()
    assert not wrong


def test_one_writes_in_a_transaction_while_others_of_its_scope_read() -> None:
    with scope():
        inside, leave = threading.Event(), threading.Event()

        def write() -> None:
            with transaction.atomic():
                note_write("default", connections["default"])
                inside.set()
                leave.wait(10)
            connections.close_all()

        reads()  # remembered
        thread = threading.Thread(target=contextvars.copy_context().run, args=(write,))
        thread.start()
        inside.wait(10)
        assert reads() in {"default", *READERS}  # not committed: nobody else can see it anywhere
        leave.set()
        thread.join()
        assert reads() == "default"


# -- ends that come late, twice, or not at all


def test_trap_13_a_generator_that_the_collector_closes_takes_away_only_its_own() -> None:
    def plain() -> Iterator[str]:
        with in_database("external", write=True):
            yield reads()

    @in_database("external", write=True)
    def decorated() -> Iterator[str]:
        yield reads()

    for make in (plain, decorated):
        abandoned = make()
        assert next(abandoned) == "external"
        with in_database("reader1"):
            cycle = [abandoned]
            cycle.append(cycle)  # type: ignore[arg-type]
            del abandoned, cycle
            gc.collect()
            assert (reads(), writes()) == ("reader1", "default")
        assert not blocks_in_force()


def test_trap_13_a_generator_closed_in_another_thread_changes_nothing_there() -> None:
    def plain() -> Iterator[str]:
        with in_database("external"):
            yield reads()

    generator = plain()
    next(generator)

    def close() -> list[str]:
        with in_database("reader1"):
            generator.close()
            return [reads()]

    with ThreadPoolExecutor(1) as pool:
        assert pool.submit(close).result() == ["reader1"]
    assert reads() == "external"  # left in force: nobody can reach the context it was entered in
    blocks = [owner for owner in context.owners() if isinstance(owner, in_database)]
    context.remove(blocks[0])
    assert not blocks_in_force()


def test_an_asynchronous_generator_that_is_never_closed(make_config: MakeConfig) -> None:
    config = make_config()

    @in_database(config)
    async def steps() -> AsyncIterator[str]:
        yield reads()
        yield reads()

    async def main() -> None:
        async for alias in steps():
            assert alias.startswith("dyn_")
            break  # the loop's own hook closes it
        assert reads() in READERS

    asyncio.run(main())
    gc.collect()
    assert reads() in READERS


def test_errors_on_the_way_in_and_out_leave_nothing(make_config: MakeConfig) -> None:
    with pytest.raises(OperationalError), in_database({**make_config(), "NAME": "/no/such/place"}, atomic=True):
        pass
    assert not blocks_in_force()
    block = in_database("external", atomic=True)
    with pytest.raises(KeyError), block:
        Author.objects.using("external").create(name="gone")
        raise KeyError
    assert Author.objects.using("external").count() == 1
    assert not blocks_in_force()
    plain = in_database("external")
    plain.__exit__(None, None, None)  # never entered
    with plain:
        assert reads() == "external"
    plain.__exit__(None, None, None)  # twice
    assert not blocks_in_force()


def test_trap_06_two_threads_never_close_one_connection_at_once(make_config: MakeConfig) -> None:
    """The end of a request in the thread that has it, the last exit in another: sqlite3 of 3.10 ended the process."""
    closing, go, twice = threading.Event(), threading.Event(), []

    class Slow(sqlite3.Connection):
        is_closing = False

        def close(self) -> None:
            if self.is_closing:
                twice.append(threading.current_thread().name)
            self.is_closing = True
            closing.set()
            go.wait(10)
            super().close()
            self.is_closing = False

    config = {**make_config(), "OPTIONS": {"factory": Slow, "check_same_thread": False}}
    block = in_database(config)

    def other() -> None:
        with block:
            names()
            entered.set()
            ended.wait(10)

    entered, ended = threading.Event(), threading.Event()
    holder = threading.Thread(target=other)
    block.__enter__()
    names()
    holder.start()
    entered.wait(10)
    block.__exit__(None, None, None)  # not the last: this thread's connection stays
    tidy = threading.Thread(target=lambda: (closing.wait(10), ended.set(), time.sleep(0.2), go.set()))
    tidy.start()
    request_finished.send(sender=None)  # closes it, and is held up
    tidy.join()
    holder.join()
    assert not twice


# -- requests


def served() -> str:
    return reads()


async def gathering(request: HttpRequest) -> HttpResponse:
    async def one(n: int) -> str:
        if n % 3 == 0:
            async with in_database("external"):
                await asyncio.sleep(0)
                return await sync_to_async(served)()
        await asyncio.sleep(0)
        return await sync_to_async(served)()

    found = await asyncio.gather(*(one(n) for n in range(9)))
    assert found[::3] == ["external"] * 3
    if "write" in request.GET:
        await sync_to_async(mark_written)()
        found = await asyncio.gather(*(one(n) for n in range(9)))
    return HttpResponse(" ".join(sorted(set(found) - {"external"})))


def plain(request: HttpRequest) -> HttpResponse:
    if "write" in request.GET:
        mark_written()
    if "late" in request.GET:
        in_database("external", write=True).__enter__()  # never left
    return HttpResponse(reads())


urlpatterns = [path("gathering/", gathering), path("plain/", plain)]


@pytest.fixture
def urls() -> Iterator[None]:
    with override_settings(ROOT_URLCONF=__name__, MIDDLEWARE=[], ALLOWED_HOSTS=["*"]):
        yield


@pytest.mark.usefixtures("urls")
def test_trap_24_asynchronous_requests_at_once_neither_share_nor_leave_anything() -> None:
    handler = AsyncClientHandler(enforce_csrf_checks=False)
    handler.load_middleware(is_async=True)
    factory = AsyncRequestFactory()

    async def ask(n: int) -> str:
        response = await handler(factory._base_scope(path="/gathering/", query_string=b"write=1" if n % 2 else b""))
        return response.content.decode()

    async def main() -> None:
        answers = await asyncio.gather(*(asyncio.create_task(ask(n)) for n in range(20)))
        assert set(answers[1::2]) == {"default"}
        assert set(answers[::2]) <= READERS
        assert reads() == "default"  # as a test does, who has made the requests reads what they have written

    with scope():
        asyncio.run(main())


@pytest.mark.usefixtures("urls")
def test_trap_24_what_a_view_never_left_ends_with_its_request() -> None:
    client = Client()
    with scope():
        assert client.get("/plain/?late=1").content == b"external"
        assert client.get("/plain/").content.decode() in READERS
        assert reads() in READERS


@pytest.mark.usefixtures("urls")
def test_trap_46_no_view_is_ever_changed_by_a_request() -> None:
    before = dict(vars(plain)), dict(vars(gathering))
    connections["default"].settings_dict["ATOMIC_REQUESTS"] = True
    for _ in range(3):
        Client().get("/plain/?write=1")
    assert (dict(vars(plain)), dict(vars(gathering))) == before


# -- Django's own


def test_trap_44_custom_forward_prefetches_keep_to_the_instances_database() -> None:
    """Django 6.1.0 lost the hint for them: https://code.djangoproject.com/ticket/37300."""
    author = Author.objects.create(name="new")
    Book.objects.create(title="book", author=author)
    with scope():
        books = Book.objects.using("default").prefetch_related(Prefetch("author", Author.objects.order_by("name")))
        assert [(book.author.name, book.author._state.db) for book in books] == [("new", "default")]
        back = Author.objects.using("default").prefetch_related(Prefetch("books", Book.objects.order_by("title")))
        assert [len(found.books.all()) for found in back.order_by("pk")] == [0, 1]


def test_raw_querysets_without_a_model_are_routed() -> None:
    assert RawQuerySet("SELECT 1").db in READERS
    with in_database("external"):
        assert RawQuerySet("SELECT 1").db == "external"


def test_reads_follow_a_transaction_where_a_loop_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    """As in a notebook, by DJANGO_ALLOW_ASYNC_UNSAFE. Django keeps other wrappers there."""
    monkeypatch.setenv("DJANGO_ALLOW_ASYNC_UNSAFE", "1")

    async def main() -> None:
        assert reads() in READERS
        with transaction.atomic():
            assert reads() == "default"
        assert reads() in READERS
        connections.close_all()

    asyncio.run(main())


# -- trap 14: what stands for the ContextVar where threads inherit the context


@pytest.fixture(params=[contextvars.ContextVar, LocalVariable])
def variable(request: pytest.FixtureRequest) -> Any:
    if request.param is LocalVariable:
        return LocalVariable()
    return contextvars.ContextVar("test", default=None)


def test_trap_14_threads_start_without_it(variable: Any) -> None:
    variable.set("mine")
    seen: list[object] = []

    def thread() -> None:
        seen.append(variable.get())
        variable.set("its own")
        seen.append(variable.get())

    other = threading.Thread(target=thread)
    other.start()
    other.join()
    assert [*seen, variable.get()] == [None, "its own", "mine"]


def test_trap_14_tasks_have_their_own_copy_of_it(variable: Any) -> None:
    async def child(name: str) -> list[object]:
        seen = [variable.get()]
        variable.set(name)
        await asyncio.sleep(0)
        return [*seen, variable.get()]

    async def main() -> list[list[object]]:
        variable.set("parent")
        found = await asyncio.gather(child("one"), child("two"))
        assert variable.get() == "parent"
        return found

    assert asyncio.run(main()) == [["parent", "one"], ["parent", "two"]]


def test_trap_14_it_crosses_sync_to_async_and_back(variable: Any) -> None:
    def change() -> object:
        before = variable.get()
        variable.set("changed")
        return before

    async def main() -> None:
        variable.set("parent")
        assert await sync_to_async(change)() == "parent"
        assert variable.get() == "changed"

    asyncio.run(main())

    async def inner() -> object:
        return change()

    variable.set("outer")
    assert async_to_sync(inner)() == "outer"
    assert variable.get() == "changed"
    variable.set(None)


def test_trap_14_everything_works_with_either(monkeypatch: pytest.MonkeyPatch) -> None:
    """The whole of a process in which the flag is set, as nobody can take a bound method back from every module."""
    code = (
        "import sys, types, threading\n"
        "flags = types.SimpleNamespace(**{n: getattr(sys.flags, n) for n in dir(sys.flags) if n[0] != '_'})\n"
        "flags.thread_inherit_context = 1\n"
        "sys.flags = flags\n"
        "from django.conf import settings\n"
        "sqlite = {'ENGINE': 'django.db.backends.sqlite3', 'NAME': ':memory:'}\n"
        "settings.configure(DATABASES={a: dict(sqlite) for a in ('default', 'external')},\n"
        "    INSTALLED_APPS=['django.contrib.contenttypes', 'django_aurora_routing'],\n"
        f"    DATABASE_ROUTERS={BOTH_ROUTERS!r})\n"
        "import django; django.setup()\n"
        "from django.db import router\n"
        "from django.contrib.contenttypes.models import ContentType as M\n"
        "from django_aurora_routing.routing import context, in_database\n"
        "seen = [type(context._innermost).__name__]\n"
        "with in_database('external'):\n"
        "    seen.append(router.db_for_read(M))\n"
        "    t = threading.Thread(target=lambda: seen.append(router.db_for_read(M))); t.start(); t.join()\n"
        "seen.append(router.db_for_read(M))\n"
        "print(*seen)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["LocalVariable", "external", "default", "default"]
