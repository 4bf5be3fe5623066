"""The monitors' own way to a server: a driver together with what it needs to log in."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ..core.endpoints import Address
from ..core.failures import TLS_ERROR, Failure, classify_mysql, is_forbidden
from ..core.rows import Rows
from ..drivers.base import Connection, Driver
from ..errors import LoginError, NoCredentialsError
from .credentials import knock, log_in


@dataclass(frozen=True, slots=True)
class Link:
    """Opens sessions with one set of credentials. `params` holds a password and is kept out of the repr.

    A `connect_timeout` in `params` (`monitoring-connect_timeout` in OPTIONS, in seconds) shortens the monitors' own.
    """

    driver: Driver
    params: Mapping[str, Any] = field(repr=False)

    def open(self, address: Address, timeout: float) -> Connection:
        return log_in(self.driver, address, self._arguments(), self.limited(timeout))

    def knock(self, address: Address, timeout: float) -> None:
        """Return, or raise what the server says, whether or not there are credentials for it."""
        self.close(knock(self.driver, address, self._arguments(), self.limited(timeout)))

    def _arguments(self) -> dict[str, Any]:
        return {name: value for name, value in self.params.items() if name != "connect_timeout"}

    def limited(self, timeout: float) -> float:
        """What `open()` makes of a time limit."""
        return min(timeout, float(self.params.get("connect_timeout", timeout)))

    def ask(self, connection: Connection, sql: str) -> Rows:
        return self.driver.ask(connection, sql)

    def close(self, connection: Connection | None) -> None:
        if connection is not None:
            self.driver.close(connection)

    def failure(self, error: BaseException) -> Failure | None:
        """What an error of the driver or the network means for a monitor; None for a bug of ours."""
        if isinstance(error, OSError):
            return Failure.UNREACHABLE
        if isinstance(error, NoCredentialsError):
            return Failure.NO_CREDENTIALS
        if isinstance(error, LoginError):
            return Failure.REFUSED
        facts = self.driver.facts(error)
        return None if facts is None else classify_mysql(facts, connecting=True)

    def is_forbidden(self, error: BaseException) -> bool:
        """Whether a question was refused for what the account may do."""
        facts = self.driver.facts(error)
        return facts is not None and is_forbidden(facts)

    def is_about_tls(self, error: BaseException) -> bool:
        """Whether it was the encryption that failed, of which there is none before the server has greeted."""
        facts = self.driver.facts(error)
        return facts is not None and facts.errno == TLS_ERROR


@dataclass(frozen=True, slots=True)
class Links:
    """What one alias's credentials give to monitors: ways to the topology and to a host under suspicion.

    `connect_limit` (seconds) is the alias's own; the first meeting with the cluster may take as long.
    """

    topology: Link
    hosts: Link
    connect_limit: float
