"""`in_database`: routes to one database, named by an alias or given by a configuration."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterable, Mapping
from types import TracebackType
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from django.core.exceptions import ImproperlyConfigured, SynchronousOnlyOperation
from django.db import connections, router, transaction

from ..conf import did_you_mean, listed, on_settings_changed
from . import configs, dynamic
from .blocks import Block, F
from .context import NO_RULES, Frame, Opinion, Partial, current, decisions, remove, restore
from .decorated import is_plain_function
from .models import includes, label_of
from .scopes import opened

_D = TypeVar("_D", bound="in_database")


class _Options(NamedTuple):
    """What few blocks ask for."""

    models: Iterable[Any] | Callable[[Any], bool] | None = None
    prevent_writes: bool = False
    atomic: bool = False
    lock: bool = False


_static: dict[str, str] = {}
"""Aliases that were found in DATABASES; asking `connections` for them again would cost as much as a block.

Each stands for itself, as a plain str: the routers take an alias that is a member of an enum for no alias.
"""


class in_database(Block):
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

    Raises ImproperlyConfigured for an alias that does not exist, a configuration without ENGINE, or without that
    router; ValueError for anything else.
    """

    __slots__ = ("_atomic", "_includes", "_options", "_reads", "_settings", "_writes", "database", "unique_db_id")

    database: str
    unique_db_id: str
    """Of a configuration only: its alias."""
    _reads: str | None
    _writes: str | None
    # Only in those that _prepare() has seen:
    _settings: configs.Settings | None
    _options: _Options
    _includes: Callable[[Any], bool] | None
    _atomic: transaction.Atomic | None

    if TYPE_CHECKING:

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
        ) -> None: ...

    else:
        # Python looks up the defaults of keyword-only arguments one by one, which costs a tenth of a block.
        def __init__(self, database, read=True, write=False, **options):
            try:
                alias = _static[database]
            except (KeyError, TypeError):  # a dict has no hash
                alias = None
            if alias is None or options:
                alias = _prepare(self, database, options)
            else:
                self.database = alias
            self._reads = alias if read else None
            self._writes = alias if write else None

    @property
    def read(self) -> bool:
        return self._reads is not None

    @property
    def write(self) -> bool:
        return self._writes is not None

    @property
    def is_limited(self) -> bool:
        """Whether it is about some models only."""
        return False

    def __repr__(self) -> str:
        return f"in_database({self.database!r}, read={self.read}, write={self.write})"

    def framed(self, outer: Frame | None) -> Frame:
        assert outer is not None
        rules = None if outer[6] is None else self.unlocked(outer, self.database)
        reads, writes = self._reads or outer[0], self._writes or outer[1]
        if rules is not None and rules.is_logged:
            reads, writes = _logged(self, "read", self._reads, reads), _logged(self, "write", self._writes, writes)
        return (reads, writes, outer[2], outer, self, outer[5], rules)

    def __enter__(self: _D) -> _D:
        outer = current()
        if outer is None:
            outer = opened()
        if outer[6] is None:  # nearly always, so without a call
            restore((self._reads or outer[0], self._writes or outer[1], outer[2], outer, self, outer[5], None))
        else:
            restore(self.framed(outer))
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        frame = current()
        if frame is not None and frame[4] is self:
            restore(frame[3])
        else:
            remove(self)


def _logged(block: in_database, kind: str, alias: str | None, opinion: Opinion) -> Opinion:
    """The block's opinion, with a line in the debug log for each query that it routes."""
    if alias is None:
        return opinion
    asked = opinion if isinstance(opinion, Partial) else Partial(lambda _: True, alias, None)

    def includes(model: Any) -> bool:
        if is_included := asked.includes(model):
            decisions.debug("A %s of %s goes to %r: %r is in force", kind, label_of(model), alias, block)
        return is_included

    return asked._replace(includes=includes)


