"""What a plugin may do: be called around connects and statements, and hear of a changed cluster. It owns no state."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from ..core.endpoints import Address
from ..core.topology import Topology

Execute = Callable[..., Any]
"""Runs a statement: `execute(sql, params, many, context)`."""


class Plugin:
    """Base of a plugin, one's own too: name it in OPTIONS["plugins"] by dotted path, or by an entry point.

    There is one object for each of Django's connections, and so for each alias and thread: it needs no lock, and what
    all threads shall share belongs to the class or the module. It is made at the connection's first use. Override
    what you need; what is not overridden is not called.
    """

    def __init__(self, alias: str) -> None:
        self.alias = alias

    def connect(self, address: Address, connect: Callable[[], Any]) -> Any:
        """Called around each connect to one instance; `connect()` returns the driver's connection.

        A failover may take several. An error of the driver means what it means without a plugin; any other goes to
        the application as it is.
        """
        return connect()

    def execute(self, execute: Execute, sql: Any, params: Any, many: bool, context: Mapping[str, Any]) -> Any:
        """Called around each statement: an execute wrapper of Django's, outside of all others.

        https://docs.djangoproject.com/en/stable/topics/db/instrumentation/ - What is sent again after a failover is
        one statement still.
        """
        return execute(sql, params, many, context)

    def topology_changed(self, topology: Topology) -> None:
        """Called at the first connect, and when the cluster has other members or roles since it was called last.

        In the connection's own thread, when it connects or at its next safe point; it may be about to move. Not called
        where there is no cluster. An exception is logged, and means nothing else.
        """
