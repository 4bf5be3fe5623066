"""What an application may see of the cluster behind an alias. Connects to nothing, and asks nobody."""

from __future__ import annotations

from django.db import DEFAULT_DB_ALIAS, connections

from ..core.snapshot import ClusterSnapshot
from .wrapper import ClusterWrapperMixin


def cluster_for(alias: str = DEFAULT_DB_ALIAS) -> ClusterSnapshot | None:
    """The cluster that the alias leads to, as this process knows it now.

    None while there is nothing to know: nobody in this process has connected by the alias yet, it talks to HOST alone,
    or its engine is not of this package. Raises Django's ConnectionDoesNotExist for an alias that there is not.
    """
    wrapper = connections[alias]
    cluster = wrapper.known_cluster() if isinstance(wrapper, ClusterWrapperMixin) else None
    return None if cluster is None else cluster.snapshot()
