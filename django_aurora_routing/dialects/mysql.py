"""A single MySQL or MariaDB server: nothing to choose between, nothing to fail over to."""

from __future__ import annotations

from ..core.endpoints import Address, HostPattern
from ..core.rows import is_on
from ..core.topology import Instance, Observation, Role
from .base import Ask


class SingleMySQL:
    """See `dialects.base.Dialect`."""

    name = "mysql"
    is_cluster = False
    needs_pattern = False
    asks_everyone = False
    grants = ""

    def observe(self, ask: Ask, asked_at: Address, pattern: HostPattern | None) -> Observation:
        return Observation(str(asked_at), False, (Instance(str(asked_at), asked_at, Role.WRITER),))

    def refuses_writes(self, ask: Ask) -> bool:
        return is_on(ask("SELECT @@read_only")[0][0])
