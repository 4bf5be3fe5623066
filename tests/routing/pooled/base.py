"""SQLite with a pool to close, as Django's PostgreSQL backend has one an alias; the pool only notes that it is open."""

from __future__ import annotations

from typing import Any, ClassVar

from django.db.backends.sqlite3 import base


class DatabaseWrapper(base.DatabaseWrapper):
    pools: ClassVar[set[str]] = set()

    def get_connection_params(self) -> dict[str, Any]:
        params: dict[str, Any] = super().get_connection_params()
        if params.pop("pool", None):
            self.pools.add(self.alias)
        return params

    def close_pool(self) -> None:
        self.pools.remove(self.alias)
