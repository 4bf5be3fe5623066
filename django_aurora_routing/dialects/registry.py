"""Finds the dialect of a server, with as few questions as it takes."""

from __future__ import annotations

from ..core.rows import text
from .aurora_mysql import AuroraMySQL
from .base import Ask, Dialect
from .global_aurora_mysql import GlobalAuroraMySQL
from .group_replication import GroupReplicationMySQL
from .multi_az import MultiAZMySQL
from .mysql import SingleMySQL
from .replication import ReplicationMySQL

_ALL: tuple[Dialect, ...] = (
    AuroraMySQL(),
    GlobalAuroraMySQL(),
    MultiAZMySQL(),
    GroupReplicationMySQL(),
    ReplicationMySQL(),
    SingleMySQL(),
)
_BY_NAME: dict[str, Dialect] = {dialect.name: dialect for dialect in _ALL} | {"rds-mysql": SingleMySQL()}

_VARIABLES = """
SHOW VARIABLES WHERE Variable_name IN ('aurora_version', 'group_replication_group_name', 'report_host')
"""


def find_dialect(name: str | None, ask: Ask, *, lists_instances: bool = False) -> Dialect:
    """The dialect named by `wrapper_dialect`, or the one that the server at the other end of `ask` speaks.

    That takes one question, and one or two more on Aurora, or where a server has a name for others to see, as on RDS.
    What is none of a cluster that tells of itself is one of the plain servers that the settings list, or a single one.
    """
    return _BY_NAME[name or _detected(ask, lists_instances)]


def _detected(ask: Ask, lists_instances: bool) -> str:
    variables = {text(variable).lower(): text(value) for variable, value in ask(_VARIABLES)}
    if variables.get("aurora_version"):
        return GlobalAuroraMySQL.name if GlobalAuroraMySQL.is_spoken_by(ask) else AuroraMySQL.name
    if variables.get("group_replication_group_name"):
        return GroupReplicationMySQL.name
    if variables.get("report_host") and MultiAZMySQL.has_table(ask) and MultiAZMySQL.is_in_table(ask):
        return MultiAZMySQL.name
    return ReplicationMySQL.name if lists_instances else SingleMySQL.name
