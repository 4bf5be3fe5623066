"""What an alias says of its cluster, for whoever meets and watches that; a value, made by `backends/wiring`."""

from __future__ import annotations

from dataclasses import astuple, dataclass

from ..core.absence import Absences
from ..core.asking import Preference, default_of_region
from ..core.detection import Detection
from ..core.endpoints import Address, HostPattern, parse_endpoint
from ..core.regions import is_reachable
from ..core.topology import Instance


@dataclass(frozen=True, slots=True)
class ClusterSettings:
    """What a cluster is known by before anybody has connected. Times in seconds.

    `lists_instances`: `seed` and `hosts` are the servers themselves, should they turn out to be plain ones.
    """

    seed: Address
    hosts: tuple[Address, ...]
    pattern: HostPattern | None
    dialect: str | None
    refresh: float
    high_refresh: float
    reconnect_interval: float
    probe_timeout: float
    priority: tuple[Preference, ...]
    detection: Detection
    disposal: float
    absences: Absences
    lists_instances: bool = False
    global_priority: tuple[Preference, ...] = ()
    accessible: frozenset[str] = frozenset()

    def reaches(self, instance: Instance) -> bool:
        """Whether an instance may be connected to: in a global database, some regions may be out of reach."""
        return is_reachable(instance, self.accessible)

    def priority_in(self, primary: str) -> tuple[Preference, ...]:
        """Whom a monitor rather asks; `primary` is the writer's region, which there is in a global database alone."""
        if not primary:
            return self.priority
        return self.global_priority or default_of_region(parse_endpoint(self.seed.host).region)

    @property
    def names(self) -> tuple[Address, ...]:
        """All that lead to the cluster, HOST first."""
        return tuple(dict.fromkeys((self.seed, *self.hosts)))

    @property
    def monitoring(self) -> tuple[object, ...]:
        """All but the seed: what aliases of one cluster have to agree on."""
        return astuple(self)[1:]
