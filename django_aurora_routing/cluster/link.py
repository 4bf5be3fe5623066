"""The monitors' own way to a server: a driver together with what it needs to log in."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ..core.endpoints import Address
from ..drivers.base import Connection, Driver


@dataclass(frozen=True, slots=True)
class Link:
    """Opens sessions with one set of credentials. `params` holds a password and is kept out of the repr.

    A `connect_timeout` in `params` (`monitoring-connect_timeout` in OPTIONS, in seconds) shortens the monitors' own.
    """

    driver: Driver
    params: Mapping[str, Any] = field(repr=False)

    def open(self, address: Address, timeout: float) -> Connection:
        params = dict(self.params)
        for name in ("connect_timeout", "connection_timeout"):
            timeout = min(timeout, float(params.pop(name, timeout)))
        return self.driver.connect(address, params, timeout)

    def ask(self, connection: Connection, sql: str) -> Sequence[Sequence[Any]]:
        return self.driver.ask(connection, sql)

    def close(self, connection: Connection | None) -> None:
        if connection is not None:
            self.driver.close(connection)

    def is_error(self, error: BaseException) -> bool:
        """Whether the driver or the network raised it, as opposed to a bug of ours."""
        return isinstance(error, OSError) or self.driver.facts(error) is not None


@dataclass(frozen=True, slots=True)
class Links:
    """The two ways that one alias's credentials give to monitors: to the topology, and to a host under suspicion."""

    topology: Link
    hosts: Link
