"""The monitors' own way to a server: a driver together with what it needs to log in."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ..core.endpoints import Address
from ..core.failures import Failure, classify_mysql
from ..drivers.base import Connection, Driver
from ..errors import LoginError
from .credentials import log_in


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
        return log_in(self.driver, address, params, timeout)

    def ask(self, connection: Connection, sql: str) -> Sequence[Sequence[Any]]:
        return self.driver.ask(connection, sql)

    def close(self, connection: Connection | None) -> None:
        if connection is not None:
            self.driver.close(connection)

    def failure(self, error: BaseException) -> Failure | None:
        """What an error of the driver or the network means for a monitor; None for a bug of ours."""
        if isinstance(error, OSError):
            return Failure.UNREACHABLE
        if isinstance(error, LoginError):
            return Failure.REFUSED
        facts = self.driver.facts(error)
        return None if facts is None else classify_mysql(facts, connecting=True)


@dataclass(frozen=True, slots=True)
class Links:
    """What one alias's credentials give to monitors: ways to the topology and to a host under suspicion.

    `connect_timeout` (seconds) is the alias's own; the first meeting with the cluster may take as long.
    """

    topology: Link
    hosts: Link
    connect_timeout: float
