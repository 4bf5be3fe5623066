"""A cluster's own bookkeeping, without a server."""

from __future__ import annotations

import time
from typing import Any

import pytest

from django_aurora_routing.backends.wiring import cluster_settings_of
from django_aurora_routing.cluster.cluster import MOST_TURNS, Cluster
from django_aurora_routing.core.endpoints import Address
from django_aurora_routing.core.options import Options, parse_options

from .test_other_clusters import told
from .test_registry import SETTINGS


def test_turns_are_each_aliass_own_and_begin_anew_in_each_child() -> None:
    """Or all children of a process that has used the cluster would begin at the same reader, and go on together."""
    links: Any = None  # nobody connects
    cluster = Cluster("turns", cluster_settings_of({"HOST": "nowhere"}, Options()), links)
    first = cluster.turn("a")
    cluster.turn("b")
    assert [cluster.turn("a"), cluster.turn("a")] == [first + 1, first + 2]
    begins = []
    for _ in range(5):
        cluster.after_fork()
        begins.append(cluster.turn("a"))
    assert len(set(begins)) > 1


def test_aliases_that_come_and_go_leave_nothing_that_grows() -> None:
    links: Any = None  # nobody connects
    cluster = Cluster("turns", cluster_settings_of({"HOST": "nowhere"}, Options()), links)
    for number in range(3 * MOST_TURNS):
        first = cluster.turn(f"dynamic-{number}")
        assert cluster.turn(f"dynamic-{number}") == first + 1
    assert len(cluster._turns) <= MOST_TURNS


@pytest.mark.parametrize(("asked_at", "writer", "confirmed_at"), [(105.0, "b", 110.0), (115.0, "a", 115.0)])
def test_the_writer_is_who_said_so_last(asked_at: float, writer: str, confirmed_at: float) -> None:
    """Not whose answer came last: a slow one of the former writer's would have been believed as if it were new."""
    links: Any = None  # nobody connects
    cluster = Cluster("order", SETTINGS, links)
    cluster.publish(told("a", "b"), 100.0, Address("a"))
    cluster.publish(told("b", "a"), 110.0, Address("b"))
    cluster.publish(told("a", "b"), asked_at, Address("a"))
    trusted = cluster.view.trusted_writer
    cluster.release(time.monotonic() + 5)  # it goes to ask who was not believed
    assert trusted is not None
    assert (trusted.id, cluster.view.confirmed_at) == (writer, confirmed_at)


@pytest.mark.parametrize(
    ("settings", "options", "expected"),
    [
        ({"HOST": "10.0.0.1"}, {}, 0),
        ({"HOST": "10.0.0.1"}, {"hosts": "10.0.0.1,10.0.0.2"}, 2),
        ({"HOST": "shop.cluster-abc123.eu-west-1.rds.amazonaws.com"}, {"hosts": "10.0.0.1,10.0.0.2"}, 0),
    ],
    ids=["one name", "servers", "further names of a cluster"],
)
def test_servers_that_are_listed_are_part_of_it_though_none_has_answered(
    settings: dict[str, Any], options: dict[str, Any], expected: int
) -> None:
    links: Any = None  # nobody connects
    parsed = parse_options(options, driver_names=(), host=settings["HOST"])
    assert (
        Cluster("listed", cluster_settings_of({**settings, "OPTIONS": options}, parsed.options), links).view.listed
        == expected
    )
