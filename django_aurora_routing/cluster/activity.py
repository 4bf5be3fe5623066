"""What one Django connection is doing: written by its thread, read by the host monitor."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..core.endpoints import Address

if TYPE_CHECKING:
    from .connector import Search
    from .host_monitor import HostMonitor


class Activity:
    """Two marks that cost nothing to set: `calls` tells one driver call from the next, `busy` whether one is running.

    No clock is read on the way; the monitor takes the time by seeing the same call twice. `inherited` says that the
    connection was made by a parent process before a fork. `heading` is where it is connecting to: what others count
    must not be as it was before they all chose.
    """

    __slots__ = (
        *("__weakref__", "address", "busy", "calls", "connection"),
        *("heading", "inherited", "monitor", "search"),
    )

    def __init__(self) -> None:
        self.monitor: HostMonitor | None = None
        self.calls = 0
        self.busy = False
        self.address: Address | None = None
        self.heading: Address | None = None
        self.connection: Any = None
        self.search: Search | None = None
        self.inherited = False

    @property
    def counts_for(self) -> Address | None:
        """The instance that has this connection, or is about to."""
        return self.heading or (self.address if self.connection is not None else None)

    def is_still_in(self, call: int, connection: object) -> bool:
        """Whether the driver call seen earlier has not returned yet."""
        return self.busy and self.calls == call and self.connection is connection
