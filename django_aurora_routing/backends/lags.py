"""What the topology of our own aliases tells of their readers' lag; a source for `routing.lag`. Connects to nothing."""

from __future__ import annotations

from django.db import connections

from ..cluster.cluster import Cluster
from ..core.failover import candidates
from ..core.staleness import Lag, observed_lags
from .wrapper import ClusterWrapperMixin


def lags(alias: str) -> tuple[Lag, ...]:
    """The lag of each reader that the alias may lead to; empty when that is not known, or not ours to know."""
    wrapper = connections[alias]
    if not isinstance(wrapper, ClusterWrapperMixin) or (cluster := wrapper.known_cluster()) is None:
        return ()
    view, options = cluster.view, wrapper.parsed_options()
    found = candidates(view, options.failover_mode, options.regions)
    return observed_lags(view, found.readers if found.wants_reader else view.live_readers)


def request_newer(alias: str) -> None:
    """Have the topology of the alias's cluster refreshed soon. Returns at once."""
    cluster = _cluster(alias)
    if cluster is not None:
        cluster.request_newer()


def _cluster(alias: str) -> Cluster | None:
    wrapper = connections[alias]
    return wrapper.known_cluster() if isinstance(wrapper, ClusterWrapperMixin) else None
