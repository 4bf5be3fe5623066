"""Django on a database cluster: routing, failover and reader selection. The public names are here; see the docs."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .cluster.registry import release_resources
    from .errors import (
        FailoverError,
        FailoverFailedError,
        FailoverSuccessError,
        TransactionResolutionUnknownError,
    )
    from .routing import atomic, connection, current_alias, in_database, on_commit
    from .routing.explain import explain_route
    from .routing.stale_writes import StaleWrite, lock_for_write

__all__ = [
    "FailoverError",
    "FailoverFailedError",
    "FailoverSuccessError",
    "StaleWrite",
    "TransactionResolutionUnknownError",
    "atomic",
    "connection",
    "current_alias",
    "explain_route",
    "in_database",
    "lock_for_write",
    "on_commit",
    "release_resources",
]
__version__ = "0.1.0"

_HOMES = {
    "atomic": ".routing",
    "connection": ".routing",
    "current_alias": ".routing",
    "explain_route": ".routing.explain",
    "in_database": ".routing",
    "lock_for_write": ".routing.stale_writes",
    "on_commit": ".routing",
    "release_resources": ".cluster.registry",
    "FailoverError": ".errors",
    "FailoverFailedError": ".errors",
    "FailoverSuccessError": ".errors",
    "StaleWrite": ".routing.stale_writes",
    "TransactionResolutionUnknownError": ".errors",
}


def __getattr__(name: str) -> Any:
    """Import on first use, so that the package costs nothing in INSTALLED_APPS, and `lab` needs no Django."""
    if (home := _HOMES.get(name)) is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = globals()[name] = getattr(import_module(home, __name__), name)
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
