"""MySQL Group Replication: a member that sees most of the group tells who is in it, and who its primary is.

https://dev.mysql.com/doc/refman/8.4/en/performance-schema-replication-group-members-table.html
"""

from __future__ import annotations

import math

from ..core.endpoints import Address, HostPattern
from ..core.rows import is_on, text
from ..core.topology import Instance, Observation, Role
from .base import Ask

_MEMBERS = "performance_schema.replication_group_members"
_TOPOLOGY = f"""
SELECT @@server_uuid, @@read_only, m.MEMBER_ID, m.MEMBER_HOST, m.MEMBER_PORT, m.MEMBER_STATE, m.MEMBER_ROLE,
       s.COUNT_TRANSACTIONS_REMOTE_IN_APPLIER_QUEUE
FROM {_MEMBERS} m
LEFT JOIN performance_schema.replication_group_member_stats s ON s.MEMBER_ID = m.MEMBER_ID
"""
# As observe() sees it, in one round trip: whether it is read-only, without most of the group, or not the first primary.
_REFUSES = f"""
SELECT @@read_only, NOT COALESCE((
    SELECT 2 * SUM(MEMBER_STATE IN ('ONLINE', 'RECOVERING')) > COUNT(*)
           AND MIN(CASE WHEN MEMBER_STATE = 'ONLINE' AND MEMBER_ROLE = 'PRIMARY' THEN MEMBER_ID END) = @@server_uuid
    FROM {_MEMBERS}), 0)
"""
_SEEN = ("ONLINE", "RECOVERING")


class GroupReplicationMySQL:
    """See `dialects.base.Dialect`.

    In multi-primary mode every member takes writes; the writer is the primary with the lowest MEMBER_ID, whoever is
    asked, and the others are readers.
    """

    name = "group-replication-mysql"
    is_cluster = True
    needs_pattern = False
    asks_everyone = False
    grants = f"SELECT ON {_MEMBERS} and performance_schema.replication_group_member_stats"

    def observe(self, ask: Ask, asked_at: Address, pattern: HostPattern | None) -> Observation:
        rows = ask(_TOPOLOGY)
        if not rows:
            return Observation("", True, ())
        own_id, read_only = text(rows[0][0]), is_on(rows[0][1])
        members = [(text(row[2]), text(row[3]), row[4], text(row[5]), text(row[6]), row[7]) for row in rows]
        if 2 * sum(state in _SEEN for _, _, _, state, _, _ in members) <= len(members):
            # Cut off from most of the group, it knows nothing of it. Of itself it does: it can commit no write now.
            return Observation(own_id, True, ())
        online = [member for member in members if member[3] == "ONLINE"]
        writer_id = min((ident for ident, _, _, _, role, _ in online if role == "PRIMARY"), default=None)
        instances = tuple(
            Instance(
                id=ident,
                address=Address(host, int(port)),
                role=Role.WRITER if ident == writer_id else Role.READER,
                # Transactions that wait are no seconds. Where none waits, none has been certified and not applied, as
                # far as the one who was asked has heard; how long ago it has, it does not say.
                lag=0.0 if ident == writer_id or waiting == 0 else math.inf,
            )
            for ident, host, port, _, _, waiting in online
        )
        return Observation(own_id, read_only or own_id != writer_id, instances)

    def refuses_writes(self, ask: Ask) -> bool:
        return any(map(is_on, ask(_REFUSES)[0]))
