"""What `models`, `atomic`, `lock` and `prevent_writes` of in_database do, alone and beside each other."""

from __future__ import annotations

import asyncio
import contextlib
import enum
import functools
import inspect
import threading
import unittest
from collections.abc import Callable
from typing import Any

import pytest
from asgiref.sync import async_to_sync, sync_to_async
from django.core.exceptions import ImproperlyConfigured, SynchronousOnlyOperation
from django.db import connections, models, transaction
from django.test import TestCase, override_settings
from django.utils.safestring import mark_safe

from django_aurora_routing.routing import atomic, current_alias, in_database
from django_aurora_routing.routing.blocks import in_reader, in_writer, prevent_writes
from django_aurora_routing.routing.databases import _static
from django_aurora_routing.routing.errors import DatabaseNotActive, RoutingLocked, WritePrevented
from django_aurora_routing.routing.models import includes

from .conftest import names
from .models import Author, Book

pytestmark = pytest.mark.usefixtures("databases")


class Base(models.Model):
    class Meta:
        abstract = True
        app_label = "routing_tests"


class Label(Base):  # noqa: DJ008
    books = models.ManyToManyField(Book)

    class Meta:
        app_label = "routing_tests"


class Special(Label):  # noqa: DJ008
    class Meta:
        app_label = "routing_tests"


class NamedLabel(Label):  # noqa: DJ008
    class Meta:
        app_label = "routing_tests"
        proxy = True


class Undo(Exception):
    pass


def names_in(alias: str) -> list[str]:
    return list(Author.objects.using(alias).order_by("pk").values_list("name", flat=True))


def is_open(alias: str) -> bool:
    return bool(connections[alias].in_atomic_block)


def test_the_signature_begins_as_in_the_quickstart() -> None:
    parameters = inspect.signature(in_database).parameters
    assert [(name, one.default) for name, one in parameters.items() if one.kind is one.POSITIONAL_OR_KEYWORD] == [
        ("database", inspect.Parameter.empty),
        ("read", True),
        ("write", False),
    ]
    options = {name: one.default for name, one in parameters.items() if one.kind is one.KEYWORD_ONLY}
    assert options == {"models": None, "prevent_writes": False, "atomic": False, "lock": False}
    with pytest.raises(TypeError, match="atomic"):
        in_database("external", atomc=True)  # type: ignore[call-arg]
    with pytest.raises(TypeError):
        in_database("external", True, False, [Author])  # type: ignore[misc]


# -- atomic


@pytest.mark.parametrize(("wrong", "right"), [("wrte", "write"), ("model", "models")])
def test_an_argument_that_is_not_there_is_refused_with_the_nearest_name(wrong: str, right: str) -> None:
    with pytest.raises(TypeError, match=f"no argument '{wrong}'. Did you mean '{right}'"):
        in_database("external", **{wrong: True})  # type: ignore[arg-type]


class Alias(str, enum.Enum):
    EXTERNAL = "external"


@pytest.mark.parametrize("alias", [Alias.EXTERNAL, mark_safe("external")])
@pytest.mark.parametrize("options", [{}, {"models": [Author]}, {"prevent_writes": True}], ids=str)
@pytest.mark.parametrize("is_first", [True, False])
def test_an_alias_may_be_text_of_another_class(alias: str, options: Any, is_first: bool) -> None:
    _static.clear()
    if not is_first:
        in_database("external")
    with in_database(alias, write=True, **options) as block:
        assert names() == ["external"]
        assert {type(given) for given in (block.database, Author.objects.db, current_alias())} == {str}


class tenant(in_database):
    """As a project might write it, with or without slots."""

    def __init__(self, database: Any, **options: Any) -> None:
        super().__init__(database, write=True, **options)
        self.entered = 0

    def __enter__(self) -> tenant:
        self.entered += 1
        return super().__enter__()


