"""`in_database` and the blocks beside it, as context managers and decorators; owns when a block starts and ends.

A `with` inside a generator is seen by whoever iterates over it while it is suspended: Python has one context
for both. A decorated generator is not.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Mapping
from types import TracebackType
from typing import Any, ClassVar, NamedTuple, TypeVar, cast

from django.core.exceptions import ImproperlyConfigured, SynchronousOnlyOperation
from django.db import connections, transaction

from ..conf import did_you_mean, listed
from . import configs, dynamic
from .clusters import cluster_named
from .context import NO_RULES, Frame, Opinion, Partial, Rules, current, remove, restore
from .decision import ReadsFrom
from .decorated import decorated
from .errors import RoutingLocked
from .models import includes
from .scopes import opened

F = TypeVar("F", bound=Callable[..., Any])
_B = TypeVar("_B", bound="_Block")


class _Block:
    """What every block can: be entered, again and by many threads and tasks at once, and decorate."""

    __slots__ = ()
    database: str | None

    def framed(self, outer: Frame | None) -> Frame:
        """See `context.Owner`."""
        raise NotImplementedError

    def __enter__(self: _B) -> _B:
        restore(self.framed(current() or opened()))
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        frame = current()
        if frame is not None and frame[4] is self:  # nearly always, so without a call
            restore(frame[3])
        else:
            remove(self)

    async def __aenter__(self: _B) -> _B:
        return self.__enter__()

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.__exit__(exc_type, exc, traceback)

    def __call__(self, function: F) -> F:
        """`function`, with every call of it inside this block; for generators every step."""
        if not callable(function):
            raise TypeError(f"{type(self).__name__}() decorates functions, not {type(function).__name__}.")
        return cast(F, decorated(self, function))

    def hold(self) -> None:
        """Keep what the block needs, without routing anything to it."""

    def let_go(self) -> None:
        """The end of a `hold`."""

    async def alet_go(self) -> None:
        """The end of a `hold`, in asynchronous code."""

    def _unlocked(self, outer: Frame, database: str | None) -> Rules:
        """The rules in force. Raises RoutingLocked where they forbid this block."""
        rules = outer[6] or NO_RULES
        if rules.locked_by is not None and getattr(rules.locked_by, "database", None) != database:
            raise RoutingLocked(self, rules.locked_by)
        return rules


class _Options(NamedTuple):
    """What few blocks ask for."""

    includes: Callable[[Any], bool] | None
    prevent_writes: bool
    atomic: transaction.Atomic | None
    lock: bool


class in_database(_Block):
    """Route queries to `database`, an alias or a configuration as in DATABASES, inside a block or a function.

        with in_database("external"): ...
        async with in_database({"ENGINE": ..., "NAME": ...}, write=True): ...
        @in_database("external")
        def report(): ...

    Reads go there unless `read=False`; writes only with `write=True`. What the block does not route goes
    where it would go without the block: to the block around this one if there is one, else to the other
    routers, else to 'default'. So a write in a read-only block does not fail: it is made elsewhere. With
    `prevent_writes=True` it fails, on every database, by WritePrevented.

    `models` limits the block to some models: classes, "app_label.Model"s, app labels, or a function of a model.
    `atomic=True` puts the block into a transaction on `database`; not for asynchronous code and generators.
    `lock=True` refuses blocks inside this one that would route elsewhere, by RoutingLocked.

    A configuration is copied, completed with Django's defaults, and there under an alias of its own
    (`database`, also `unique_db_id`) from the first entry to the last exit. One object may be entered again,
    recursively, and by many threads and tasks at once. Needs `django_aurora_routing.routers.DynamicDbRouter`
    in DATABASE_ROUTERS.

    Raises ImproperlyConfigured for an alias that does not exist or a configuration without ENGINE, ValueError
    for anything else.
    """

    __slots__ = ("_options", "_settings", "database", "read", "unique_db_id", "write")

    database: str
    unique_db_id: str  # of a configuration only

    def __init__(
        self,
        database: str | Mapping[str, Any],
        read: bool = True,
        write: bool = False,
        *,
        models: Iterable[Any] | Callable[[Any], bool] | None = None,
        prevent_writes: bool = False,
        atomic: bool = False,
        lock: bool = False,
    ) -> None:
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
        self._options: _Options | None = None
        if models is not None or prevent_writes or atomic or lock:
            begun = transaction.Atomic(using=self.database, savepoint=True, durable=False) if atomic else None
            self._options = _Options(None if models is None else includes(models), prevent_writes, begun, lock)

    def __repr__(self) -> str:
        return f"in_database({self.database!r}, read={self.read}, write={self.write})"

    def framed(self, outer: Frame | None) -> Frame:
        assert outer is not None
        database = self.database
        if self._options is None and outer[6] is None:
            return (
                database if self.read else outer[0],
                database if self.write else outer[1],
                outer[2],
                outer,
                self,
                outer[5],
                None,
            )
        rules = self._unlocked(outer, database)
        limits, prevents_writes, _, locks = self._options or (None, False, None, False)
        if prevents_writes:
            rules = rules._replace(prevented_by=self)
        if locks and rules.locked_by is None:
            rules = rules._replace(locked_by=self)

        def opinion(routed: bool, otherwise: Opinion) -> Opinion:
            if not routed:
                return otherwise
            return database if limits is None else Partial(limits, database, otherwise)

        return (opinion(self.read, outer[0]), opinion(self.write, outer[1]), outer[2], outer, self, outer[5], rules)

    def __enter__(self) -> in_database:
        if self._settings is None and self._options is None:
            restore(self.framed(current() or opened()))
            return self
        self.hold()
        try:
            restore(self.framed(current() or opened()))
            if self._options is not None and self._options.atomic is not None:
                try:
                    self._options.atomic.__enter__()
                except BaseException:
                    remove(self)
                    raise
        except BaseException:
            self.let_go()
            raise
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        try:
            if self._options is not None and self._options.atomic is not None:
                self._options.atomic.__exit__(exc_type, exc, traceback)
        finally:
            frame = current()
            if frame is not None and frame[4] is self:  # nearly always, so without a call
                restore(frame[3])
            else:
                remove(self)
            if self._settings is not None:
                self.let_go()

    async def __aenter__(self) -> in_database:
        if self._options is not None and self._options.atomic is not None:
            raise SynchronousOnlyOperation(
                "in_database(..., atomic=True) cannot be entered by `async with`, as Django's transactions are "
                "synchronous: use `with` in a function that sync_to_async() runs."
            )
        return self.__enter__()

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        remove(self)
        await self.alet_go()

    def __call__(self, function: F) -> F:
        """`function`, with every call of it inside this block; for generators every step."""
        if self._options is not None and self._options.atomic is not None and inspect.isgeneratorfunction(function):
            raise TypeError(
                "in_database(..., atomic=True) cannot decorate a generator, which could be left with its transaction "
                "open: use `with transaction.atomic()` inside."
            )
        return super().__call__(function)

    def hold(self) -> None:
        if self._settings is not None:
            dynamic.acquire(self.database, self._settings)

    def let_go(self) -> None:
        if self._settings is not None:
            dynamic.release(self.database)

    async def alet_go(self) -> None:
        if self._settings is not None:
            await dynamic.arelease(self.database)


class _InRole(_Block):
    """Route reads of one cluster by role. Blocks around it lose their say; those inside it keep theirs."""

    __slots__ = ("_wanted", "cluster")
    database = None
    role: ClassVar[str]

    def __init__(self, cluster: str, max_lag: float | None) -> None:
        self.cluster = cluster_named(cluster).name
        self._wanted = (self.cluster, ReadsFrom(self.role, max_lag))

    def __repr__(self) -> str:
        return f"in_{self.role}({self.cluster!r})"

    def framed(self, outer: Frame | None) -> Frame:
        assert outer is not None
        rules = self._unlocked(outer, None)
        writes = None if self.role == "writer" else outer[1]
        return (None, writes, {}, outer, self, outer[5], rules._replace(reads=(self._wanted, *rules.reads)))


class in_writer(_InRole):
    """Read from the cluster's writer inside the block: `with in_writer(): ...`, `@in_writer("orders")`.

    Needs `django_aurora_routing.routers.ReadWriteRouter` in DATABASE_ROUTERS. Raises ImproperlyConfigured for a
    cluster that does not exist.
    """

    __slots__ = ()
    role = "writer"

    def __init__(self, cluster: str = "default") -> None:
        super().__init__(cluster, None)


class in_reader(_InRole):
    """Read from one of the cluster's readers inside the block, whatever was written before or is in a transaction.

    `max_lag`, in seconds, passes over readers that are not known to be as near to the writer as that; when none
    is left, ON_NO_READER decides. Writes are not affected. Needs the ReadWriteRouter, as `in_writer` does.
    """

    __slots__ = ()
    role = "reader"

    def __init__(self, cluster: str = "default", *, max_lag: float | None = None) -> None:
        super().__init__(cluster, max_lag)


class prevent_writes(_Block):
    """Refuse every statement that writes, on every database, inside the block: `with prevent_writes(): ...`.

    By WritePrevented, before the statement is sent; what cannot be told from a write is refused too. On our own
    backends the server's session is read-only as well.
    """

    __slots__ = ()
    database = None

    def __repr__(self) -> str:
        return "prevent_writes()"

    def framed(self, outer: Frame | None) -> Frame:
        assert outer is not None
        rules = (outer[6] or NO_RULES)._replace(prevented_by=self)
        return (outer[0], outer[1], outer[2], outer, self, outer[5], rules)


def _unknown(alias: str) -> str:
    known = list(connections)
    return f"in_database({alias!r}): no such database.{did_you_mean(alias, known)} DATABASES has {listed(known)}."
