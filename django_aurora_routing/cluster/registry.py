"""The clusters of this process: found by key, restarted after a fork, released at exit."""

from __future__ import annotations

import atexit
import os
import threading
from collections.abc import Callable

from .cluster import Cluster

_lock = threading.Lock()
_clusters: dict[str, Cluster] = {}
_inherited: list[object] = []
"""Connections of a parent process. Letting go of them would close them, in the parent's name."""


def cluster_of(key: str, make: Callable[[], Cluster]) -> Cluster:
    """The cluster known by `key`, made by `make` when it is met for the first time."""
    with _lock:
        if (cluster := _clusters.get(key)) is None:
            cluster = _clusters[key] = make()
        return cluster


def release_resources(timeout: float = 1.0) -> None:
    """Stop all monitors and close their connections; what uses a database afterwards starts them again.

    Not needed at exit: the threads are daemons and are stopped by themselves. `timeout` is in seconds, for each.
    """
    with _lock:
        clusters = tuple(_clusters.values())
    for cluster in clusters:
        cluster.release(timeout)


def _after_fork_in_child() -> None:
    global _lock
    _lock = threading.Lock()
    for cluster in _clusters.values():
        _inherited.extend(cluster.after_fork())


os.register_at_fork(after_in_child=_after_fork_in_child)
atexit.register(release_resources, 0.2)