def test_a_subclass_keeps_what_it_adds(make_config: Callable[..., Any]) -> None:
    config = make_config("tenant")
    for given, options in (("external", {}), ("external", {"prevent_writes": True}), (config, {}), (config, {})):
        block = tenant(given, **options)
        with block as entered:
            assert entered is block
            assert type(block).__name__ == "tenant"
            assert isinstance(block, tenant)
            assert Author.objects.db == block.database
            with block:
                assert block.entered == 2
            if options:
                with pytest.raises(WritePrevented):
                    Author.objects.create(name="new")
    assert names() == ["default"]


@pytest.mark.parametrize("max_lag", ["1", -1, float("nan"), True])
def test_a_lag_that_is_no_number_of_seconds_is_refused_at_once(max_lag: Any) -> None:
    with pytest.raises(ValueError, match="max_lag must be a number of seconds, 0 or more, not"):
        in_reader(max_lag=max_lag)


def test_trap_17_the_block_is_a_transaction_on_its_database() -> None:
    with contextlib.suppress(Undo), in_database("external", write=True, atomic=True):
        assert [alias for alias in connections if is_open(alias)] == ["external"]
        Author.objects.create(name="new")
        raise Undo
    assert names_in("external") == ["external"]
    with in_database("external", write=True, atomic=True):
        Author.objects.create(name="new")
    assert names_in("external") == ["external", "new"]
    assert current_alias() == "default"


def test_atomic_nested_and_recursive_blocks_are_savepoints() -> None:
    block = in_database("external", write=True, atomic=True)

    @block
    def create(depth: int) -> None:
        Author.objects.create(name=f"at {depth}")
        assert len(connections["external"].atomic_blocks) == 4 - depth
        with contextlib.suppress(Undo):
            if depth > 1:
                create(depth - 1)
        if depth == 2:
            raise Undo

    create(3)
    assert names_in("external") == ["external", "at 3"]
    inner = in_database("reader1", write=True, atomic=True)
    with block, inner, pytest.raises(RuntimeError, match="durable"), atomic(durable=True):
        pass
    assert not any(is_open(alias) for alias in connections)


def test_atomic_runs_on_commit_inside_the_block_and_ends_although_they_fail() -> None:
    def fail() -> None:
        assert current_alias() == "external"
        assert names() == ["external", "new"]
        raise Undo

    with pytest.raises(Undo), in_database("external", write=True, atomic=True):
        Author.objects.create(name="new")
        transaction.on_commit(fail, using="external")
    assert current_alias() == "default"
    assert not is_open("external")


