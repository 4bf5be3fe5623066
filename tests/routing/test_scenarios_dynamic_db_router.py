"""The scenarios that django-dynamic-db-router's own tests have, in our words and on our code.

Where it has 'test' as its second database we have "external". Where ours differs on purpose the test says so.
"""

from __future__ import annotations

from pathlib import Path

import pytest
from django.db import connections, router, transaction

from django_aurora_routing.routers import DynamicDbRouter
from django_aurora_routing.routing import in_database

from .conftest import Config, make_tables, sqlite
from .models import Author

pytestmark = pytest.mark.usefixtures("databases")


@pytest.fixture(autouse=True)
def empty(databases: dict[str, Config]) -> None:
    for alias in databases:
        Author.objects.using(alias).all().delete()


def count() -> int:
    return Author.objects.count()


def test_an_alias_names_the_database() -> None:
    Author.objects.create(name="one")
    with in_database("default"):
        assert count() == 1


def test_a_block_that_only_reads_writes_to_default() -> None:
    with in_database("external"):
        Author.objects.create(name="one")
        assert count() == 0
    assert count() == 1


def test_a_block_that_writes_writes_to_its_database() -> None:
    with in_database("external", write=True):
        Author.objects.create(name="one")
        assert count() == 1
    assert count() == 0


def test_a_block_that_only_writes_reads_from_default() -> None:
    with in_database("external", read=False, write=True):
        Author.objects.create(name="one")
        assert count() == 0
    assert count() == 0
    assert Author.objects.using("external").count() == 1


def test_after_a_block_inside_the_outer_one_is_in_force_again() -> None:
    with in_database("external", write=True):
        Author.objects.create(name="one")
        with in_database("default", write=True):
            pass
        assert count() == 1


def test_what_is_no_database_is_a_value_error() -> None:
    with pytest.raises(ValueError, match="not int"), in_database(2):  # type: ignore[arg-type]
        pass


@pytest.fixture
def new_file(tmp_path: Path) -> Config:
    """A database of ENGINE and NAME alone, with a table: the peer's tests make one by hand."""
    config = {key: value for key, value in sqlite(tmp_path / "new.sqlite3").items() if key != "OPTIONS"}
    with in_database(config, write=True) as block:
        make_tables(block.database)
    return config


def test_objects_are_made_in_a_database_given_by_its_configuration(new_file: Config) -> None:
    with in_database(new_file, write=True):
        Author.objects.create(name="one")
        Author.objects.create(name="two")
        assert count() == 2
    assert count() == 0


def test_objects_tell_the_alias_of_that_database(new_file: Config) -> None:
    with in_database(new_file, write=True) as block:
        Author.objects.create(name="one")
        assert Author.objects.get(name="one")._state.db == block.unique_db_id


def test_it_leaves_no_alias_behind(new_file: Config) -> None:
    before = len(connections.databases)
    with in_database(new_file, write=True):
        Author.objects.create(name="one")
        assert len(connections.databases) == before  # ours is hidden all the time: no request comes across it
    assert len(connections.databases) == before


def test_the_decorator_does_what_the_block_does() -> None:
    with in_database("external"):
        Author.objects.create(name="one")
        in_block = count()
    assert in_database("external")(count)() == in_block


def test_outside_of_blocks_reads_and_writes_are_on_default() -> None:
    assert DynamicDbRouter().db_for_read(Author) in ("default", None)
    assert DynamicDbRouter().db_for_write(Author) in ("default", None)


def test_outside_of_blocks_ours_has_no_opinion_so_that_objects_stay_where_they_are() -> None:
    """Theirs always says 'default': an object of another database, saved after the block, is then copied there."""
    with in_database("external", write=True):
        author = Author.objects.create(name="one")
    author.name = "changed"
    author.save()
    assert [one.name for one in Author.objects.using("external").all()] == ["changed"]
    assert count() == 0


def test_relations_are_allowed_inside_one_database_alone() -> None:
    """Theirs allows all of them, also such as no database can keep; ours leaves that to Django."""
    with in_database("external", write=True):
        there, also_there = Author.objects.create(name="one"), Author.objects.create(name="two")
    here = Author.objects.create(name="three")
    assert router.allow_relation(there, also_there) is True
    assert router.allow_relation(there, here) is False


def test_it_has_no_opinion_on_migrations_but_for_dynamic_databases(new_file: Config) -> None:
    """Theirs would have `migrate` look at databases that are there for the length of a block."""
    assert DynamicDbRouter().allow_migrate("default", "routing_tests") is None
    with in_database(new_file) as block:
        assert DynamicDbRouter().allow_migrate(block.database, "routing_tests") is False


def test_what_theirs_cannot_do_the_second_call_of_a_decorated_function(new_file: Config) -> None:
    @in_database(new_file, write=True)
    def add(name: str) -> int:
        with transaction.atomic(using=router.db_for_write(Author)):
            Author.objects.create(name=name)
        return count()

    assert [add("one"), add("two")] == [1, 2]
