"""What a host name says about a cluster; owns addresses and instance host patterns, never resolves or connects."""

from __future__ import annotations

import enum
import functools
import re
from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import ip_address

DEFAULT_PORT = 3306


@dataclass(frozen=True, slots=True)
class Address:
    """Where a server listens. With port 0 that is not known, and `host` is but a name for it."""

    host: str
    port: int = DEFAULT_PORT

    @property
    def is_known(self) -> bool:
        return self.port > 0

    def __str__(self) -> str:
        return f"{self.host}:{self.port}" if self.is_known else f"{self.host} (address unknown)"


class EndpointKind(enum.Enum):
    """What an RDS host name stands for; OTHER is any name that is not RDS's own (CNAME, localhost, ...)."""

    CLUSTER = "cluster endpoint"
    READER = "reader endpoint"
    CUSTOM = "custom endpoint"
    INSTANCE = "instance endpoint"
    GLOBAL = "global database's endpoint"
    PROXY = "RDS proxy"
    SHARD_GROUP = "shard group"
    IP = "IP address"
    OTHER = "other host"

    @property
    def is_rds(self) -> bool:
        """Whether it is a name of RDS's own."""
        return self not in (EndpointKind.IP, EndpointKind.OTHER)

    @property
    def hides_instances(self) -> bool:
        """Whether what listens there chooses the instance by itself, and does the failover: HOST is all there is."""
        return self in (EndpointKind.PROXY, EndpointKind.SHARD_GROUP)


@dataclass(frozen=True, slots=True)
class Endpoint:
    """A host name taken apart.

    `name` is the first part of an RDS name, `domain` the part that all instances of the cluster share; a global
    database's endpoint has no region. `is_green` and `is_old` say which side of a blue/green deployment it is.
    """

    host: str
    kind: EndpointKind
    name: str = ""
    domain: str = ""
    region: str = ""

    @property
    def is_green(self) -> bool:
        """Whether it is named as the staging side of a deployment is before the switchover."""
        return _GREEN.search(self.name) is not None

    @property
    def is_old(self) -> bool:
        """Whether it is named as the former production side is after the switchover."""
        return _OLD.search(self.name) is not None

    @property
    def plain_name(self) -> str:
        """`name` as it is without a deployment."""
        return without_blue_green(self.name)


# <name>.[prefix]<account>.<region>.rds.<suffix>, and with the two parts in the middle the other way round, as newer
# regions of China and those of GovCloud and the closed partitions have them. All suffixes are taken in both orders:
# https://docs.aws.amazon.com/AmazonRDS/latest/AuroraUserGuide/Aurora.Endpoints.Cluster.html, and `dnsSuffix` in
# botocore's partitions.json. A proxy's further endpoints are <name>.endpoint.proxy-<account>...
_RDS = re.compile(
    r"(?P<name>[^.]+(?:\.endpoint(?=\.proxy-))?)\."
    r"(?P<prefix>cluster-ro-|cluster-custom-|cluster-|proxy-|shardgrp-|global-)?"
    r"(?P<domain>[a-z0-9]+\.(?:(?P<region>[a-z0-9-]+)\.rds|rds\.(?P<region2>[a-z0-9-]+))"
    r"\.(?:amazonaws\.com(?:\.cn)?|amazonaws\.eu|c2s\.ic\.gov|sc2s\.sgov\.gov|csp\.hci\.ic\.gov|cloud\.adc-e\.uk))"
)
_KIND_OF_PREFIX = {
    "cluster-": EndpointKind.CLUSTER,
    "cluster-ro-": EndpointKind.READER,
    "cluster-custom-": EndpointKind.CUSTOM,
    "proxy-": EndpointKind.PROXY,
    "shardgrp-": EndpointKind.SHARD_GROUP,
    "global-": EndpointKind.GLOBAL,
    None: EndpointKind.INSTANCE,
}
_OF_NO_REGION = "global"  # where a region would be, in a global database's endpoint

# https://docs.aws.amazon.com/AmazonRDS/latest/AuroraUserGuide/blue-green-deployments-switching.html
_GREEN, _OLD = re.compile(r"-green-[0-9a-z]{6}$"), re.compile(r"-old[0-9]+$")


@functools.lru_cache(maxsize=256)  # the few names of the settings are taken apart at each connect
def parse_endpoint(host: str) -> Endpoint:
    """Take a host name apart; upper case and a trailing dot do not matter. Never raises."""
    plain = plain_host(host)
    if match := _RDS.fullmatch(plain):
        kind, region = _KIND_OF_PREFIX[match["prefix"]], match["region"] or match["region2"]
        if (kind is EndpointKind.GLOBAL) is (region == _OF_NO_REGION):
            region = "" if kind is EndpointKind.GLOBAL else region
            return Endpoint(plain, kind, match["name"], match["domain"], region)
    try:
        ip_address(plain)
    except ValueError:
        return Endpoint(plain, EndpointKind.OTHER)
    return Endpoint(plain, EndpointKind.IP)


