"""The registry: a process remembers the clusters it has met, but no endless number of those that nobody uses."""

from __future__ import annotations

import time
from typing import Any

import pytest

from django_aurora_routing.cluster import registry
from django_aurora_routing.cluster.activity import Activity
from django_aurora_routing.cluster.cluster import Cluster, ClusterSettings
from django_aurora_routing.core.detection import DEFAULT_DETECTION
from django_aurora_routing.core.endpoints import Address

SETTINGS = ClusterSettings(Address("nowhere"), (), None, None, 30.0, 0.02, DEFAULT_DETECTION, disposal=0.0)


@pytest.fixture(autouse=True)
def _no_other_clusters(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "_clusters", {})


def met(key: int) -> Cluster:
    links: Any = None  # nobody connects
    return registry.cluster_of(key, lambda: Cluster(str(key), SETTINGS, links))


def known() -> list[int]:
    return [key for key in range(3 * registry.KEPT) if registry.known_cluster(key) is not None]


def test_the_oldest_of_those_that_nobody_uses_are_forgotten() -> None:
    for key in range(2 * registry.KEPT):
        met(key)
        time.sleep(0.001)
    assert known() == list(range(registry.KEPT - 1, 2 * registry.KEPT))


def test_one_that_is_used_is_kept() -> None:
    activity = Activity()
    used = met(0)
    used.watch(activity)
    for key in range(1, 2 * registry.KEPT):
        met(key)
        time.sleep(0.001)
    assert met(0) is used
    assert len(known()) == registry.KEPT + 1
