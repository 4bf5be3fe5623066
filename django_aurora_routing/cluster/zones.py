"""Learns the zones of a cluster's instances for aliases that prefer their own: a thread, until all are known."""

from __future__ import annotations

import logging
import random
import time
import weakref
from typing import TYPE_CHECKING

from ..core.logins import Unavailable
from ..core.pacing import Backoff
from ..core.zones import ZoneSource
from .executor import BackgroundThread

if TYPE_CHECKING:
    from .cluster import Cluster

logger = logging.getLogger(__name__)

_PAUSES = Backoff(2.0, 300.0)


class Zones:
    """One a cluster. An instance stays in its zone, so each is asked about once; nobody waits for it."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster: Cluster = weakref.proxy(cluster)
        self.known: dict[str, str] = {}
        self._source: ZoneSource | None = None
        self.after_fork()

    def after_fork(self) -> None:
        self._rng = random.Random()
        self._pauses = _PAUSES
        self._thread = BackgroundThread(f"aurora-zones {self._cluster.key}", self, Zones._turn)

    def want(self, source: ZoneSource) -> None:
        """Somebody connects who would like to know them."""
        self._source = source
        self.look()

    def look(self) -> None:
        """Find out what is not known yet, if anybody wants to know."""
        if self._source is not None and not self._thread.is_running and self._missing():
            self._thread.wake()

    def stop(self, until: float) -> None:
        self._thread.stop(until - time.monotonic())

    def _missing(self) -> set[str]:
        return {instance.id for instance in self._cluster.view.topology.instances} - self.known.keys()

    def _turn(self) -> float | None:
        missing, now = self._missing(), time.monotonic()
        if not missing or self._source is None or self._cluster.is_idle():
            self._pauses = _PAUSES
            return None
        if not self._pauses.is_due(now):
            return self._pauses.due_at - now
        try:
            from ..aws.zones import fetch_zones  # boto3 is imported at first use

            found = fetch_zones(self._source, missing)
        except (Unavailable, ImportError) as exc:
            logger.warning("%s: %s", self._cluster.key, exc)
        else:
            self.known = {**self.known, **found}
            self._cluster.note_zones()
            if not self._missing():
                self._pauses = _PAUSES
                return None
        self._pauses = self._pauses.failed(now, self._rng.random())
        return max(0.0, self._pauses.due_at - time.monotonic())
