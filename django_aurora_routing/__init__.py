"""Django on a database cluster: routing, failover and reader selection. The public names are here; see the docs."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .backends.observing import cluster_for
    from .cluster.registry import release_resources
    from .errors import (
        FailoverError,
        FailoverFailedError,
        FailoverSuccessError,
        LoginError,
        NoCredentialsError,
        PoolExhaustedError,
        TransactionResolutionUnknownError,
    )
    from .retries.requests import safe_to_retry
    from .retries.transactions import retry_on_failover
    from .routing import atomic, connection, current_alias, in_database, on_commit
    from .routing.blocks import in_reader, in_writer, prevent_writes
    from .routing.errors import DatabaseNotActive, NoReaderAvailable, RoutingLocked, WritePrevented
    from .routing.explain import explain_route
    from .routing.scopes import current_scope, mark_written, scope, unpin
    from .routing.stale_writes import StaleWrite, lock_for_write
    from .routing.tokens import apply_token, token

__all__ = [
    "DatabaseNotActive",
    "FailoverError",
    "FailoverFailedError",
    "FailoverSuccessError",
    "LoginError",
    "NoCredentialsError",
    "NoReaderAvailable",
    "PoolExhaustedError",
    "RoutingLocked",
    "StaleWrite",
    "TransactionResolutionUnknownError",
    "WritePrevented",
    "apply_token",
    "atomic",
    "cluster_for",
    "connection",
    "current_alias",
    "current_scope",
    "explain_route",
    "in_database",
    "in_reader",
    "in_writer",
    "lock_for_write",
    "mark_written",
    "on_commit",
    "prevent_writes",
    "release_resources",
    "retry_on_failover",
    "safe_to_retry",
    "scope",
    "token",
    "unpin",
]
__version__ = "0.1.0"

_HOMES = {
    "apply_token": ".routing.tokens",
    "atomic": ".routing",
    "cluster_for": ".backends.observing",
    "connection": ".routing",
    "current_alias": ".routing",
    "current_scope": ".routing.scopes",
    "explain_route": ".routing.explain",
    "in_database": ".routing",
    "in_reader": ".routing.blocks",
    "in_writer": ".routing.blocks",
    "lock_for_write": ".routing.stale_writes",
    "mark_written": ".routing.scopes",
    "on_commit": ".routing",
    "prevent_writes": ".routing.blocks",
    "release_resources": ".cluster.registry",
    "retry_on_failover": ".retries.transactions",
    "safe_to_retry": ".retries.requests",
    "scope": ".routing.scopes",
    "token": ".routing.tokens",
    "unpin": ".routing.scopes",
    "DatabaseNotActive": ".routing.errors",
    "FailoverError": ".errors",
    "FailoverFailedError": ".errors",
    "FailoverSuccessError": ".errors",
    "LoginError": ".errors",
    "NoCredentialsError": ".errors",
    "NoReaderAvailable": ".routing.errors",
    "PoolExhaustedError": ".errors",
    "RoutingLocked": ".routing.errors",
    "StaleWrite": ".routing.stale_writes",
    "TransactionResolutionUnknownError": ".errors",
    "WritePrevented": ".routing.errors",
}


def __getattr__(name: str) -> Any:
    """Import on first use, so that the package costs nothing in INSTALLED_APPS, and `lab` needs no Django."""
    if (home := _HOMES.get(name)) is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = globals()[name] = getattr(import_module(home, __name__), name)
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
