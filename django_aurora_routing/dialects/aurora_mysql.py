"""Aurora MySQL: its instances are in `information_schema.replica_host_status`."""

from __future__ import annotations

import math
from typing import Any

from ..core.endpoints import Address, HostPattern
from ..core.rows import is_on
from ..core.topology import Instance, Observation, Role, instance_at
from .base import Ask

# An instance that has not reported for 300 s has left (the AWS wrapper's limit); the writer's row always counts.
# https://docs.aws.amazon.com/AmazonRDS/latest/AuroraUserGuide/AuroraMySQL.Reference.ISTables.html
# How old a row is, is for the server to say: its clock may differ from ours.
_TOPOLOGY = """
SELECT @@aurora_server_id, @@innodb_read_only, SERVER_ID, SESSION_ID = 'MASTER_SESSION_ID', CPU,
       REPLICA_LAG_IN_MILLISECONDS, LAST_UPDATE_TIMESTAMP, TIMESTAMPDIFF(MICROSECOND, LAST_UPDATE_TIMESTAMP, NOW(6))
FROM information_schema.replica_host_status
WHERE time_to_sec(timediff(now(), LAST_UPDATE_TIMESTAMP)) <= 300 OR SESSION_ID = 'MASTER_SESSION_ID'
"""


class AuroraMySQL:
    """See `dialects.base.Dialect`."""

    name = "aurora-mysql"
    is_cluster = True
    needs_pattern = True
    asks_everyone = False
    grants = ""

    def observe(self, ask: Ask, asked_at: Address, pattern: HostPattern | None) -> Observation:
        rows = ask(_TOPOLOGY)
        if not rows:
            return Observation("", True, ())
        # During a failover two rows may call themselves the writer; the one that reported last is it.
        writers = sorted((row for row in rows if row[3]), key=lambda row: str(row[6]))
        writer_id = writers[-1][2] if writers else None
        instances = {
            str(row[2]): Instance(
                id=str(row[2]),
                address=instance_at(pattern, str(row[2]), asked_at),
                role=Role.WRITER if row[2] == writer_id else Role.READER,
                lag=math.inf if row[5] is None and row[2] != writer_id else float(row[5] or 0) / 1000,
                cpu=float(row[4] or 0),
                age=_age(lag=row[5], microseconds=row[7]),
            )
            for row in rows
        }
        return Observation(str(rows[0][0]), is_on(rows[0][1]), tuple(instances.values()))

    def refuses_writes(self, ask: Ask) -> bool:
        return is_on(ask("SELECT @@innodb_read_only")[0][0])


def _age(*, lag: Any, microseconds: Any) -> float:
    """Seconds since an instance reported. Unknown where its lag is, and where it says to have reported in the future.

    A clock or a time zone is wrong then, by how much nobody can tell.
    """
    if lag is None or microseconds is None or microseconds < 0:
        return math.inf
    return float(microseconds) / 1e6
