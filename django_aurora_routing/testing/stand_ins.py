"""Connections that show another connection's database under an alias, settings and a query log of their own.

The transaction is the other's, so both see the same rows. What atomic() keeps about its blocks is not: a write that
is refused does not end the other's blocks. What writes is refused as on the reader that a stand-in is in the place of.
"""

from __future__ import annotations

import contextlib
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from functools import cache
from typing import Any

from django.db import connections
from django.db.backends.base.base import BaseDatabaseWrapper

from ..routing.guard import guard

_handler: Any = connections  # for what its type does not tell

# What a stand-in has, or does, by itself. `cursor` and those beside it make cursors that belong to it, and are what
# Django replaces on aliases that a test does not name.
_OWN = frozenset(
    {
        *("alias", "settings_dict", "execute_wrappers", "execute_wrapper"),
        *("queries_log", "queries", "queries_logged", "queries_limit", "force_debug_cursor"),
        *("connect", "cursor", "_cursor", "chunked_cursor", "temporary_connection"),
        *("_prepare_cursor", "make_cursor", "make_debug_cursor", "schema_editor"),
        *("in_atomic_block", "atomic_blocks", "savepoint_ids", "commit_on_exit", "needs_rollback", "rollback_exc"),
        *("get_rollback", "set_rollback", "validate_no_broken_transaction"),
        *("_shown", "_ended", "_is_broken"),
    }
)

created: list[Callable[[BaseDatabaseWrapper], None]] = []
"""Called with each new stand-in, which sends no `connection_created`: its connection is not new."""


class _StandIn:
    """Mixed into the class of the wrapper that is shown."""

    alias: str
    _shown: BaseDatabaseWrapper
    _ended: Callable[[], bool]
    _is_broken: bool

    def __getattribute__(self, name: str) -> Any:
        own = object.__getattribute__(self, "__dict__")
        if name[:2] == "__":
            return object.__getattribute__(self, name)
        if own["_ended"]():
            return getattr(_without(self, own["alias"]), name)
        return object.__getattribute__(self, name) if name in _OWN else getattr(own["_shown"], name)

    def __setattr__(self, name: str, value: Any) -> None:
        own = object.__getattribute__(self, "__dict__")
        if own["_ended"]():
            setattr(_without(self, own["alias"]), name, value)
        elif name in _OWN:
            object.__setattr__(self, name, value)
        else:
            setattr(own["_shown"], name, value)

    def connect(self) -> None:
        self._shown.connect()

    @property
    def needs_rollback(self) -> bool:
        """Here, as our backends have a property for it."""
        return self._is_broken

    @needs_rollback.setter
    def needs_rollback(self, value: bool) -> None:
        object.__getattribute__(self, "__dict__")["_is_broken"] = value

    def __repr__(self) -> str:
        return f"<{self.alias!r} showing {self._shown!r}>"


def _without(stand_in: object, alias: str) -> BaseDatabaseWrapper:
    """The alias's own connection, which a thread gets back as soon as it uses a stand-in whose time is over."""
    if connections[alias] is stand_in:
        del connections[alias]
    return connections[alias]


@cache
def _class_for(cls: Any) -> Any:
    return type(f"StandIn{cls.__name__}", (_StandIn, cls), {})


def _made(
    shown: BaseDatabaseWrapper, alias: str, settings: Mapping[str, Any], ended: Callable[[], bool]
) -> BaseDatabaseWrapper:
    kind: Any = type(shown)
    cls = _class_for(kind)
    made: BaseDatabaseWrapper = object.__new__(cls)
    object.__getattribute__(made, "__dict__").update(
        alias=alias,
        settings_dict=settings,
        execute_wrappers=[guard],
        queries_log=deque(maxlen=cls.queries_limit),
        force_debug_cursor=False,
        _shown=shown,
        _ended=ended,
        in_atomic_block=False,
        atomic_blocks=[],
        savepoint_ids=[],
        commit_on_exit=True,
        rollback_exc=None,
        _is_broken=False,
    )
    for hook in created:
        hook(made)
    return made


@contextlib.contextmanager
def standing_in(writers: Mapping[str, str], shown: Callable[[str], BaseDatabaseWrapper]) -> Iterator[None]:
    """Put stand-ins in the place of the readers, in every thread that asks for one meanwhile.

    `writers` has the writer of each reader; `shown(reader)` gives the connection to be shown in the thread that asks.
    """
    create, hidden = _handler.create_connection, vars(_handler).get("create_connection")
    is_over = False

    def create_connection(alias: str) -> BaseDatabaseWrapper:
        if alias not in writers or is_over:
            return create(alias)  # type: ignore[no-any-return]
        settings = connections.settings[alias]
        # A mirror to Django too: its test cases neither flush it nor load fixtures into it.
        settings = {**settings, "TEST": {**settings["TEST"], "MIRROR": writers[alias]}}
        return _made(shown(alias), alias, settings, lambda: is_over)

    before = {one.alias: one for one in connections.all(initialized_only=True) if one.alias in writers}
    for alias in before:
        del connections[alias]
    _handler.create_connection = create_connection
    try:
        yield
    finally:
        if hidden is None:
            del _handler.create_connection
        else:
            _handler.create_connection = hidden
        for alias in writers:
            with contextlib.suppress(AttributeError):  # nobody asked for it
                del connections[alias]
        is_over = True
        for alias, connection in before.items():
            connections[alias] = connection
