"""What a host name says about a cluster; owns addresses and instance host patterns, never resolves or connects."""

from __future__ import annotations

import enum
import re
from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import ip_address

DEFAULT_PORT = 3306


@dataclass(frozen=True, slots=True)
class Address:
    """Where a server listens."""

    host: str
    port: int = DEFAULT_PORT

    def __str__(self) -> str:
        return f"{self.host}:{self.port}"


class EndpointKind(enum.Enum):
    """What an RDS host name stands for; OTHER is any name that is not RDS's own (CNAME, localhost, ...)."""

    CLUSTER = "cluster endpoint"
    READER = "reader endpoint"
    CUSTOM = "custom endpoint"
    INSTANCE = "instance endpoint"
    PROXY = "RDS proxy"
    IP = "IP address"
    OTHER = "other host"


@dataclass(frozen=True, slots=True)
class Endpoint:
    """A host name taken apart. `domain` is the part all instances of the cluster share (RDS names only)."""

    host: str
    kind: EndpointKind
    name: str = ""
    domain: str = ""
    region: str = ""


# <name>.[cluster-|cluster-ro-|cluster-custom-|proxy-]<account>.<region>.rds.amazonaws.com, the China partition's
# two forms (…rds.amazonaws.com.cn and rds.<region>.amazonaws.com.cn) and the other partitions' suffixes.
_RDS = re.compile(
    r"^(?P<name>[^.]+)\.(?P<prefix>cluster-ro-|cluster-custom-|cluster-|proxy-)?"
    r"(?P<domain>(?P<account>[a-z0-9]+)\.(?:(?P<region>[a-z0-9-]+)\.rds|rds\.(?P<region2>[a-z0-9-]+))"
    r"\.(?:amazonaws\.com(?:\.cn)?|amazonaws\.eu|c2s\.ic\.gov|sc2s\.sgov\.gov|csp\.hci\.ic\.gov|cloud\.adc-e\.uk))$"
)
_KIND_OF_PREFIX = {
    "cluster-": EndpointKind.CLUSTER,
    "cluster-ro-": EndpointKind.READER,
    "cluster-custom-": EndpointKind.CUSTOM,
    "proxy-": EndpointKind.PROXY,
    None: EndpointKind.INSTANCE,
}


def parse_endpoint(host: str) -> Endpoint:
    """Take a host name apart; upper case and a trailing dot do not matter."""
    plain = host.strip().rstrip(".").lower()
    if match := _RDS.match(plain):
        return Endpoint(
            plain,
            _KIND_OF_PREFIX[match["prefix"]],
            match["name"],
            match["domain"],
            match["region"] or match["region2"],
        )
    try:
        ip_address(plain)
    except ValueError:
        return Endpoint(plain, EndpointKind.OTHER)
    return Endpoint(plain, EndpointKind.IP)


@dataclass(frozen=True, slots=True)
class HostPattern:
    """How an instance's id becomes its address: `?` stands for the id."""

    pattern: str
    port: int

    def address(self, instance_id: str) -> Address:
        return Address(self.pattern.replace("?", instance_id), self.port)


def parse_host_pattern(text: str, default_port: int) -> HostPattern:
    """Read a `cluster_instance_host_pattern`, `?.<domain>` or `?.<domain>:<port>`.

    Raises ValueError with the reason when no instance could ever be reached through it.
    """
    host, colon, port_text = text.strip().partition(":")
    if host.count("?") != 1:
        raise ValueError("it must contain exactly one '?', which stands for the instance id")
    if host == "?" or not re.fullmatch(r"[A-Za-z0-9_.-]*\?[A-Za-z0-9_.-]*", host):
        raise ValueError("it must be a host name such as '?.abc123.eu-west-1.rds.amazonaws.com'")
    if parse_endpoint(host.replace("?", "x")).kind in (
        EndpointKind.CLUSTER,
        EndpointKind.READER,
        EndpointKind.CUSTOM,
    ):
        raise ValueError("it names a cluster endpoint; instances are named without the 'cluster-' part")
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
    return Address(match["host"].strip("[]"), port)


def default_host_pattern(endpoint: Endpoint, port: int) -> HostPattern | None:
    """The pattern that an RDS name implies; None where the user has to say it."""
    if endpoint.domain and endpoint.kind is not EndpointKind.PROXY:
        return HostPattern(f"?.{endpoint.domain}", port)
    return None


def cluster_key(endpoint: Endpoint, port: int) -> str:
    """An id that is equal for the endpoints known to be of one cluster, and differs otherwise.

    The writer and reader endpoints of an RDS cluster share it; an instance endpoint does not say its cluster.
    """
    if endpoint.kind in (EndpointKind.CLUSTER, EndpointKind.READER):
        return f"{endpoint.name}.{endpoint.domain}:{port}"
    return f"{endpoint.host}:{port}"
