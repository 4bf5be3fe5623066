"""Which alias a query goes to: blocks, dynamic databases, reads and writes.

Never imports cluster/ or backends/: these choose a host for the alias.
"""

from .databases import in_database
from .errors import DatabaseNotActive
from .transactions import atomic, connection, current_alias, on_commit

__all__ = ["DatabaseNotActive", "atomic", "connection", "current_alias", "in_database", "on_commit"]
