"""A scope whose reader is taken from it must not see what it has already seen undone, on another one."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

import pytest
from django.contrib.contenttypes.models import ContentType
from django.db import connections
from django.test import override_settings

from django_aurora_routing import in_reader
from django_aurora_routing.lab import LocalCluster
from django_aurora_routing.lab.handles import Instance
from django_aurora_routing.routing.scopes import scope
from tests.backends.conftest import Aliases


@pytest.fixture
def split(aliases: Aliases, cluster: LocalCluster) -> Iterator[LocalCluster]:
    """A writer's and a reader's alias on the lab's cluster, with one content type of the app "0"."""
    cluster.writer.query(
        "CREATE OR REPLACE TABLE app.django_content_type (id INT PRIMARY KEY, app_label VARCHAR(9), model VARCHAR(9))"
    )
    cluster.writer.query("INSERT INTO app.django_content_type VALUES (1, '0', '')")
    cluster.catch_up()
    aliases.add("w")
    aliases.add("r", read_only=True)
    routing = {"CLUSTERS": {"default": {"writer": "w", "readers": ["r"]}}, "PIN_SECONDS": 60}
    routers = ["django_aurora_routing.routers.ReadWriteRouter"]
    with override_settings(AURORA_ROUTING=routing, DATABASE_ROUTERS=routers):
        yield cluster
    cluster.heal()


def read() -> int:
    return int(ContentType.objects.get(pk=1).app_label)


def server_of(alias: str) -> str:
    with connections[alias].cursor() as cursor:
        cursor.execute("SELECT @@aurora_server_id")
        return str(cursor.fetchone()[0])


def of_two_readers(cluster: LocalCluster) -> tuple[Instance, Instance]:
    """The one that the alias is connected to, and the other, which is held back; somebody has written meanwhile."""
    assert read() == 0
    one = cluster.instance(server_of("r"))
    other = next(reader for reader in cluster.readers if reader != one)
    other.delay_replication(30)
    cluster.writer.query("UPDATE app.django_content_type SET app_label = '1'")
    deadline = time.monotonic() + 20
    while one.query("SELECT app_label FROM app.django_content_type") != [("1",)]:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    return one, other


LOSSES: dict[str, Callable[[LocalCluster, Instance], object]] = {
    "killed": lambda cluster, one: one.kill(),
    "reset": lambda cluster, one: (one.refuse(), one.reset()),
    "closed": lambda cluster, one: (one.refuse(), connections["r"].close()),
}


@pytest.mark.parametrize("loss", LOSSES)
def test_a_scope_whose_reader_is_lost_does_not_go_back_in_time(split: LocalCluster, loss: str) -> None:
    with scope():
        one, other = of_two_readers(split)
        assert read() == 1
        LOSSES[loss](split, one)
        assert other.query("SELECT app_label FROM app.django_content_type") == [("0",)]
        assert [read() for _ in range(3)] == [1, 1, 1]
    with scope():
        assert read() == 0, "nobody else is concerned"


def test_who_asks_for_a_reader_by_a_block_gets_one_however_old(split: LocalCluster) -> None:
    with scope() as unit:
        one, _ = of_two_readers(split)
        one.kill()
        with in_reader():
            assert read() == 0
        assert not unit.is_pinned("default")
        assert read() == 1, "and is held against what was seen before outside of it"
