"""The access mode of a session: READ ONLY where OPTIONS["read_only"] or the code that runs wants it, else READ WRITE.

It is sent when it changes and never inside a transaction, which keeps the mode that it began with.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from ..core.options import Options
from .lost import LostConnection
from .phases import InPhase, Phase

if TYPE_CHECKING:
    from django.db.backends.base.base import BaseDatabaseWrapper as _Base
else:
    _Base = object


class ReadOnlySessionMixin(_Base):
    """Over a Django `DatabaseWrapper`."""

    _options: Options
    driver: Any
    phase: Phase
    access_mode_sql = "SET SESSION TRANSACTION READ %s"

    wants_read_only: Callable[[], bool] | None = None
    """Whether the code that runs may not write; set from outside, by whoever knows."""
    session_is_read_only = False
    """As the server has it for the driver's present connection."""

    def is_read_only_wanted(self) -> bool:
        return self._options.read_only or (self.wants_read_only is not None and self.wants_read_only())

    def follow_read_only(self) -> None:
        """Give the session the mode that is wanted, unless a transaction is open or there is no session yet."""
        if self.connection is None or self.in_atomic_block or not self.autocommit or self.phase is Phase.CONNECT:
            return
        wanted = self.is_read_only_wanted()
        if wanted is self.session_is_read_only or isinstance(self.connection, LostConnection):
            return
        # Should the connection turn out to be lost, what was to come has not been sent, as with a BEGIN.
        with InPhase(self, Phase.BEGIN), self.wrap_database_errors:
            self.driver.ask(self.connection, self.access_mode_sql % ("ONLY" if wanted else "WRITE"))
        self.session_is_read_only = wanted
