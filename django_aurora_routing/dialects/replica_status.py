"""SHOW REPLICA STATUS: whom a server follows, and how far behind it is; the columns are found by their names.

MySQL and MariaDB have them in different orders, with more of them in each version, under old names and new ones.
https://dev.mysql.com/doc/refman/8.4/en/show-replica-status.html
https://mariadb.com/docs/server/reference/sql-statements/administrative-sql-statements/show/show-replica-status
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ..core.rows import Rows, text
from .base import Ask

SHOW = "SHOW REPLICA STATUS"
OLD_SHOW = "SHOW SLAVE STATUS"
_NEW_SINCE = {True: (10, 5, 1), False: (8, 0, 22)}  # MariaDB, MySQL

GRANT = "REPLICATION CLIENT (on MariaDB 10.5 and later SLAVE MONITOR)"


@dataclass(frozen=True, slots=True)
class ReplicaStatus:
    """Whom a server follows. `source_id` is that one's `@@server_id`, 0 before it has been connected to.

    `is_running`: it receives, or tries to. `lag` is in seconds, infinite where it is not known: while the server does
    not receive, or does not apply, NULL is what it says.
    """

    source_id: int
    is_running: bool
    lag: float


def is_mariadb(version: str) -> bool:
    return "mariadb" in version.lower()


def statement_for(version: str) -> str:
    """What a server of this `@@version` is asked by; newer ones of MySQL do not know the old statement any more."""
    numbers = tuple(int(number) for number in re.findall(r"[0-9]+", version)[:3])
    return SHOW if numbers >= _NEW_SINCE[is_mariadb(version)] else OLD_SHOW


def position(ask: Ask, version: str, *, is_reader: bool) -> str:
    """How far a server has come; empty where transactions have no global ids.

    For a writer, all that was acknowledged before the question; for a reader, what it has applied.
    """
    if is_mariadb(version):
        return text(ask(f"SELECT @@{'gtid_slave_pos' if is_reader else 'gtid_binlog_pos'}")[0][0])
    return text(ask("SELECT @@global.gtid_executed")[0][0])


def replica_status(ask: Ask, statement: str = SHOW) -> ReplicaStatus | None:
    """What the server says, or None where it follows nobody. With several sources, the lag is the longest."""
    rows = ask(statement)
    if not rows:
        return None
    assert isinstance(rows, Rows)
    sources = [_status(row) for row in rows.by_name]
    return ReplicaStatus(
        sources[0].source_id, any(source.is_running for source in sources), max(source.lag for source in sources)
    )


def _status(row: Mapping[str, Any]) -> ReplicaStatus:
    def column(new: str, old: str) -> Any:
        return row[new] if new in row else row[old]

    lag = column("seconds_behind_source", "seconds_behind_master")
    receives = text(column("replica_io_running", "slave_io_running"))
    return ReplicaStatus(
        source_id=int(column("source_server_id", "master_server_id") or 0),
        is_running=receives.lower() != "no",  # "Connecting", or MariaDB's "Preparing", is a source that is away
        lag=math.inf if lag is None else float(lag),
    )
