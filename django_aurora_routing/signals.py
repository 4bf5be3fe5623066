"""Django signals of what happens to clusters. Who sends them is in `cluster/`; see docs/observing.rst."""

from __future__ import annotations

from typing import Any

from django.db import connections
from django.dispatch import Signal

from .core.snapshot import ClusterSnapshot

topology_changed = Signal()
"""`cluster` (a ClusterSnapshot, after the change), `changes`: `added`, `removed`, `moved`, `promoted`, `lost`."""

failover_started = Signal()
"""`cluster`, `writer`: the instance that is not known to write any more, and `reason`."""

failover_completed = Signal()
"""`cluster`, `writer`, `old_writer` (the same instance after a false alarm), `seconds` from the doubt to its end."""

reader_set_aside = Signal()
"""`cluster`, `instance`, and `reason`: it is not connected to until it has answered a monitor."""

reader_restored = Signal()
"""`cluster`, `instance`."""

_ALL = (topology_changed, failover_started, failover_completed, reader_set_aside, reader_restored)


def has_receivers() -> bool:
    """Whether anybody listens to any of them."""
    return any(signal.receivers for signal in _ALL)


def deliver(signal: Signal, cluster: ClusterSnapshot, **named: Any) -> None:
    """Call the receivers, one after the other; what one raises is logged by Django. Closes what they have opened."""
    try:
        signal.send_robust(ClusterSnapshot, cluster=cluster, **named)
    finally:
        connections.close_all()
