"""What a kind of cluster answers, and how to read it: pure functions from rows to observations."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol

from ..core.endpoints import Address, HostPattern
from ..core.topology import Observation

Ask = Callable[[str], Sequence[Sequence[Any]]]
"""Runs one statement on one server and returns its rows, which are `core.rows.Rows` where names are needed."""


class Dialect(Protocol):
    """One kind of cluster.

    `needs_pattern`: its instances are told by id, and a host pattern makes addresses of ids. `asks_everyone`: each
    instance has to be asked for what it alone knows. `grants` is what the account must be allowed to ask it.
    """

    name: str
    is_cluster: bool
    needs_pattern: bool
    asks_everyone: bool
    grants: str

    def observe(self, ask: Ask, asked_at: Address, pattern: HostPattern | None) -> Observation:
        """What the server says about itself and its cluster, in one round trip, or two."""

    def refuses_writes(self, ask: Ask) -> bool:
        """Whether the server is a reader now, in one round trip."""
