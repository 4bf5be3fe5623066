"""Where a connection goes that is no failover's: the plugin `initial_connection`, from its options and HOST's name."""

from __future__ import annotations

import enum
from collections.abc import Collection
from dataclasses import dataclass, field

from .endpoints import Address, EndpointKind, parse_endpoint
from .option_values import Given
from .topology import Role, Topology

PLUGIN = "initial_connection"


class Substitution(enum.Enum):
    """What takes the place of HOST: an instance of this role, any, or (NONE) nothing, so that HOST itself is used."""

    WRITER = "writer"
    READER = "reader"
    ANY = "any"
    NONE = "none"


@dataclass(frozen=True, slots=True)
class Start:
    """What a new connection is to be. `role` None: what `failover_mode` wants.

    `verified` is the role that HOST's server must have where HOST itself is used, None for any. `is_asked`: whether an
    instance that was chosen is asked for its role.
    """

    role: Substitution | None = None
    verified: Role | None = None
    is_asked: bool = True


AS_AFTER_A_FAILOVER = Start()
_LOCALHOST = Address("localhost")


@dataclass(frozen=True, slots=True)
class InitialConnection:
    """The options of the plugin. Times in seconds; None for a time is for what holds without it.

    `inactive` is for `host` being the writer endpoint of a cluster whose writer is in another region.
    """

    host: Address = field(default=_LOCALHOST, compare=False)
    start: Start = AS_AFTER_A_FAILOVER
    inactive: Start = AS_AFTER_A_FAILOVER
    strategy: str | None = None
    retry_timeout: float | None = None
    retry_interval: float = 1.0
    topology_wait: float | None = None


PLAIN = InitialConnection()


def start_of(initial: InitialConnection, topology: Topology) -> Start:
    """What a new connection is to be, now that the cluster is known."""
    host, primary = parse_endpoint(initial.host.host), topology.primary_region
    is_inactive = host.kind is EndpointKind.CLUSTER and bool(primary and host.region) and primary != host.region
    return initial.inactive if is_inactive else initial.start


def read_initial(given: Given, plugins: Collection[str], host: Address) -> InitialConnection:
    """What the options say; nothing where the plugin is not named."""
    if PLUGIN not in plugins:
        return InitialConnection(host)

    def seconds(name: str) -> float | None:
        return None if given.of(name) is None else given.number(name) or None

    role, verified = given.text("endpoint_substitution_role"), given.text("verify_opened_connection_type")
    if role in ("writer", "reader") and verified not in (None, "none", role):
        setting = "OPTIONS['verify_opened_connection_type']"
        given.say(setting, f"{verified!r} contradicts OPTIONS['endpoint_substitution_role'], which is {role!r}.")
    kind = parse_endpoint(host.host).kind
    of_inactive = given.text("inactive_cluster_writer_endpoint_substitution_role")
    verify_inactive = "verify_inactive_cluster_writer_endpoint_connection_type"
    if of_inactive == "none":  # HOST itself: only who says so expects a writer where there is none
        inactive = Start(Substitution.NONE, Role.WRITER if given.values.get(verify_inactive) == "writer" else None)
    else:
        inactive = Start(is_asked=given.text(verify_inactive) != "none")
    return InitialConnection(
        host,
        start=_start(role, verified, kind),
        inactive=inactive,
        strategy=given.text("initial_connection_host_selector_strategy"),
        retry_timeout=seconds("open_connection_retry_timeout_ms"),
        retry_interval=given.number("open_connection_retry_interval_ms"),
        topology_wait=seconds("wait_for_initial_topology_ms"),
    )


def _start(role: str | None, verified: str | None, kind: EndpointKind) -> Start:
    """Where nothing is said of it, the kind of HOST tells which role HOST's own server has to have."""
    if role == "none":
        if verified is None and kind in (EndpointKind.CLUSTER, EndpointKind.GLOBAL):
            verified = "writer"
        elif verified is None and kind is EndpointKind.READER:
            verified = "reader"
        return Start(Substitution.NONE, None if verified in (None, "none") else Role(verified))
    if role in (None, "any") and verified in ("writer", "reader"):
        role = verified  # whoever has to have it is chosen by it
    return Start(None if role is None else Substitution(role), None, verified != "none")
