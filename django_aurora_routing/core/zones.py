"""Where the zones of a cluster's instances come from, should an alias prefer those of its own."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from .endpoints import parse_endpoint
from .option_values import Given
from .topology import Topology


@dataclass(frozen=True, slots=True)
class ZoneSource:
    """The RDS API of a region, asked with the credentials of an AWS profile; None is boto3's own."""

    region: str
    profile: str | None


def read_zone_source(given: Given, host: str) -> ZoneSource | None:
    """Who has to be asked, if anybody: not where the options say all that is wanted."""
    if given.text("availability_zone") is None or given.of("instance_zones"):
        return None
    region = given.text("region") or parse_endpoint(host).region
    if not region:
        given.say(
            "OPTIONS['availability_zone']",
            "nothing tells the zones of the instances.",
            "Set OPTIONS['instance_zones'], or OPTIONS['region'], whose RDS API is asked then.",
        )
        return None
    return ZoneSource(region, given.text("aws_profile"))


def with_zones(topology: Topology, zones: Mapping[str, str]) -> Topology:
    """The same, with what is known of its instances' zones, by id."""
    if not zones:
        return topology
    return replace(topology, instances=tuple(replace(i, zone=zones.get(i.id, i.zone)) for i in topology.instances))