def test_atomic_in_threads_has_a_transaction_in_each() -> None:
    block, barrier, seen = in_database("external", atomic=True), threading.Barrier(2, timeout=20), []

    def work() -> None:
        with block:
            barrier.wait()
            seen.append(is_open("external"))
            barrier.wait()
        seen.append(is_open("external"))
        connections.close_all()

    threads = [threading.Thread(target=work) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(seen) == [False, False, True, True]


def test_atomic_on_a_configuration(make_config: Callable[..., Any]) -> None:
    block = in_database(make_config("tenant"), write=True, atomic=True)

    @block
    def create(error: type[Exception] | None = None) -> None:
        Author.objects.create(name="new")
        if error is not None:
            raise error

    for _ in range(2):
        with pytest.raises(Undo):
            create(Undo)
    create()
    with in_database(block._settings):  # type: ignore[arg-type]
        assert names() == ["tenant", "new"]

    class Case(TestCase):
        def test(self) -> None:
            with contextlib.suppress(Undo):
                create(Undo)
            create()

    result = unittest.TestResult()
    unittest.TestSuite([Case("test")]).run(result)
    assert (result.testsRun, result.errors, result.failures) == (1, [], [])


def test_atomic_that_cannot_begin_leaves_nothing() -> None:
    for _ in range(2):
        with pytest.raises(ImproperlyConfigured), in_database({"ENGINE": "no.such", "NAME": "x"}, atomic=True):
            raise AssertionError("not reached")
        assert current_alias() == "default"


def test_atomic_refuses_asynchronous_code_and_generators() -> None:
    block = in_database("external", atomic=True)

    async def coroutine() -> None: ...

    def generator() -> Any:
        yield

    async def asynchronous_generator() -> Any:
        yield

    class Callable_:
        async def __call__(self) -> None: ...

    for function in (coroutine, generator, asynchronous_generator, functools.partial(generator), Callable_()):
        with pytest.raises(TypeError, match="cannot decorate asynchronous functions and generators"):
            block(function)
    with pytest.raises(TypeError, match="decorates functions"):
        block(5)  # type: ignore[type-var]

    async def enter() -> None:
        with pytest.raises(SynchronousOnlyOperation, match="sync_to_async"):
            async with block:
                raise AssertionError("not reached")
        with pytest.raises(SynchronousOnlyOperation), block:
            raise AssertionError("not reached")
        assert current_alias() == "default"
        await sync_to_async(block(lambda: None))()

    asyncio.run(enter())


def test_atomic_and_prevent_writes() -> None:
    with in_database("external", write=True, atomic=True, prevent_writes=True):
        assert is_open("external")
        with pytest.raises(WritePrevented):
            Author.objects.create(name="new")
        with pytest.raises(WritePrevented):
            Author(name="new").save(using="default")


# -- lock


def test_trap_47_nothing_inside_may_leave_a_locked_block() -> None:
    with in_database("external", write=True, lock=True):
        for other in (lambda: in_database("reader1"), in_writer, in_reader, lambda: in_database("default", lock=True)):
            with pytest.raises(RoutingLocked, match="'external'"), other():
                raise AssertionError("not reached")
            assert names() == ["external"]
        same = in_database("external", lock=True, atomic=True)
        with same, prevent_writes(), pytest.raises(RoutingLocked), in_database("reader1", read=False, write=True):
            raise AssertionError("not reached")
        assert Author.objects.using("default").get().name == "default", "who names an alias means it"
    with in_database("reader1"):
        assert names() == ["reader1"]


def test_trap_47_in_functions_generators_tasks_and_what_they_call(make_config: Callable[..., Any]) -> None:
    config = make_config("tenant")

    @in_database("reader1")
    def elsewhere() -> None:
        raise AssertionError("not reached")

    @in_database("reader1")
    def generator_elsewhere() -> Any:
        yield

    @in_database("reader1")
    async def coroutine_elsewhere() -> None: ...

    @in_database(config, lock=True)
    def locked() -> Any:
        yield
        for call in (elsewhere, lambda: next(generator_elsewhere()), async_to_sync(coroutine_elsewhere)):
            with pytest.raises(RoutingLocked):
                call()
        yield

    steps = locked()
    next(steps)
    with in_database("reader1"):  # the consumer is not inside
        next(steps)
    steps.close()


def test_trap_47_a_lock_inside_a_lock_stays_when_it_ends_out_of_order() -> None:
    outer, inner = in_database("external", lock=True), in_database("external", lock=True)
    outer.__enter__()
    inner.__enter__()
    outer.__exit__(None, None, None)
    with pytest.raises(RoutingLocked), in_database("reader1"):
        pass
    inner.__exit__(None, None, None)
    with in_database("reader1"):
        pass


def test_a_lock_does_not_reach_other_threads() -> None:
    found = []

    def work() -> None:
        with in_database("reader1"):
            found.append(names())
        connections.close_all()

    with in_database("external", lock=True):
        thread = threading.Thread(target=work)
        thread.start()
        thread.join()
    assert found == [["reader1"]]


# -- models


def test_models_limit_a_block() -> None:
    with in_database("external", write=True, models=[Author]):
        author = Author.objects.create(name="new")
        assert names() == ["external", "new"]
        assert not Book.objects.exists()
        book = Book.objects.create(title="of the default author", author_id=1)
    assert (author._state.db, book._state.db) == ("external", "default")
    with in_database("reader1", models=[Book]), in_database("external", models=lambda model: model is Author):
        assert (names(), Book.objects.db) == (["external", "new"], "reader1")


def through() -> Any:
    return Label._meta.get_field("books").remote_field.through  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("given", "included", "others"),
    [
        ([Author], [Author], [Book, Label]),
        ("auth", ["auth.User", "auth.Group"], [Author]),
        (["auth", "shop.Order"], ["auth.User", "shop.Order"], [Author, "contenttypes.ContentType"]),
        (Label, [Label, NamedLabel], [Special, Book]),
        ([NamedLabel], [Label, NamedLabel], [Special]),
        ([Special], [Special], [Label]),
        ([Base], [Label, Special, NamedLabel], [Author, Book]),
        (("shop.order",), ["shop.Order"], [Author]),
        ([], [], [Author]),
    ],
)
def test_models_named(given: Any, included: list[Any], others: list[Any]) -> None:
    from django.apps import apps

    def found(entry: Any) -> Any:
        return apps.get_model(entry) if isinstance(entry, str) else entry

    is_included = includes(given)
    assert [entry for entry in included if not is_included(found(entry))] == []
    assert [entry for entry in others if is_included(found(entry))] == []


