"""What a search for an instance comes to: a connection, or why there is none."""

from __future__ import annotations

from dataclasses import dataclass, field

from ..core.endpoints import Address
from ..core.regions import Duty
from ..drivers.base import Connection
from .pools import Seat


@dataclass(frozen=True, slots=True)
class Opened:
    """A connection, where it is, the generation of the cluster that it was made for, and what it is there for."""

    connection: Connection = field(repr=False)
    address: Address
    generation: int
    seat: Seat | None = None
    duty: Duty = Duty.READ


@dataclass(frozen=True, slots=True)
class Refused:
    """No connection. `error` is what prevented it when that says it all, else None."""

    reason: str
    error: BaseException | None