class _Prepared(in_database):
    """An `in_database` with a configuration of its own, or with options."""

    __slots__ = ()

    @property
    def is_limited(self) -> bool:
        return self._includes is not None

    def framed(self, outer: Frame | None) -> Frame:
        assert outer is not None
        rules = self.unlocked(outer, self.database)
        if self._options.prevent_writes:
            rules = rules._replace(prevented_by=self)
        if self._options.lock and rules.locked_by is None:
            rules = rules._replace(locked_by=self)
        reads, writes = self._opinion(self._reads, outer[0]), self._opinion(self._writes, outer[1])
        if rules.is_logged:
            reads, writes = _logged(self, "read", self._reads, reads), _logged(self, "write", self._writes, writes)
        return (reads, writes, outer[2], outer, self, outer[5], rules if rules != NO_RULES else None)

    def _opinion(self, alias: str | None, otherwise: Opinion) -> Opinion:
        if alias is None:
            return otherwise
        return alias if self._includes is None else Partial(self._includes, alias, otherwise)

    def __enter__(self: _D) -> _D:
        self.hold()
        try:
            restore(self.framed(current() or opened()))
            if self._atomic is not None:
                try:
                    self._atomic.__enter__()
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
            if self._atomic is not None:
                self._atomic.__exit__(exc_type, exc, traceback)
        finally:
            remove(self)
            self.let_go()

    async def __aenter__(self: _D) -> _D:
        if self._atomic is not None:
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
        inside = super().__call__(function)
        if self._atomic is not None and not is_plain_function(inside):
            raise TypeError(
                "in_database(..., atomic=True) cannot decorate asynchronous functions and generators, which run after "
                "their call has returned: use `with` in a function that sync_to_async() runs, or inside the generator."
            )
        return inside

    def hold(self) -> None:
        if self._settings is not None:
            dynamic.acquire(self.database, self._settings)

    def let_go(self) -> None:
        if self._settings is not None:
            dynamic.release(self.database)

    async def alet_go(self) -> None:
        if self._settings is not None:
            await dynamic.arelease(self.database)


def _prepare(block: Any, database: Any, options: dict[str, Any]) -> str:
    """What few blocks need: those for a configuration or with options, the first for an alias. Returns the alias."""
    block._settings = None
    if not any(getattr(one, "follows_blocks", False) for one in router.routers):
        raise ImproperlyConfigured(
            "in_database() needs 'django_aurora_routing.routers.DynamicDbRouter' first in DATABASE_ROUTERS."
        )
    if isinstance(database, Mapping):
        block._settings = configs.completed(database)
        block.database = block.unique_db_id = configs.alias_of(block._settings)
    elif not isinstance(database, str):
        raise ValueError(
            "in_database() takes the alias of a database or a configuration as in DATABASES, "
            f"not {type(database).__name__}."
        )
    elif database not in connections.settings:
        raise ImproperlyConfigured(_unknown(database))
    else:
        database = block.database = str.__str__(database)
        if dynamic.is_dynamic(database):  # that of a block around this one, to be kept for this one too
            block._settings = dynamic.settings_of(database)
        else:
            _static[database] = database
    for name in options:
        if name not in _Options._fields:
            known = ("database", "read", "write", *_Options._fields)
            raise TypeError(f"in_database() has no argument {name!r}.{did_you_mean(name, known)}")
    block._options = _Options(**options)
    if block._options != _Options() or block._settings is not None:
        block._includes = None if block._options.models is None else includes(block._options.models)
        block._atomic = transaction.Atomic(block.database, True, False) if block._options.atomic else None
        block.__class__ = _prepared(block.__class__)
    return str(block.database)


@functools.cache
def _prepared(cls: type[in_database]) -> type[in_database]:
    """The class of a prepared block: _Prepared itself, or behind it what a subclass adds."""
    if cls is in_database:
        return _Prepared
    if issubclass(cls, _Prepared):
        return cls
    return type(cls.__name__, (cls, _Prepared), {"__slots__": (), "__module__": cls.__module__, "__doc__": cls.__doc__})


in_database.__signature__ = inspect.Signature(  # type: ignore[attr-defined]
    [
        inspect.Parameter("database", inspect.Parameter.POSITIONAL_OR_KEYWORD),
        inspect.Parameter("read", inspect.Parameter.POSITIONAL_OR_KEYWORD, default=True),
        inspect.Parameter("write", inspect.Parameter.POSITIONAL_OR_KEYWORD, default=False),
        *(
            inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default)
            for name, default in _Options._field_defaults.items()
        ),
    ]
)
on_settings_changed(_static.clear, "DATABASES", "DATABASE_ROUTERS")


def _unknown(alias: str) -> str:
    known = list(connections)
    return f"in_database({alias!r}): no such database.{did_you_mean(alias, known)} DATABASES has {listed(known)}."
