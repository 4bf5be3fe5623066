"""An Aurora MySQL global database: its instances are in `information_schema.aurora_global_db_instance_status`.

https://docs.aws.amazon.com/AmazonRDS/latest/AuroraUserGuide/AuroraMySQL.Reference.ISTables.html
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from ..core.endpoints import Address, HostPattern
from ..core.rows import is_on
from ..core.topology import Instance, Observation, Role, instance_at
from .aurora_mysql import AuroraMySQL
from .base import Ask

# These tables are in every Aurora MySQL from 3.04 on; a global database is one where they tell of several clusters.
_HAS_TABLES = """
SELECT table_name FROM information_schema.tables
WHERE UPPER(table_schema) = 'INFORMATION_SCHEMA'
AND UPPER(table_name) IN ('AURORA_GLOBAL_DB_STATUS', 'AURORA_GLOBAL_DB_INSTANCE_STATUS')
"""
_CLUSTERS = "SELECT COUNT(*) FROM information_schema.aurora_global_db_status"
# No column tells when an instance has reported, so nothing is ever proved by its lag.
_TOPOLOGY = """
SELECT @@aurora_server_id, @@innodb_read_only, SERVER_ID, SESSION_ID = 'MASTER_SESSION_ID', VISIBILITY_LAG_IN_MSEC,
       AWS_REGION
FROM information_schema.aurora_global_db_instance_status
"""


class GlobalAuroraMySQL(AuroraMySQL):
    """See `dialects.base.Dialect`."""

    name = "global-aurora-mysql"

    @staticmethod
    def is_spoken_by(ask: Ask) -> bool:
        """Whether a server of Aurora's is part of a global database."""
        return len(ask(_HAS_TABLES)) == 2 and int(ask(_CLUSTERS)[0][0]) > 1

    def observe(self, ask: Ask, asked_at: Address, pattern: HostPattern | None) -> Observation:
        rows = ask(_TOPOLOGY)
        if not rows:
            return Observation("", True, ())
        server_id, refuses_writes = str(rows[0][0]), is_on(rows[0][1])
        writers = {str(row[2]) for row in rows if row[3]}
        if len(writers) > 1:
            # In the middle of a switch there may be two, and nothing says which is the later: one knows it of itself.
            writers &= set() if refuses_writes else {server_id}
        instances = {str(row[2]): _instance(row, asked_at, pattern, writers) for row in rows}
        return Observation(server_id, refuses_writes, tuple(instances.values()))


def _instance(row: Sequence[Any], asked_at: Address, pattern: HostPattern | None, writers: set[str]) -> Instance:
    name, region = str(row[2]), str(row[5] or "").lower()
    is_writer = name in writers
    return Instance(
        id=name,
        address=instance_at(pattern, name, asked_at, region),
        role=Role.WRITER if is_writer else Role.READER,
        lag=math.inf if row[4] is None and not is_writer else max(0.0, float(row[4] or 0)) / 1000,
        region=region,
    )
