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
        """In the topology monitor's thread: measure if it is time; returns the seconds until it is again."""
        if (link := self._way) is None:
            return float("inf")
        if time.monotonic() >= self._next_at:
            for reader in self._cluster.view.live_readers:
                self._measure(link, reader.address)
            self._next_at = time.monotonic() + self._interval
        return max(0.0, self._next_at - time.monotonic())

    def _measure(self, link: Link, address: Address) -> None:
        connection = None
        try:
            connection = link.open(address, self._cluster.settings.probe_timeout)
            times = []
            for _ in range(_QUESTIONS):
                began = time.monotonic()
                link.ask(connection, "SELECT 1")
                times.append(time.monotonic() - began)
        except Exception as exc:
            failure = link.failure(exc)
            if failure is None:
                raise
            logger.debug("%s could not be measured: %s", address, exc)
            if failure in (Failure.UNREACHABLE, Failure.LOST):
                self._cluster.suspect(address, str(exc))
        else:
            before = self.known.get(address, min(times))
            self.known = {**self.known, address: (before + min(times)) / 2}
        finally:
            link.close(connection)
