"""How far the readers of a cluster are behind, as sources tell that are registered here; asks no server itself.

The backends of this package are such a source: their topology has the lag of each Aurora reader.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any, Protocol

from ..core.staleness import Lag
from .clusters import Cluster

__all__ = ["Lag", "Source", "add_source", "lags", "lags_of", "remove_source", "request_newer"]


class Source(Protocol):
    """Who knows the lag of some aliases. Both are called on queries' way, so they must not wait for anything."""

    def lags(self, alias: str) -> tuple[Lag, ...]:
        """The latest known lag of every reader that the alias may lead to; empty when it is unknown."""

    def request_newer(self, alias: str) -> None:
        """Somebody waits for the alias's readers to catch up: look again soon."""


_sources: list[Any] = []


def add_source(source: Source | str, *, first: bool = False) -> None:
    """Ask `source` from now on; the first one that knows an alias answers for it.

    It may be the dotted name of a module with the two functions, which is imported when it is first asked.
    """
    if source not in _sources:
        _sources.insert(0 if first else len(_sources), source)


def remove_source(source: Source) -> None:
    """Do not ask it any more."""
    _sources.remove(source)


def lags(cluster: Cluster) -> tuple[Lag, ...]:
    """The latest known lag of each reader of the cluster; empty while it is unknown of any of them."""
    found: dict[Lag, None] = {}
    for alias in cluster.readers:
        known = lags_of(alias)
        if not known:
            return ()
        found.update(dict.fromkeys(known))
    return tuple(found)


def lags_of(alias: str) -> tuple[Lag, ...]:
    """The latest known lag of every reader that the alias may lead to; empty when it is unknown."""
    return next(filter(None, (source.lags(alias) for source in _loaded())), ())


def request_newer(cluster: Cluster) -> None:
    """Have the lag looked at again soon, for as long as this goes on being called. Returns at once."""
    for alias in cluster.readers:
        for source in _loaded():
            source.request_newer(alias)


def _loaded() -> list[Any]:
    for index, source in enumerate(_sources):
        if isinstance(source, str):
            _sources[index] = import_module(source)
    return _sources