def plain_host(host: str) -> str:
    """A host name as we compare it: in lower case, without a trailing dot."""
    return host.strip().rstrip(".").lower()


def without_blue_green(name: str) -> str:
    """The name of an instance or cluster, or its host name, without what a blue/green deployment has added to it."""
    first, dot, rest = name.partition(".")
    return _OLD.sub("", _GREEN.sub("", first)) + dot + rest


@dataclass(frozen=True, slots=True)
class HostPattern:
    """How an instance's id becomes its address: `?` stands for the id."""

    pattern: str
    port: int

    def address(self, instance_id: str, region: str = "") -> Address:
        """Of an instance in `region`, where one is told. In another region than its own an RDS name leads nowhere."""
        if region and parse_endpoint(self.pattern.replace("?", "x")).region not in ("", region):
            return _unknown(instance_id, region)
        return Address(self.pattern.replace("?", instance_id), self.port)


@dataclass(frozen=True, slots=True)
class RegionalPatterns(HostPattern):
    """A pattern for each region of a global database; `pattern` is for the others, and empty where there is none."""

    regional: tuple[tuple[str, HostPattern], ...]

    def address(self, instance_id: str, region: str = "") -> Address:
        for name, pattern in self.regional:
            if name == region:
                return pattern.address(instance_id)
        if not self.pattern:
            return _unknown(instance_id, region)
        return HostPattern.address(self, instance_id, region)


def _unknown(instance_id: str, region: str) -> Address:
    return Address(f"{instance_id}.{region}" if region else instance_id, 0)


def parse_host_pattern(text: str, default_port: int) -> HostPattern:
    """Read a `cluster_instance_host_pattern`, `?.<domain>` or `?.<domain>:<port>`.

    Raises ValueError with the reason when no instance could ever be reached through it.
    """
    host, colon, port_text = text.strip().partition(":")
    host = plain_host(host)
    if host.count("?") != 1:
        raise ValueError("it must contain exactly one '?', which stands for the instance id")
    if host == "?" or not re.fullmatch(r"[A-Za-z0-9_.-]*\?[A-Za-z0-9_.-]*", host):
        raise ValueError("it must be a host name such as '?.abc123.eu-west-1.rds.amazonaws.com'")
    kind = parse_endpoint(host.replace("?", "x")).kind
    if kind.is_rds and kind is not EndpointKind.INSTANCE:
        raise ValueError(f"it is the name of a {kind.value}; instances have no 'cluster-' or the like in their names")
    if not colon:
        return HostPattern(host, default_port)
    if not port_text.isdigit() or not 0 < int(port_text) < 65536:
        raise ValueError(f"the port {port_text!r} is not a number from 1 to 65535")
    return HostPattern(host, int(port_text))


_HOST = re.compile(r"(?P<host>[A-Za-z0-9_.-]+|\[[0-9A-Fa-f:.]+\])(?::(?P<port>[0-9]{1,5}))?")


def parse_hosts(value: object, default_port: int) -> tuple[Address, ...]:
    """Read `hosts`: names, each with a port or without, in a list or in one text with commas. None comes twice.

    Raises ValueError with the reason.
    """
    if isinstance(value, str):
        names: Iterable[object] = (name for name in value.split(",") if name.strip())
    elif isinstance(value, (list, tuple)):
        names = value
    else:
        raise ValueError(f"must be a list of names, not {value!r}")
    return tuple(dict.fromkeys(_parse_host(name, default_port) for name in names))


def _parse_host(name: object, default_port: int) -> Address:
    if not isinstance(name, str) or not name.strip():
        raise ValueError(f"{name!r} is no host name")
    text = name.strip()
    if text.count(":") > 1 and parse_endpoint(text).kind is EndpointKind.IP:
        return Address(text, default_port)
    if (match := _HOST.fullmatch(text)) is None:
        raise ValueError(f"{name!r} is no host name")
    port = int(match["port"] or default_port)
    if not 0 < port < 65536:
        raise ValueError(f"the port of {name!r} is not a number from 1 to 65535")
    return Address(plain_host(match["host"]).strip("[]"), port)


def default_host_pattern(endpoint: Endpoint, port: int) -> HostPattern | None:
    """The pattern that an RDS name implies; None where the user has to say it.

    A global database's endpoint does not: its instances are in several regions, each with a domain of its own.
    """
    if not endpoint.domain or endpoint.kind.hides_instances or endpoint.kind is EndpointKind.GLOBAL:
        return None
    return HostPattern(f"?.{endpoint.domain}", port)


def cluster_key(endpoint: Endpoint, port: int) -> str:
    """An id that is equal for the endpoints known to be of one cluster, and differs otherwise.

    The writer and reader endpoints of an RDS cluster share it; an instance endpoint does not say its cluster.
    """
    if endpoint.kind in (EndpointKind.CLUSTER, EndpointKind.READER):
        return f"{endpoint.name}.{endpoint.domain}:{port}"
    return f"{endpoint.host}:{port}"
