"""The clusters of this process: found by key, restarted after a fork, forgotten when unused, released at exit."""

from __future__ import annotations

import atexit
import threading
import time
from collections.abc import Callable, Hashable

from ..forks import in_each_child
from .cluster import Cluster
from .pools import close_all_pools

KEPT = 32
"""How many clusters are remembered although nobody uses them: a process that has met one needs HOST no more."""

_lock = threading.Lock()
_clusters: dict[Hashable, Cluster] = {}


def cluster_of(key: Hashable, make: Callable[[], Cluster]) -> Cluster:
    """The cluster known by `key`, made by `make` when it is met for the first time.

    Making one is also the occasion to forget the oldest of those that nobody has used for long. Who gets one is about
    to use it, so it is none of these.
    """
    with _lock:
        if (cluster := _clusters.get(key)) is not None:
            cluster.touch()
            return cluster
    made = make()
    with _lock:
        if len(_clusters) > KEPT:
            idle = [key for key, cluster in _clusters.items() if cluster.is_idle()]
            idle.sort(key=lambda key: _clusters[key].used_at)
            for forgotten in idle[: len(_clusters) - KEPT]:
                del _clusters[forgotten]
        cluster = _clusters.setdefault(key, made)
        cluster.touch()
        return cluster


def known_cluster(key: Hashable) -> Cluster | None:
    """The cluster known by `key`, if anybody has connected to it."""
    return _clusters.get(key)


def release_resources(timeout: float = 1.0) -> None:
    """Close the idle sessions of pools, stop all monitors and close their connections; a later use starts them again.

    Not needed at exit: the threads are daemons and are stopped by themselves. `timeout` is in seconds, for all of them.
    """
    close_all_pools()
    until = time.monotonic() + timeout
    clusters = tuple(_clusters.values())
    for moment in (0.0, until):  # tell all of them first, then wait for them
        for cluster in clusters:
            cluster.release(moment)


def _after_fork_in_child() -> None:
    global _lock
    _lock = threading.Lock()
    for cluster in _clusters.values():
        cluster.after_fork()


in_each_child(_after_fork_in_child)
atexit.register(release_resources, 0.2)
