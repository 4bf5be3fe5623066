"""The behaviour that users of django-dynamic-db-router know, sentence by sentence of its quickstart."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from django.core.exceptions import ImproperlyConfigured
from django.db import connections
from django.test import override_settings

from django_aurora_routing.routing import in_database

from .conftest import names
from .models import Author

pytestmark = pytest.mark.usefixtures("databases")


def test_queries_go_to_default_by_default() -> None:
    assert names() == ["default"]


def test_queries_in_the_block_and_in_functions_it_calls_go_to_the_database() -> None:
    with in_database("external"):
        assert Author.objects.get().name == "external"
        assert names() == ["external"]
    assert names() == ["default"]


def test_write_true_writes_to_the_database() -> None:
    with in_database("external", write=True):
        Author.objects.create(name="new")
    assert Author.objects.using("external").filter(name="new").exists()
    assert names() == ["default"]


def test_a_write_does_not_fail_with_write_false_but_goes_to_default() -> None:
    with in_database("external"):
        Author.objects.create(name="new")
        assert names() == ["external"]
    assert names() == ["default", "new"]


def test_an_object_read_in_a_read_only_block_is_not_written_back_to_that_database() -> None:
    with in_database("external"):
        author = Author.objects.get()
        author.name = "changed"
        author.save()
    assert Author.objects.using("external").get().name == "external"
    assert names() == ["changed"]


def test_a_read_does_not_fail_with_read_false_but_goes_to_default() -> None:
    with in_database("external", read=False, write=True):
        author = Author.objects.create(name="new")
        assert names() == ["default"]
    assert author._state.db == "external"
    assert Author.objects.using("external").count() == 2


def test_neither_read_nor_write_changes_nothing() -> None:
    with in_database("external", read=False):
        Author.objects.create(name="new")
        assert names() == ["default", "new"]


def test_decorator_takes_the_same_arguments() -> None:
    @in_database("external", write=True)
    def rename(name: str) -> list[str]:
        """Docstring."""
        Author.objects.update(name=name)
        return names()

    assert rename("changed") == ["changed"]
    assert names() == ["default"]
    assert (rename.__name__, rename.__doc__) == ("rename", "Docstring.")


def test_a_configuration_is_connected_to_and_cleaned_up(make_config: Callable[..., Any]) -> None:
    config = make_config("tenant")
    with in_database(config) as block:
        assert names() == ["tenant"]
        assert block.database == block.unique_db_id
        connection = connections[block.unique_db_id]
        assert connection.connection is not None
    assert connection.connection is None
    assert names() == ["default"]


def test_a_configuration_supports_read_and_write(make_config: Callable[..., Any]) -> None:
    config = make_config("tenant")
    with in_database(config, write=True):
        Author.objects.create(name="new")
        assert names() == ["tenant", "new"]
    with in_database(config, read=False):
        assert names() == ["default"]
    with in_database(config):
        Author.objects.create(name="elsewhere")
        assert names() == ["tenant", "new"]
    assert names() == ["default", "elsewhere"]


def test_a_configuration_supports_the_decorator(make_config: Callable[..., Any]) -> None:
    @in_database(make_config("tenant"), write=True)
    def add(name: str) -> list[str]:
        Author.objects.create(name=name)
        return names()

    assert add("one") == ["tenant", "one"]
    assert add("two") == ["tenant", "one", "two"]
    assert names() == ["default"]


def test_nested_blocks_inherit_what_they_do_not_decide() -> None:
    with in_database("external", write=True):
        with in_database("reader1"):
            assert names() == ["reader1"]
            Author.objects.create(name="new")
        assert names() == ["external", "new"]
        with in_database("reader1", read=False, write=True):
            assert names() == ["external", "new"]
            Author.objects.create(name="other")
    assert Author.objects.using("reader1").count() == 2
    assert names() == ["default"]


def test_an_error_in_the_block_ends_it() -> None:
    with pytest.raises(KeyError), in_database("external"):
        raise KeyError
    assert names() == ["default"]


@pytest.mark.parametrize("database", [None, 3, ["default"], print])
def test_anything_else_is_a_value_error(database: Any) -> None:
    with pytest.raises(ValueError, match="alias of a database or a configuration"):
        in_database(database)


def test_without_the_router_a_block_is_refused_instead_of_doing_nothing() -> None:
    with override_settings(DATABASE_ROUTERS=[]), pytest.raises(ImproperlyConfigured, match="first in DATABASE_ROUTERS"):
        in_database("external")
