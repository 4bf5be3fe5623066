"""Owns what an RDS Multi-AZ DB cluster answers beside MariaDB: its members, in `mysql.rds_topology`.

Who follows whom and how far behind, its servers say as any do, by SHOW REPLICA STATUS.
"""

import re

from .base import Kind, Member, Members, Substitution, derived_table, literal, table_pattern

_TABLE = table_pattern(b"mysql", b"rds_topology")
# In any statement that looks whether the table is there, and has a list of tables to look in.
_NAMES = rb"(?<![\w$.`])`?information_schema`?\s*\.\s*`?(?P<tables>tables)`?(?![\w$])"


def _session(instance_id: str, members: Members) -> Substitution:
    def answer(match: "re.Match[bytes]") -> bytes:
        if match["tables"] is not None:
            return b"(SELECT 'mysql' AS TABLE_SCHEMA, 'rds_topology' AS TABLE_NAME) AS tables"
        return derived_table(match, [_row(member) for member in members()])

    return Substitution(_TABLE + b"|" + _NAMES, answer)


def _row(member: Member) -> bytes:
    return b"SELECT %d AS id, %s AS endpoint, %d AS port" % (member.server_id, literal(member.host), member.port)


MULTI_AZ = Kind("multi-az", (b"rds_topology",), _session, ("--report-host=ip-10-0-0-1",))
