"""What tests of a project with readers need; every name is imported at its first use."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .cases import RoutingTestMixin, own_scope
    from .faults import cut_connections, failing_connects, failing_statements
    from .readers import mirror_readers, observed_lag, stale_readers
    from .routes import assert_no_writes, assert_num_queries_by_alias, assert_routed_to, capture_routes

_HOMES = {
    "RoutingTestMixin": ".cases",
    "assert_no_writes": ".routes",
    "assert_num_queries_by_alias": ".routes",
    "assert_routed_to": ".routes",
    "capture_routes": ".routes",
    "cut_connections": ".faults",
    "failing_connects": ".faults",
    "failing_statements": ".faults",
    "mirror_readers": ".readers",
    "observed_lag": ".readers",
    "own_scope": ".cases",
    "stale_readers": ".readers",
}

__all__ = [
    "RoutingTestMixin",
    "assert_no_writes",
    "assert_num_queries_by_alias",
    "assert_routed_to",
    "capture_routes",
    "cut_connections",
    "failing_connects",
    "failing_statements",
    "mirror_readers",
    "observed_lag",
    "own_scope",
    "stale_readers",
]


def __getattr__(name: str) -> Any:
    """Import on first use: the pytest plugin beside this is loaded where Django may never be."""
    if (home := _HOMES.get(name)) is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = globals()[name] = getattr(import_module(home, __name__), name)
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
