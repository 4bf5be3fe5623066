"""Which alias a query goes to: blocks, dynamic databases, reads and writes.

Never imports cluster/ or backends/: these choose a host for the alias.
"""

from .blocks import in_database
from .errors import DatabaseNotActive

__all__ = ["DatabaseNotActive", "in_database"]
