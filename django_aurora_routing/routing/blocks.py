"""`in_database`, as a context manager and as a decorator; owns when a block starts and ends.

A `with` inside a generator is seen by whoever iterates over it while it is suspended: Python has one context
for both. A decorated generator is not.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import Any, TypeVar, cast

from django.core.exceptions import ImproperlyConfigured
from django.db import connections

from . import configs, dynamic
from .context import current, framed, remove, restore
from .decorated import decorated

F = TypeVar("F", bound=Callable[..., Any])


class in_database:
    """Route queries to `database`, an alias or a configuration as in DATABASES, inside a block or a function.

        with in_database("external"): ...
        async with in_database({"ENGINE": ..., "NAME": ...}, write=True): ...
        @in_database("external")
        def report(): ...

    Reads go there unless `read=False`; writes only with `write=True`. What the block does not route goes
    where it would go without the block: to the block around this one if there is one, else to the other
    routers, else to 'default'. So a write in a read-only block does not fail: it is made elsewhere.

    A configuration is copied, completed with Django's defaults, and there under an alias of its own
    (`database`, also `unique_db_id`) from the first entry to the last exit. One object may be entered again,
    recursively, and by many threads and tasks at once. Needs `django_aurora_routing.routers.DynamicDbRouter`
    in DATABASE_ROUTERS.

    Raises ImproperlyConfigured for an alias that does not exist or a configuration without ENGINE, ValueError
    for anything else.
    """

    __slots__ = ("_settings", "database", "read", "unique_db_id", "write")

    database: str
    unique_db_id: str  # of a configuration only

    def __init__(self, database: str | Mapping[str, Any], read: bool = True, write: bool = False) -> None:
        self._settings: configs.Settings | None = None
        if isinstance(database, str):
            self.database = database
            if database not in connections.settings:
                raise ImproperlyConfigured(_unknown(database))
            if database.startswith(configs.PREFIX) and dynamic.is_dynamic(database):
                self._settings = dynamic.settings_of(database)
        elif isinstance(database, Mapping):
            self._settings = configs.completed(database)
            self.database = self.unique_db_id = configs.alias_of(self._settings)
        else:
            raise ValueError(
                "in_database() takes the alias of a database or a configuration as in DATABASES, "
                f"not {type(database).__name__}."
            )
        self.read = read
        self.write = write

    def __repr__(self) -> str:
        return f"in_database({self.database!r}, read={self.read}, write={self.write})"

    def __enter__(self) -> in_database:
        if self._settings is not None:
            self.hold()
        restore(framed(self, current()))
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        frame = current()
        if frame is not None and frame[3] is self:  # nearly always, so without a call
            restore(frame[2])
        else:
            remove(self)
        if self._settings is not None:
            self.let_go()

    async def __aenter__(self) -> in_database:
        return self.__enter__()

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        remove(self)
        await self.alet_go()

    def __call__(self, function: F) -> F:
        """`function`, with every call of it inside this block; for generators every step."""
        if not callable(function):
            raise TypeError(f"in_database() decorates functions, not {type(function).__name__}.")
        return cast(F, decorated(self, function))

    def hold(self) -> None:
        """Keep a dynamic database registered, without routing anything to it."""
        if self._settings is not None:
            dynamic.acquire(self.database, self._settings)

    def let_go(self) -> None:
        """The end of a `hold`."""
        if self._settings is not None:
            dynamic.release(self.database)

    async def alet_go(self) -> None:
        """The end of a `hold`, in asynchronous code."""
        if self._settings is not None:
            await dynamic.arelease(self.database)


def _unknown(alias: str) -> str:
    known = list(connections)
    nearest = difflib.get_close_matches(alias, known, n=1)
    hint = f" Did you mean {nearest[0]!r}?" if nearest else ""
    return f"in_database({alias!r}): no such database.{hint} DATABASES has {', '.join(map(repr, known))}."
