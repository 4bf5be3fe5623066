"""What one Django connection is doing: written by its thread, read by the host monitor."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..core.endpoints import Address

if TYPE_CHECKING:
    from .host_monitor import HostMonitor


class Activity:
    """Two marks that cost nothing to set: `calls` tells one driver call from the next, `busy` whether one is running.

    No clock is read on the way; the monitor takes the time by seeing the same call twice. `inherited` says that the
    connection was made by a parent process before a fork.
    """

    __slots__ = ("__weakref__", "address", "busy", "calls", "connection", "inherited", "monitor")

    def __init__(self) -> None:
        self.monitor: HostMonitor | None = None
        self.calls = 0
        self.busy = False
        self.address: Address | None = None
        self.connection: Any = None
        self.inherited = False

    def is_still_in(self, call: int, connection: object) -> bool:
        """Whether the driver call seen earlier has not returned yet."""
        return self.busy and self.calls == call and self.connection is connection
