"""Owns what an Aurora global database answers beside what Aurora does: its clusters and instances, each in its region.

A promotion of an instance in another region is the switchover to that region. Nothing is forwarded from its readers:
a MariaDB replica cannot.
"""

import re
from collections.abc import Sequence

from .aurora import Rewriter, Session
from .base import Kind, Member, Members, Substitution, derived_table, literal, table_pattern

REGIONS = ("eu-west-1", "us-east-1")


def region_of(instance_id: str) -> str:
    """The region of an instance: they take turns, and the first writer is in the first region."""
    return REGIONS[(int(instance_id) - 11) % len(REGIONS)]


_TABLES = table_pattern(b"information_schema", b"aurora_global_db_status", b"aurora_global_db_instance_status")
# In a statement that looks whether those tables are there.
_NAMES = rb"(?<![\w$.`])`?information_schema`?\s*\.\s*`?(?P<tables>tables)`?(?![\w$])"
_THERE = b" UNION ALL ".join(
    b"SELECT 'information_schema' AS TABLE_SCHEMA, '%s' AS TABLE_NAME" % name
    for name in (b"aurora_global_db_status", b"aurora_global_db_instance_status")
)


class GlobalSession(Session):
    """One client's statements."""

    __slots__ = ("_tables",)

    def __init__(self, instance_id: str, members: Members) -> None:
        super().__init__(Rewriter(instance_id, members=lambda: _own_region(instance_id, members())))

        def answer(match: "re.Match[bytes]") -> bytes:
            if match["tables"] is not None:
                return b"(%s) AS tables" % _THERE if b"aurora_global_db" in match.string.lower() else match[0]
            everyone = members()
            if match["table"].lower().endswith(b"instance_status"):
                return derived_table(match, [_instance(member) for member in everyone])
            return derived_table(match, [_cluster(region) for region in sorted({region_of(m.id) for m in everyone})])

        self._tables = Substitution(_TABLES + b"|" + _NAMES, answer)

    def rewrite(self, statement: bytes) -> bytes:
        """As Aurora's, once the tables of a global database are filled in."""
        return super().rewrite(self._tables.rewrite(statement))


def _own_region(instance_id: str, members: Sequence[Member]) -> list[Member]:
    """Those that are in one cluster with the instance: each region has its own `replica_host_status`."""
    return [member for member in members if region_of(member.id) == region_of(instance_id)]


def _instance(member: Member) -> bytes:
    return (
        b"SELECT %s AS SERVER_ID, %s AS SESSION_ID, %s AS AWS_REGION, 0 AS DURABLE_LSN, 0 AS HIGHEST_LSN_RCVD,"
        b" 0 AS OLDEST_READ_VIEW_TRX_ID, 0 AS OLDEST_READ_VIEW_LSN, %.3fE0 AS VISIBILITY_LAG_IN_MSEC"
    ) % (
        literal(member.id),
        literal("MASTER_SESSION_ID" if member.is_writer else member.session_id),
        literal(region_of(member.id)),
        member.lag_ms,
    )


def _cluster(region: str) -> bytes:
    return b"SELECT %s AS AWS_REGION, 0 AS HIGHEST_LSN_WRITTEN, 0 AS DURABILITY_LAG_IN_MILLISECONDS" % literal(region)


GLOBAL_DATABASE = Kind("global", (b"aurora", b"innodb_read_only", b"replica_host_status"), GlobalSession)
