"""The fixtures, with pytest-django's."""

from __future__ import annotations

from typing import Any
from urllib.request import urlopen

import pytest

from django_aurora_routing.routing import readers
from django_aurora_routing.routing.scopes import current_scope, scope

from .models import Item


@pytest.mark.parametrize("time", range(2))
def test_mirror(mirror_readers: None, db: None, time: int, django_assert_routed_to: Any) -> None:
    assert Item.objects.count() == 0
    assert not readers.is_aside("reader")
    Item.objects.create(name="test")
    with scope(), django_assert_routed_to("reader"):
        assert Item.objects.get()._state.db == "reader"
    readers.set_aside("reader")
    assert current_scope().is_pinned("default")
    assert "test_mirror" in current_scope().name


@pytest.mark.django_db(databases=["default", "reader"])
def test_mark(mirror_readers: None, capture_routes: Any, django_assert_no_writes: Any) -> None:
    with capture_routes() as routes:
        Item.objects.create(name="test")
    assert [(query.alias, query.model, query.writes) for query in routes] == [("default", "sample.Item", True)]
    with scope(), django_assert_no_writes():
        assert Item.objects.count() == 1


@pytest.mark.django_db(transaction=True)
def test_stale(stale_readers: Any, django_assert_num_queries_by_alias: Any) -> None:
    Item.objects.create(name="new")
    with scope(), django_assert_num_queries_by_alias({"reader": 2, "default": 0}):
        assert Item.objects.count() == 0
        stale_readers.catch_up()
        assert Item.objects.count() == 1


@pytest.mark.django_db(databases=["default", "reader"], transaction=True)
def test_live(live_server: Any, mirror_readers: None) -> None:
    Item.objects.create(name="live")
    with urlopen(live_server.url) as response:
        assert b'"aliases": ["reader"]' in response.read()


def test_without_a_database(capture_routes: Any) -> None:
    with capture_routes() as routes:
        pass
    assert str(routes) == "no query"
