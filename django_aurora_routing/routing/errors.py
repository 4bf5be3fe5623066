"""The errors the routing layer raises by itself; bad settings are Django's ImproperlyConfigured."""

from __future__ import annotations

from django.db import OperationalError, ProgrammingError
from django.utils.connection import ConnectionDoesNotExist


class DatabaseNotActive(ConnectionDoesNotExist):
    """A dynamic database was asked for after the last `in_database({...})` block for it had ended.

    It comes from objects and aliases that outlive their block. Django would say only that the connection does
    not exist; code that catches that catches this.
    """

    def __init__(self, alias: str) -> None:
        self.alias = alias
        super().__init__(
            f"{alias!r} belongs to an in_database({{...}}) block that has ended: "
            "use the objects read in the block inside it, or enter a block with the same configuration again."
        )


class NoReaderAvailable(OperationalError):
    """No reader of the cluster is fit, and AURORA_ROUTING["ON_NO_READER"] is "error"."""

    def __init__(self, cluster: str, readers: tuple[str, ...], max_lag: float | None) -> None:
        within = f" within {max_lag} s of the writer" if max_lag is not None else ""
        super().__init__(
            f"None of the readers of cluster {cluster!r} ({', '.join(readers)}) can be used{within}; "
            "AURORA_ROUTING['ON_NO_READER'] = 'writer' would read from the writer."
        )


class RoutingLocked(RuntimeError):
    """A block inside `in_database(..., lock=True)` would route elsewhere."""

    def __init__(self, inner: object, locked_by: object) -> None:
        super().__init__(f"{inner!r} would leave {locked_by!r}, which locks the routing of everything inside it.")


class WritePrevented(ProgrammingError):
    """A statement that writes, locks, or may do so, was not sent: on a reader, or inside `prevent_writes()`.

    A ProgrammingError, as the code is wrong and not the database: what repeats work after an OperationalError would
    only fail again. The message shows the statement's first words and never a value.
    """

    def __init__(self, message: str, *, alias: str, model: str | None = None) -> None:
        self.alias = alias
        self.model = model
        super().__init__(message)
