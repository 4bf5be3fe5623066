"""The registry: a process remembers the clusters it has met, but no endless number of those that nobody uses."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import Any

import pytest

from django_aurora_routing.backends.wiring import cluster_settings_of
from django_aurora_routing.cluster import registry
from django_aurora_routing.cluster.activity import Activity
from django_aurora_routing.cluster.cluster import Cluster
from django_aurora_routing.cluster.settings import ClusterSettings
from django_aurora_routing.core.options import Options

SETTINGS = cluster_settings_of({"HOST": "nowhere"}, Options(disposal=0.0))


@pytest.fixture(autouse=True)
def _no_other_clusters(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "_clusters", {})


def met(key: int, settings: ClusterSettings = SETTINGS) -> Cluster:
    links: Any = None  # nobody connects
    return registry.cluster_of(key, lambda: Cluster(str(key), settings, links))


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


def test_the_oldest_is_the_one_that_nobody_has_asked_for_since() -> None:
    for key in range(registry.KEPT + 1):
        met(key)
        time.sleep(0.001)
    met(0)
    time.sleep(0.001)
    met(registry.KEPT + 1)
    assert known() == [0, *range(2, registry.KEPT + 2)]


def test_one_that_somebody_is_about_to_connect_to_is_kept() -> None:
    """Between the moment at which he is given it and the one at which his connection is there."""
    settings = replace(SETTINGS, disposal=0.5)
    for key in range(registry.KEPT + 1):
        met(key, settings)
    time.sleep(0.6)
    given = [met(key, settings) for key in range(registry.KEPT + 1)]
    met(registry.KEPT + 1, settings)
    assert [registry.known_cluster(key) for key in range(registry.KEPT + 1)] == given
