"""A plain primary with replicas, MySQL's or MariaDB's: each server tells of itself alone; `hosts` says who they are.

The writer is the one that takes writes and follows nobody, whoever has promoted it.
"""

from __future__ import annotations

import math
from dataclasses import replace

from ..core.endpoints import Address, HostPattern
from ..core.rows import is_on, text
from ..core.topology import Instance, Observation, Role
from .base import Ask
from .replica_status import GRANT, position, replica_status, statement_for


class ReplicationMySQL:
    """See `dialects.base.Dialect`."""

    name = "replication-mysql"
    is_cluster = True
    needs_pattern = False
    asks_everyone = True
    grants = GRANT

    def observe(self, ask: Ask, asked_at: Address, pattern: HostPattern | None) -> Observation:
        ((server_id, read_only, version),) = ask("SELECT @@server_id, @@read_only, @@version")
        server, refuses, version = str(server_id), is_on(read_only), text(version)
        status = replica_status(ask, statement_for(version))
        if not refuses and status is not None and status.is_running:
            remark = (
                f"{asked_at} is a replica that takes writes. It is not read from: what is written there by mistake is "
                "nowhere else. Set read_only = 1 on it."
            )
            return Observation(server, False, (), is_alone=True, remark=remark)
        if not refuses:
            instance = Instance(str(asked_at), asked_at, Role.WRITER, age=0.0, server=server)
        else:
            # How old the seconds are that a server is behind, it cannot know: they count from what it has received.
            # What it has applied is told by its position, once the writer's is known.
            lag = status.lag if status is not None else math.inf
            instance = Instance(str(asked_at), asked_at, Role.READER, lag=lag, server=server)
        at = position(ask, version, is_reader=refuses)
        return Observation(server, refuses, (replace(instance, position=at),), is_alone=True)

    def refuses_writes(self, ask: Ask) -> bool:
        return is_on(ask("SELECT @@read_only")[0][0])
