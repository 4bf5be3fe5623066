"""A cluster's own bookkeeping, without a server."""

from __future__ import annotations

from typing import Any

from django_aurora_routing.backends.wiring import cluster_settings_of
from django_aurora_routing.cluster.cluster import MOST_TURNS, Cluster
from django_aurora_routing.core.options import Options


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
