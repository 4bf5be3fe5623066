"""An RDS Multi-AZ DB cluster: its instances are in `mysql.rds_topology`, and each knows whom it follows."""

from __future__ import annotations

import math

from ..core.endpoints import Address, EndpointKind, HostPattern, parse_endpoint
from ..core.rows import Rows, is_on, text
from ..core.topology import Instance, Observation, Role
from .base import Ask
from .replica_status import GRANT, replica_status

# The table is there in blue/green deployments too, with other columns and rows.
_TOPOLOGY = "SELECT @@server_id AS own_id, @@read_only AS own_read_only, t.* FROM mysql.rds_topology t"
_COLUMNS = {"id", "endpoint", "port"}


class MultiAZMySQL:
    """See `dialects.base.Dialect`."""

    name = "multi-az-mysql"
    is_cluster = True
    needs_pattern = False
    asks_everyone = True  # each knows its own lag alone
    grants = f"SELECT ON mysql.rds_topology, and {GRANT}"

    @staticmethod
    def has_table(ask: Ask) -> bool:
        """Whether the server has a table by that name, which this account may read."""
        where = "table_schema = 'mysql' AND table_name = 'rds_topology'"
        return bool(ask(f"SELECT 1 FROM information_schema.tables WHERE {where}"))

    @staticmethod
    def is_in_table(ask: Ask) -> bool:
        """Whether it is the table of a cluster that the server is in."""
        rows = ask(_TOPOLOGY)
        if not isinstance(rows, Rows) or not _COLUMNS.issubset(map(str.lower, rows.names)):
            return False
        members = [row for row in rows.by_name if "BLUE_GREEN" not in text(row.get("role")).upper()]
        return any(int(row["id"]) == int(row["own_id"]) for row in members)

    def observe(self, ask: Ask, asked_at: Address, pattern: HostPattern | None) -> Observation:
        rows = ask(_TOPOLOGY)
        if not rows:
            return Observation("", True, ())
        assert isinstance(rows, Rows)
        members = rows.by_name
        own_id, refuses = int(members[0]["own_id"]), is_on(members[0]["own_read_only"])
        status = replica_status(ask) if refuses else None
        writer_id = own_id if not refuses else status.source_id if status is not None else None
        names = {int(row["id"]): _name(text(row["endpoint"])) for row in members}
        instances = []
        for row in members:
            number = int(row["id"])
            is_writer = number == writer_id
            lag = status.lag if status is not None and number == own_id else math.inf
            address = Address(text(row["endpoint"]), int(row["port"]))
            role = Role.WRITER if is_writer else Role.READER
            instances.append(Instance(names[number], address, role, lag=0.0 if is_writer else lag))
        return Observation(names.get(own_id, ""), refuses, tuple(instances), lags_of_all=False)

    def refuses_writes(self, ask: Ask) -> bool:
        return is_on(ask("SELECT @@read_only")[0][0])


def _name(endpoint: str) -> str:
    """What an instance is called: the first part of its endpoint."""
    return endpoint if parse_endpoint(endpoint).kind is EndpointKind.IP else endpoint.partition(".")[0]