def test_the_hidden_model_of_a_many_to_many_field_goes_with_the_model_that_has_it() -> None:
    assert includes([Label])(through())
    assert includes([Base])(through())
    assert not includes([Book])(through())


def test_models_of_migrations_count_as_those_of_the_same_name() -> None:
    from django.apps import apps
    from django.db.migrations.state import ProjectState

    historical = ProjectState.from_apps(apps).apps.get_model("auth.User")
    real = apps.get_model("auth.User")
    assert historical is not real
    assert includes([real])(historical)
    assert includes(["auth.User"])(historical._meta.get_field("groups").remote_field.through)


@override_settings(AUTH_USER_MODEL="auth.Group")
def test_a_model_that_was_swapped_is_the_one_in_its_place() -> None:
    from django.contrib.auth.models import Group

    assert includes(["auth.User"])(Group)


@pytest.mark.parametrize(
    ("given", "error", "said"),
    [
        (["autn"], ImproperlyConfigured, "no app 'autn'. Did you mean 'auth'"),
        (["auth.Usr"], ImproperlyConfigured, "Did you mean 'auth.User'"),
        (["django.contrib.auth"], ImproperlyConfigured, "no model 'django.contrib.auth'"),
        ([models.Model], ValueError, "models takes"),
        ([3], ValueError, "models takes"),
        (dict, ValueError, "models takes"),
        (3, ValueError, "models takes"),
    ],
)
def test_models_that_are_not_there_are_refused_at_once(given: Any, error: type[Exception], said: str) -> None:
    with pytest.raises(error, match=said):
        in_database("external", models=given)


def test_what_is_related_stays_together_although_a_block_is_not_about_it() -> None:
    """Without the block Django would follow the instance, and with it, it does."""
    with in_database("external", write=True, models=[Author]):
        author = Author.objects.get()
        book = author.books.create(title="his")
        assert book._state.db == "external"
        assert author.books.get() == book
        assert Author.objects.prefetch_related("books").get().books.all()[0]._state.db == "external"
        assert not Book.objects.filter(author__name="external").exists(), "a query goes by its first model"
        book.title = "changed"
        book.save()
        assert book.author.name == "external"
    assert Book.objects.using("external").get().title == "changed"
    assert not Book.objects.exists()


def test_but_not_where_the_block_does_not_route_such_queries_at_all() -> None:
    with in_database("external", models=[Author]):
        author = Author.objects.get()
        author.name = "changed"
        author.save()
        assert author.books.create(title="beside it")._state.db == "default"
    assert names_in("external") == ["external"]


def test_an_instance_of_a_configuration_that_has_ended(make_config: Callable[..., Any]) -> None:
    with in_database(make_config("tenant"), models=[Author]):
        author = Author.objects.get()
        assert not author.books.exists()
    with in_database("external", models=[Book]), pytest.raises(DatabaseNotActive):
        author.refresh_from_db()


@pytest.mark.usefixtures("both_routers")
def test_models_beside_readers() -> None:
    with in_database("external", models=[Book]):
        assert names()[0] in {"reader1", "reader2"}
        with in_writer():
            assert names() == ["default"]
            assert Book.objects.db == "default"
