"""What is told of another cluster: not taken in, unless this one is no more and HOST leads there."""

from __future__ import annotations

import logging
from typing import Any

import pytest

from django_aurora_routing.cluster.cluster import Cluster
from django_aurora_routing.cluster.strangers import FORSAKEN
from django_aurora_routing.core.endpoints import Address
from django_aurora_routing.core.topology import Instance, Observation, Role

from .test_registry import SETTINGS

HOST = SETTINGS.seed


def told(writer: str, *readers: str, by: str = "") -> Observation:
    roles = {writer: Role.WRITER, **dict.fromkeys(readers, Role.READER)}
    instances = tuple(Instance(name, Address(name), role) for name, role in roles.items())
    by = by or writer
    return Observation(by, by != writer, instances)


@pytest.fixture
def known() -> Cluster:
    """A cluster of a and b, as told at 100 s."""
    links: Any = None  # nobody connects
    cluster = Cluster("shop", SETTINGS, links)
    cluster.publish(told("a", "b"), 100.0, HOST)
    return cluster


def ids(cluster: Cluster) -> set[str]:
    return {instance.id for instance in cluster.view.topology.instances}


def test_another_cluster_is_not_taken_in_while_this_one_answers(
    known: Cluster, caplog: pytest.LogCaptureFixture
) -> None:
    view = known.view
    for at in (101.0, 102.0):
        known.publish(told("x", "y"), at, HOST)
    assert known.view is view
    assert "nowhere:3306 leads to another cluster (x, y)" in known.problem
    assert [r.levelno for r in caplog.records if "another cluster" in r.message] == [logging.WARNING]
    known.publish(told("a", "b", by="b"), 100.0 + FORSAKEN, Address("b"))  # a reader is enough
    known.publish(told("x", "y"), 101.0 + FORSAKEN, HOST)
    assert ids(known) == {"a", "b"}


def test_host_is_followed_when_nobody_else_has_answered_for_long(
    known: Cluster, caplog: pytest.LogCaptureFixture
) -> None:
    late = 101.0 + FORSAKEN
    known.publish(told("x", "y"), late, Address("a"))  # an address of the old cluster that somebody else has now
    known.publish(told("x", "y", by="y"), late, HOST)  # hearsay
    assert ids(known) == {"a", "b"}
    generation = known.generation
    known.publish(told("x", "y"), late, HOST)
    assert ids(known) == {"x", "y"}
    assert known.generation > generation  # connections to the old one are looked at
    assert "is followed there" in caplog.text


def test_members_that_come_and_go_are_no_other_cluster(known: Cluster) -> None:
    for at, (writer, *readers) in enumerate(["abc", "bc", "cd", "de"], start=101):
        known.publish(told(writer, *readers), float(at), HOST)
        assert ids(known) == {writer, *readers}
