"""ReadWriteRouter on SQLite: which alias serves a read or a write, and why; the traps of splitting that it avoids."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from django.db import connections, router, transaction
from django.test import override_settings

from django_aurora_routing.routers import DynamicDbRouter, ReadWriteRouter
from django_aurora_routing.routing import in_database
from django_aurora_routing.routing.clusters import Cluster
from django_aurora_routing.routing.scopes import scope

from .conftest import BOTH_ROUTERS, names
from .models import Author, Book

pytestmark = pytest.mark.usefixtures("both_routers")

READERS = {"reader1", "reader2"}


def reads(**hints: Any) -> str:
    return router.db_for_read(Author, **hints)


def reads_of_a_new_scope() -> str:
    with scope():
        return reads()


def writes(**hints: Any) -> str:
    return router.db_for_write(Author, **hints)


def test_reads_spread_over_the_readers_and_writes_go_to_the_writer() -> None:
    assert {reads_of_a_new_scope() for _ in range(100)} == READERS
    assert {writes() for _ in range(20)} == {"default"}
    Author.objects.create(name="new")
    assert Author.objects.using("default").count() == 2
    with scope():
        assert names() in (["reader1"], ["reader2"])


def test_asynchronous_reads_too() -> None:
    async def task() -> set[str]:
        async with scope():
            return {(await Author.objects.aget()).name for _ in range(3)}

    async def main() -> list[set[str]]:
        return [await task() for _ in range(30)]

    tasks = asyncio.run(main())
    assert all(len(names) == 1 for names in tasks)  # one scope reads from one reader
    assert set.union(*tasks) == READERS


def test_a_block_comes_before() -> None:
    with in_database("external"):
        assert (reads(), writes()) == ("external", "default")
    with in_database("default"):
        assert (reads(), writes()) == ("default", "default")
    with in_database("external", read=False, write=True):
        assert reads() in READERS
        assert writes() == "external"


def test_what_a_block_does_not_write_goes_to_the_writer() -> None:
    with in_database("external"):
        author = Author.objects.get()
        author.save()
    assert Author.objects.using("default").get().name == "external"
    with in_database("reader1"):
        Author.objects.get().save()
    assert Author.objects.using("default").get().name == "reader1"


def test_trap_30_reads_follow_the_writers_open_transaction() -> None:
    with transaction.atomic():
        Author.objects.create(name="new")
        assert names() == ["default", "new"]
        with transaction.atomic():
            assert reads() == "default"
    with scope():
        assert reads() in READERS
        with transaction.atomic(using="external"):
            assert reads() in READERS


def test_trap_30_with_autocommit_off() -> None:
    connections["default"].ensure_connection()
    transaction.set_autocommit(False)
    try:
        assert reads() == "default"
    finally:
        transaction.set_autocommit(True)
    assert reads() in READERS


def test_trap_32_reads_follow_an_instance_from_the_writer() -> None:
    author = Author.objects.create(name="new")
    author.refresh_from_db()
    author.books.create(title="book")
    assert [book.title for book in author.books.all()] == ["book"]
    assert Book.objects.using("default").get().author == author


def test_an_instance_from_a_reader_is_read_on_and_written_to_the_writer() -> None:
    author = Author.objects.get()
    assert author._state.db in READERS
    assert reads(instance=author) in READERS
    author.name = "changed"
    author.save()
    assert Author.objects.using("default").get().name == "changed"
    assert author._state.db == "default"


def test_trap_22_instances_from_outside_the_cluster_stay_there() -> None:
    author = Author.objects.using("external").get()
    assert ReadWriteRouter().db_for_read(Author, instance=author) is None
    assert ReadWriteRouter().db_for_write(Author, instance=author) is None
    book = Book.objects.using("external").create(title="book", author=author)
    assert book._state.db == "external"
    assert author.books.get()._state.db == "external"


def test_an_unsaved_instance_is_no_hint() -> None:
    assert reads(instance=Author()) in READERS
    assert writes(instance=Author()) == "default"


def test_trap_21_relations_only_inside_the_cluster() -> None:
    on = {alias: Author.objects.using(alias).get() for alias in ("default", "reader1", "external")}
    assert ReadWriteRouter().allow_relation(on["default"], on["reader1"]) is True
    assert ReadWriteRouter().allow_relation(on["default"], on["external"]) is None
    assert DynamicDbRouter().allow_relation(on["default"], on["reader1"]) is None
    Book(title="book", author=on["reader1"]).save()
    assert Book.objects.using("default").get().author_id == on["reader1"].pk
    book = Book.objects.using("default").get()
    with pytest.raises(ValueError, match="router prevents this relation"):
        book.author = on["external"]


def test_trap_43_no_migration_on_readers() -> None:
    assert [router.allow_migrate(alias, "routing_tests") for alias in ("default", "external")] == [True, True]
    assert [router.allow_migrate(alias, "routing_tests") for alias in sorted(READERS)] == [False, False]
    assert ReadWriteRouter().allow_migrate("default", "routing_tests") is None


def test_a_subclass_may_pick_the_reader() -> None:
    class Second(ReadWriteRouter):
        def pick(self, cluster: Cluster, fit: tuple[str, ...]) -> str:
            return fit[-1]

    with override_settings(DATABASE_ROUTERS=[Second()]):
        assert {reads_of_a_new_scope() for _ in range(20)} == {"reader2"}


def test_several_clusters() -> None:
    clusters = {
        "default": {"writer": "default", "readers": ["reader1"]},
        "reporting": {"writer": "external", "readers": ["reader2"]},
    }

    class ForBooks(ReadWriteRouter):
        cluster = "reporting"

        def db_for_read(self, model: Any, **hints: Any) -> str | None:
            return super().db_for_read(model, **hints) if model is Book else None

    with override_settings(AURORA_ROUTING={"CLUSTERS": clusters}, DATABASE_ROUTERS=[ForBooks(), *BOTH_ROUTERS]):
        assert router.db_for_read(Book) == "reader2"
        assert reads() == "reader1"
        assert ReadWriteRouter("reporting").db_for_write(Author) == "external"
        # An instance is served by its own cluster, whichever router is asked.
        author = Author.objects.using("reader2").get()
        assert (reads(instance=author), writes(instance=author)) == ("reader2", "external")
        with transaction.atomic(using="external"):
            assert (reads(), router.db_for_read(Book)) == ("reader1", "external")


def test_a_cluster_without_readers_reads_from_its_writer() -> None:
    with override_settings(AURORA_ROUTING={"CLUSTERS": {"default": {"writer": "default"}}}):
        assert (reads(), writes()) == ("default", "default")


def test_without_clusters_there_is_no_opinion() -> None:
    with override_settings(AURORA_ROUTING={}):
        assert ReadWriteRouter().db_for_read(Author) is None
        assert ReadWriteRouter().db_for_write(Author) is None
        assert (reads(), writes()) == ("default", "default")
