"""How fast the readers answer, measured for who chooses by it; nobody pays for it who does not."""

from __future__ import annotations

import logging
import time
import weakref
from typing import TYPE_CHECKING

from ..core.endpoints import Address
from ..core.failures import Failure
from .link import Link

if TYPE_CHECKING:
    from .cluster import Cluster

logger = logging.getLogger(__name__)

_QUESTIONS = 3  # the fastest answer counts: what takes longer is chance, or this machine


class ResponseTimes:
    """One a cluster; seconds for one round trip, by instance. `known` is replaced as a whole, never changed."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster: Cluster = weakref.proxy(cluster)
        self.known: dict[Address, float] = {}
        self._way: Link | None = None
        self._interval = float("inf")
        self._next_at = float("-inf")

    def want(self, link: Link, interval: float) -> None:
        """Have all readers measured once in `interval` seconds, by connections of that link, as long as there is use.

        Of several that want that, the shortest interval counts.
        """
        if self._way is None:
            self._cluster.topology_monitor.wake()
        self._way, self._interval = link, min(interval, self._interval)

    def measure(self) -> float:
        """In the topology monitor's thread: measure if it is time; returns the seconds until it is again.

        A reader that has come meanwhile is measured at once, for new ones are chosen first.
        """
        if (link := self._way) is None:
            return float("inf")
        is_due = time.monotonic() >= self._next_at
        for reader in filter(self._cluster.settings.reaches, self._cluster.view.live_readers):
            if is_due or reader.address not in self.known:
                self._measure(link, reader.address)
        if is_due:
            self._next_at = time.monotonic() + self._interval
        return max(0.0, self._next_at - time.monotonic())

    def _measure(self, link: Link, address: Address) -> None:
        connection = None
        seconds = float("inf")
        try:
            connection = link.open(address, self._cluster.settings.probe_timeout)
            for _ in range(_QUESTIONS):
                began = time.monotonic()
                link.ask(connection, "SELECT 1")
                seconds = min(seconds, time.monotonic() - began)
        except Exception as exc:
            failure = link.failure(exc)
            if failure is None:
                raise
            logger.debug("%s could not be measured: %s", address, exc)
            if failure in (Failure.UNREACHABLE, Failure.LOST):
                self._cluster.suspect(address, str(exc))
        finally:
            link.close(connection)
        before = self.known.get(address, seconds)
        known = (before + seconds) / 2 if before < float("inf") else seconds
        self.known = {**self.known, address: known}
