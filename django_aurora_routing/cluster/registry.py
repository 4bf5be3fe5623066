"""The clusters of this process: found by key, restarted after a fork, forgotten when unused, released at exit."""

from __future__ import annotations

import atexit
import logging
import threading
import time
from collections.abc import Callable, Hashable

from ..core.identity import are_alike, share_an_instance
from ..forks import in_each_child
from .cluster import Cluster
from .meeting import TwoClusters
from .outbox import OUTBOX
from .pools import close_all_pools

logger = logging.getLogger(__name__)

KEPT = 32
"""How many clusters are remembered although nobody uses them: a process that has met one needs HOST no more."""

_lock = threading.Lock()
_clusters: dict[Hashable, Cluster] = {}


def cluster_of(key: Hashable, make: Callable[[], Cluster]) -> Cluster:
    """The cluster known by `key`, made by `make` when it is met for the first time.

    One that is made, and whose HOST is an instance of a cluster with its `cluster_id`, is that. Making one is also the
    occasion to forget the oldest of those that nobody has used for long. Who gets one is about to use it, so it is
    none of these.
    """
    with _lock:
        if (cluster := _clusters.get(key)) is not None:
            cluster.touch()
            return cluster
    made = make()
    with _lock:
        made = _known_as_part(made) or made
        if len(_clusters) > KEPT:
            idle = [key for key, cluster in _clusters.items() if cluster.is_idle()]
            idle.sort(key=lambda key: _clusters[key].used_at)
            for forgotten in idle[: len(_clusters) - KEPT]:
                del _clusters[forgotten]
        cluster = _clusters.setdefault(key, made)
        cluster.touch()
        return cluster


def _known_as_part(cluster: Cluster) -> Cluster | None:
    """Hold the lock. The cluster that has its `cluster_id`, and its HOST among its instances: nobody need be asked."""
    if cluster.cluster_id is None:
        return None
    seed, known = cluster.settings.seed, [c for c in _clusters.values() if _may_be_one(c, cluster)]
    return next((c for c in known if c.view.topology.at(seed) is not None), None)


def known_cluster(key: Hashable, cluster_id: str | None = None) -> Cluster | None:
    """The cluster known by `key`, if anybody has connected to it; else the one that is known by that id."""
    if (cluster := _clusters.get(key)) is None and cluster_id is not None:
        cluster = next((c for c in tuple(_clusters.values()) if c.is_settled and c.cluster_id == cluster_id), None)
    return cluster


def settle(key: Hashable, cluster: Cluster) -> Cluster | TwoClusters:
    """Now that the cluster has been met: it, or the one that was known before and is the same.

    What belongs together is one cluster with one monitor, and no two clusters are ever taken for one. By `cluster_id`
    an alias says that it belongs to the others with that id; the instances have to bear it out. Without an id, several
    names of one cluster are found to be that when both pictures show the very same.
    """
    rival: Cluster | None = None
    with _lock:
        others = [other for other in dict.fromkeys(_clusters.values()) if _may_be_one(other, cluster)]
        if cluster.is_settled or not cluster.is_made_of_instances:
            same = None  # a server of its own is nobody else's
        elif cluster.cluster_id is None:
            same = next((o for o in others if are_alike(o.view.topology, cluster.view.topology)), None)
        else:
            same = next((o for o in others if share_an_instance(o.view.topology, cluster.view.topology)), None)
            rival = _rival(others) if same is None else None
        if same is not None:
            _clusters[key] = same
        elif rival is None:
            cluster.settle()
    if same is None and rival is None:
        OUTBOX.wake()
        return cluster
    cluster.release(time.monotonic())
    if same is None:
        assert rival is not None
        return _two_clusters(rival, cluster)
    logger.info("%s is the cluster that is known as %s", cluster.settings.seed, same.key)
    return same


def _rival(others: list[Cluster]) -> Cluster | None:
    """Hold the lock. One of them that is in use. What is known of one that is not may be old, so it is forgotten."""
    idle = [other for other in others if other.is_idle()]
    for key in [key for key, cluster in _clusters.items() if cluster in idle]:
        del _clusters[key]
    return next((other for other in others if other not in idle), None)


def _may_be_one(known: Cluster, other: Cluster) -> bool:
    """Whether `other` could be part of this known cluster, by what the aliases say."""
    is_by_one_driver = known.links.topology.driver is other.links.topology.driver
    if not (known.is_settled and known.is_made_of_instances and is_by_one_driver) or known is other:
        return False
    if known.cluster_id != other.cluster_id:
        return False
    return known.cluster_id is not None or known.settings.monitoring == other.settings.monitoring


def _two_clusters(known: Cluster, cluster: Cluster) -> TwoClusters:
    return TwoClusters(
        f"OPTIONS['cluster_id'] {cluster.cluster_id!r} is given to two clusters: {cluster.settings.seed} leads to "
        f"{_ids(cluster)}, and {known.settings.seed} to {_ids(known)}. Leave it out, or give each its own; where it is "
        "one cluster after all, give both aliases the same OPTIONS['cluster_instance_host_pattern']."
    )


def _ids(cluster: Cluster) -> str:
    return ", ".join(str(instance.address) for instance in cluster.view.topology.instances)


def release_resources(timeout: float = 1.0) -> None:
    """Close the idle sessions of pools, stop all monitors and close their connections; a later use starts them again.

    Not needed at exit: the threads are daemons and are stopped by themselves. `timeout` is in seconds, for all of them.
    """
    close_all_pools()
    until = time.monotonic() + timeout
    clusters = tuple(dict.fromkeys(_clusters.values()))
    for moment in (0.0, until):  # tell all of them first, then wait for them
        for cluster in clusters:
            cluster.release(moment)


def _after_fork_in_child() -> None:
    global _lock
    _lock = threading.Lock()
    for cluster in dict.fromkeys(_clusters.values()):
        cluster.after_fork()


in_each_child(_after_fork_in_child)
atexit.register(release_resources, 0.2)
