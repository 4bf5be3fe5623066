"""The errors the routing layer raises by itself; bad settings are Django's ImproperlyConfigured."""

from __future__ import annotations

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
