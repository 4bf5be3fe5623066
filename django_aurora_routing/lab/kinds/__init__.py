"""Owns the table of the kinds of cluster that the lab can be; a module each for what their servers answer."""

from ..errors import LabError
from .aurora import AURORA
from .base import Kind
from .global_database import GLOBAL_DATABASE
from .group_replication import GROUP_REPLICATION
from .multi_az import MULTI_AZ

REPLICATION = Kind("replication")
"""A plain primary and its replicas: MariaDB as it is. Nothing but the servers themselves tells of it."""

KINDS = {kind.name: kind for kind in (AURORA, GLOBAL_DATABASE, MULTI_AZ, REPLICATION, GROUP_REPLICATION)}


def find_kind(name: str) -> Kind:
    """The kind of that name. Raises LabError."""
    try:
        return KINDS[name]
    except KeyError:
        raise LabError(f"No kind of cluster is named {name!r}; there are {', '.join(KINDS)}.") from None
