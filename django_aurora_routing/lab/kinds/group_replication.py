"""Owns what MySQL Group Replication in single-primary mode answers beside MariaDB: its members, their states and roles.

There is no group behind it: the lab's own replication and promotions are what is told of.
"""

import re
import uuid

from .base import Kind, Member, Members, Substitution, derived_table, literal, table_pattern

GROUP_NAME = "aaaaaaaa-1111-2222-3333-444444444444"
_UUIDS = uuid.UUID("b0a7c0de-0000-4000-8000-000000000000")

_TABLES = table_pattern(b"performance_schema", b"replication_group_members", b"replication_group_member_stats")
_UUID = rb"@@(?:global\s*\.\s*)?`?(?P<variable>server_uuid)`?(?![\w$])"
_SHOW = rb"SHOW\s+(?:(?:GLOBAL|SESSION)\s+)?VARIABLES\s+WHERE\s+(?P<show>Variable_name\s+IN\s*\([^()]*\))"


def member_uuid(instance_id: str) -> str:
    """The `@@server_uuid` of an instance, which stays the same whatever becomes of its server."""
    return str(uuid.uuid5(_UUIDS, instance_id))


def _session(instance_id: str, members: Members) -> Substitution:
    def answer(match: "re.Match[bytes]") -> bytes:
        if match["variable"] is not None:
            return literal(member_uuid(instance_id))
        if match["show"] is not None:
            return _variables(match["show"])
        everyone = members()
        myself = next((member for member in everyone if member.id == instance_id), None)
        row = _stats if match["table"].lower().endswith(b"_stats") else _row
        return derived_table(match, [row(member, myself) for member in everyone])

    return Substitution(b"|".join((_SHOW, _TABLES, _UUID)), answer)


def _variables(condition: bytes) -> bytes:
    return (
        b"SELECT * FROM (SELECT 'group_replication_group_name' AS Variable_name, %s AS Value UNION ALL"
        b" SELECT LOWER(VARIABLE_NAME), VARIABLE_VALUE FROM information_schema.SESSION_VARIABLES) AS variables"
        b" WHERE %s" % (literal(GROUP_NAME), condition)
    )


def _row(member: Member, asked: Member | None) -> bytes:
    return (
        b"SELECT 'group_replication_applier' AS CHANNEL_NAME, %s AS MEMBER_ID, %s AS MEMBER_HOST, %d AS MEMBER_PORT,"
        b" %s AS MEMBER_STATE, %s AS MEMBER_ROLE, '8.0.36' AS MEMBER_VERSION"
    ) % (
        literal(member_uuid(member.id)),
        literal(member.host),
        member.port,
        literal(_state(member, asked)),
        literal("PRIMARY" if member.is_writer else "SECONDARY"),
    )


def _stats(member: Member, asked: Member | None) -> bytes:
    waiting = 0 if member.is_writer or member.lag_ms < 1000 else int(member.lag_ms)
    return b"SELECT %s AS MEMBER_ID, %d AS COUNT_TRANSACTIONS_REMOTE_IN_APPLIER_QUEUE" % (
        literal(member_uuid(member.id)),
        waiting,
    )


def _state(member: Member, asked: Member | None) -> str:
    """As the one that was asked sees it."""
    if member.state.isupper():
        return member.state  # as a test wants it
    is_apart = member is not asked and (member.is_cut_off or (asked is not None and asked.is_cut_off))
    return "UNREACHABLE" if is_apart or member.state != "running" else "ONLINE"


GROUP_REPLICATION = Kind(
    "group-replication", (b"replication_group_member", b"server_uuid", b"group_replication_group_name"), _session
)
