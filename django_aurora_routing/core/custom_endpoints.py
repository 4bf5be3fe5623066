"""Custom endpoints: what the options say of one, and which instances its member list lets an alias be on."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from .endpoints import EndpointKind, parse_endpoint
from .option_values import Given
from .topology import Instance, Role, Topology

PLUGIN = "custom_endpoint"


@dataclass(frozen=True, slots=True)
class CustomEndpoint:
    """Where to ask for a member list, and how often. Times in seconds.

    `wait` is how long a connection waits for the first list, None for not at all.
    """

    host: str
    name: str
    region: str
    profile: str | None
    refresh: float
    idle: float
    wait: float | None

    def __str__(self) -> str:
        return f"the custom endpoint {self.host}"


@dataclass(frozen=True, slots=True)
class Members:
    """A member list as RDS has it: those in it, or, with no such list, all but those that are left out.

    `kind` is READER, WRITER or ANY. https://docs.aws.amazon.com/AmazonRDS/latest/APIReference/API_DBClusterEndpoint.html
    """

    kind: str = "ANY"
    static: frozenset[str] = frozenset()
    excluded: frozenset[str] = frozenset()

    def allows(self, instance: Instance) -> bool:
        if self.kind == ("READER" if instance.role is Role.WRITER else "WRITER"):
            return False
        name = instance.id.lower()
        return name in self.static if self.static else name not in self.excluded

    def __str__(self) -> str:
        those = f"{', '.join(sorted(self.static))}" if self.static else "all"
        but = f" but {', '.join(sorted(self.excluded))}" if self.excluded and not self.static else ""
        return f"{those}{but} ({self.kind.lower()})"


def allowed_ids(members: Members, topology: Topology) -> frozenset[str]:
    """The instances that an alias may be on now."""
    return frozenset(instance.id for instance in topology.instances if members.allows(instance))


def read_custom_endpoint(given: Given, plugins: Collection[str], host: str) -> CustomEndpoint | None:
    """What the options say; None where the plugin is not named, or HOST is no custom endpoint."""
    if PLUGIN not in plugins:
        return None
    setting = "custom_endpoint_host"
    endpoint = parse_endpoint(given.text(setting) or host)
    if endpoint.kind is not EndpointKind.CUSTOM:
        where = f"OPTIONS[{setting!r}]" if given.text(setting) else "HOST"
        hint = "It is named like NAME.cluster-custom-abc123.eu-west-1.rds.amazonaws.com."
        given.say(where, f"{endpoint.host!r} is no custom endpoint, and the plugin 'custom_endpoint' is for one.", hint)
        return None
    waits = bool(given.of("wait_for_custom_endpoint_info"))
    return CustomEndpoint(
        host=endpoint.host,
        name=endpoint.name,
        region=endpoint.region,
        profile=given.text("aws_profile"),
        refresh=given.number("custom_endpoint_info_refresh_rate_ms"),
        idle=given.number("custom_endpoint_idle_monitor_expiration_ms"),
        wait=given.number("wait_for_custom_endpoint_info_timeout_ms") if waits else None,
    )
