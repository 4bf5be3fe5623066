"""Which aliases make a cluster: what settings say, what DATABASES shows, and what is refused. Tables of cases."""

from __future__ import annotations

from typing import Any

import pytest
from django.core.exceptions import ImproperlyConfigured
from django.db import connections
from django.test import override_settings

from django_aurora_routing.routers import ReadWriteRouter
from django_aurora_routing.routing.clusters import Cluster, clusters, found

from .models import Author

pytestmark = pytest.mark.usefixtures("databases")


def database(name: str = "shop", host: str = "cluster", **more: Any) -> dict[str, Any]:
    return {"ENGINE": "mysql", "NAME": name, "HOST": host, "PORT": "", "OPTIONS": {}, "TEST": {}, **more}


def reader(name: str = "shop", host: str = "cluster", mirror: str | None = None, **more: Any) -> dict[str, Any]:
    return database(name, host, OPTIONS={"read_only": True}, TEST={"MIRROR": mirror}, **more)


FOUND: dict[str, tuple[dict[str, Any], list[Cluster]]] = {
    "no reader is marked": ({"default": database(), "other": database()}, []),
    "the two aliases of the AWS wrapper": (
        {"default": database(), "read": reader()},
        [Cluster("default", "default", ("read",))],
    ),
    "the reader endpoint": (
        {"default": database(), "read": reader(host="cluster-ro")},
        [Cluster("default", "default", ("read",))],
    ),
    "read_only as text": (
        {"default": database(), "read": database(OPTIONS={"read_only": "True"})},
        [Cluster("default", "default", ("read",))],
    ),
    "read_only as text, false": (
        {"default": database(), "read": database(OPTIONS={"read_only": "False"})},
        [],
    ),
    "several readers": (
        {"default": database(), "a": reader(), "b": reader(host="b")},
        [Cluster("default", "default", ("a", "b"))],
    ),
    "two clusters by name": (
        {"default": database(), "crm": database("crm"), "a": reader("crm"), "b": reader()},
        [Cluster("crm", "crm", ("a",)), Cluster("default", "default", ("b",))],
    ),
    "the host decides between two writers": (
        {"default": database(), "eu": database(host="eu"), "a": reader(host="eu")},
        [Cluster("eu", "eu", ("a",))],
    ),
    "the mirror decides": (
        {"default": database(), "eu": database(host="eu"), "a": reader("any", mirror="eu")},
        [Cluster("eu", "eu", ("a",))],
    ),
    "in the middle of the test runner's work": (
        {"default": database("test_shop"), "read": reader("shop")},
        [Cluster("default", "default", ("read",))],
    ),
    "the same, with a name of its own": (
        {"default": database("mine", TEST={"NAME": "mine"}), "read": reader("mine")},
        [Cluster("default", "default", ("read",))],
    ),
}


@pytest.mark.parametrize(("databases", "expected"), FOUND.values(), ids=FOUND)
def test_found_in_databases(databases: dict[str, Any], expected: list[Cluster]) -> None:
    assert found(databases) == expected


NOT_CLEAR: dict[str, dict[str, Any]] = {
    "two candidates": {"default": database(), "eu": database(), "read": reader()},
    "two candidates, elsewhere": {"default": database(), "eu": database(host="eu"), "read": reader(host="x")},
    "no candidate": {"default": database("crm"), "read": reader()},
    "another port": {"default": database(PORT=3307), "read": reader()},
    "another engine": {"default": database(ENGINE="postgresql"), "read": reader()},
    "only readers": {"default": reader(), "read": reader()},
}


@pytest.mark.parametrize("databases", NOT_CLEAR.values(), ids=NOT_CLEAR)
def test_not_clear_is_refused(databases: dict[str, Any]) -> None:
    with pytest.raises(ImproperlyConfigured, match=r"read_only, but.*MIRROR.*AURORA_ROUTING\['CLUSTERS'\]"):
        found(databases)


REFUSED: dict[str, tuple[Any, str]] = {
    "not a dict": (["default"], "['CLUSTERS'] must be a dict"),
    "an entry that is not a dict": ({"default": "default"}, "must be a dict with 'writer' and 'readers'"),
    "no writer": ({"default": {"readers": ["reader1"]}}, "must be a dict with 'writer'"),
    "a typo in a key": (
        {"default": {"writer": "default", "reader": ["reader1"]}},
        "has no 'reader'. Did you mean 'readers'?",
    ),
    "a typo in the only key": ({"default": {"writr": "default"}}, "has no 'writr'. Did you mean 'writer'?"),
    "a writer that is no text": ({"default": {"writer": ["default"]}}, "DATABASES has no ['default']"),
    "a reader that is no text": ({"default": {"writer": "default", "readers": [["reader1"]]}}, "no ['reader1']"),
    "readers as text": ({"default": {"writer": "default", "readers": "reader1"}}, "must be a list of aliases"),
    "an unknown writer": ({"default": {"writer": "defualt"}}, "no 'defualt'. Did you mean 'default'?"),
    "an unknown reader": ({"default": {"writer": "default", "readers": ["raeder1"]}}, "Did you mean 'reader1'?"),
    "writer and reader at once": ({"default": {"writer": "default", "readers": ["default"]}}, "is in it twice"),
    "one reader twice": (
        {"default": {"writer": "default", "readers": ["reader1"]}, "b": {"writer": "reader1"}},
        "'reader1' is in it twice, for 'default' and 'b'",
    ),
}


@pytest.mark.parametrize(("declared", "message"), REFUSED.values(), ids=REFUSED)
def test_settings_that_are_refused(declared: Any, message: str) -> None:
    with override_settings(AURORA_ROUTING={"CLUSTERS": declared}):
        with pytest.raises(ImproperlyConfigured) as error:
            clusters()
        assert message in str(error.value)
        assert "AURORA_ROUTING['CLUSTERS']" in str(error.value)


def test_a_router_for_a_cluster_that_is_not_there() -> None:
    declared = {"main": {"writer": "default", "readers": ["reader1"]}}
    with override_settings(AURORA_ROUTING={"CLUSTERS": declared}):
        with pytest.raises(ImproperlyConfigured, match="has no cluster 'default'"):
            ReadWriteRouter().db_for_read(Author)
        assert ReadWriteRouter("main").db_for_read(Author) == "reader1"


def test_settings_are_followed() -> None:
    assert clusters().by_name == {}
    with override_settings(AURORA_ROUTING={"CLUSTERS": {"default": {"writer": "external"}}}):
        assert clusters().by_name["default"].writer == "external"
        assert clusters() is clusters()
    assert clusters().by_name == {}


def test_found_clusters_serve() -> None:
    connections.settings["reader1"]["TEST"]["MIRROR"] = "default"
    connections.settings["reader1"]["OPTIONS"] = {"read_only": True}
    with override_settings(AURORA_ROUTING={}):
        clusters.cache_clear()
        assert ReadWriteRouter().db_for_read(Author) == "reader1"
        assert ReadWriteRouter().db_for_write(Author) == "default"
        assert ReadWriteRouter().allow_migrate("reader1", "routing_tests") is False
