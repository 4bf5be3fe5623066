"""What a kind of cluster answers, and how to read it: pure functions from rows to observations."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol

from ..core.endpoints import Address, HostPattern
from ..core.topology import Observation

Ask = Callable[[str], Sequence[Sequence[Any]]]
"""Runs one statement on one server and returns its rows."""


class Dialect(Protocol):
    """One kind of cluster."""

    name: str
    is_cluster: bool

    def is_spoken_by(self, ask: Ask) -> bool:
        """Whether the server at the other end is of this kind."""

    def observe(self, ask: Ask, asked_at: Address, pattern: HostPattern | None) -> Observation:
        """What the server says about itself and its cluster, in one round trip."""

    def refuses_writes(self, ask: Ask) -> bool:
        """Whether the server is a reader now."""
