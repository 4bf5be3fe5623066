"""What the rest of the house needs of a database driver: ten methods, and nothing of Django."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

from ..core.endpoints import Address
from ..core.failures import ErrorFacts
from ..core.rows import Rows

Look = Callable[[int], Sequence[tuple[int, int]]]
"""Called with 0, says whether the other end of a socket has hung up: something if so, and nothing if not."""

Connection = Any
"""A driver's own connection object; only its driver module looks inside."""

SETUP = "aurora_setup"
"""The name that a statement for a new session has among the arguments of a connection; `connect()` takes it out."""


class Driver(Protocol):
    """One driver. Stateless: one instance serves all threads."""

    def connect(self, address: Address, params: Mapping[str, Any], timeout: float) -> Connection:
        """Open a session within about `timeout` seconds, login included. Raises the driver's own errors.

        A statement in `params[SETUP]` is run there, if that costs no round trip more, and again by each `reset()`.
        `setup_of()` tells whether it was.
        """

    def setup_of(self, connection: Connection) -> str:
        """The statement that was run as the session was opened or reset last; empty if there was none."""

    def ask(self, connection: Connection, sql: str, timeout: float | None = None) -> Rows:
        """Run one statement of ours and return its rows. Raises the driver's own errors.

        After `timeout` seconds the connection is shut down and as good as lost; None waits as the connection does.
        """

    def reset(self, connection: Connection, params: Mapping[str, Any], timeout: float) -> None:
        """Make a session as it was when it was opened with these arguments, within about `timeout` seconds.

        The server ends its transaction and forgets all that belongs to the session but for the default database and the
        role. Raises the driver's own errors; the session is of no more use then.
        """

    def close(self, connection: Connection) -> None:
        """Close, whatever state it is in. Raises nothing."""

    def abort(self, connection: Connection, *, only_here: bool = False) -> bool:
        """End a blocked call from another thread, by shutting the socket down. False when that cannot be done.

        `only_here` is for a connection that a parent process made before a fork: this process lets go of the socket,
        so that nothing it does with the connection, not even closing it, reaches the server.
        """

    def is_out_of_step(self, connection: Connection) -> bool:
        """Whether a call was left before its answer had been read, so that the next one would get it for its own."""

    def look(self, connection: Connection) -> Look:
        """What tells whether an idle connection has ended, here or at the server: nothing sent on it would be done.

        A look at the socket without waiting; it sees nothing where that cannot be told.
        """

    def never_sent(self) -> BaseException:
        """The driver's error for a statement that was not sent, since the connection is hung up; `facts` tells so."""

    def facts(self, error: BaseException) -> ErrorFacts | None:
        """What an exception tells, or None for one that is not the driver's."""
