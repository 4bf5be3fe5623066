"""Transactions and raw SQL, which name no model, on the database of the block they are in.

Owns `atomic`, `on_commit`, `connection` and `current_alias`, and the switch TRANSACTIONS_FOLLOW_BLOCKS by which
Django's own do the same. A transaction ends where it began, whatever blocks have come or gone in between.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar, overload

import django.db
from asgiref.local import Local
from django.core.exceptions import ImproperlyConfigured
from django.db import DEFAULT_DB_ALIAS, connections, transaction
from django.db.models import Model
from django.utils.connection import ConnectionProxy

from ..conf import NAME, on_settings_changed, routing_settings
from ..core.effects import Effect, effect_of, first_words
from .blocks import in_reader, in_writer
from .clusters import cluster_named
from .context import owners
from .databases import in_database
from .decision import read_from
from .decorated import is_plain_function
from .errors import WritePrevented
from .guard import text_of

if TYPE_CHECKING:
    _Proxy = ConnectionProxy[Any]
else:
    _Proxy = ConnectionProxy

F = TypeVar("F", bound=Callable[..., Any])


def current_alias(*, write: bool = False) -> str:
    """The alias that the blocks in force have for reads, or for writes, that name no model: raw SQL, transactions.

    'default' where they have none. Blocks limited by `models` have none; `in_reader()` has one for reads, and
    `in_writer()` for both.
    """
    for block in owners():
        if isinstance(block, in_database):
            if (block.write if write else block.read) and not block.is_limited:
                return block.database
        elif isinstance(block, in_writer):
            return cluster_named(block.cluster).writer
        elif isinstance(block, in_reader) and not write:
            found = read_from(block.cluster, Model).alias  # inside in_reader() the model does not matter
            return found or cluster_named(block.cluster).writer
    return DEFAULT_DB_ALIAS


# -- transactions

_open: Any = Local(thread_critical=True)  # a thread's own, as its connections are


class Atomic(transaction.Atomic):
    """What `atomic()` gives: may be entered again and in many threads, each time where the blocks then say."""

    def __enter__(self) -> None:
        _enter(self)

    def __exit__(self, *exc_info: Any) -> None:
        _exit(self, exc_info)

    def __call__(self, func: F) -> F:
        if not is_plain_function(func):
            raise TypeError(
                "atomic() cannot decorate asynchronous functions and generators, which run after their call has "
                "returned: use it in a function that sync_to_async() runs, or inside the generator."
            )
        return super().__call__(func)


@overload
def atomic(using: F) -> F: ...


@overload
def atomic(using: str | None = None, savepoint: bool = True, durable: bool = False) -> Atomic: ...


def atomic(using: Any = None, savepoint: bool = True, durable: bool = False) -> Any:
    """Django's `transaction.atomic`, on the database that the blocks in force write to: also as a decorator.

    Which one is decided each time it is entered. A block that only reads leaves the transaction where its writes
    are left, too. `using` names another alias; the rest is as in Django.
    """
    if callable(using):
        return Atomic(None, savepoint, durable)(using)
    return Atomic(using, savepoint, durable)


def on_commit(func: Callable[[], object], using: str | None = None, robust: bool = False) -> None:
    """Django's `transaction.on_commit`, for the database that the blocks in force write to."""
    transaction.on_commit(func, using=current_alias(write=True) if using is None else using, robust=robust)


def _enter(asked: transaction.Atomic) -> None:
    """Begin what `asked` asks for by another Atomic, which has the alias."""
    alias = current_alias(write=True) if _is_unnamed(asked.using) else asked.using
    begun: Any = transaction.Atomic(alias, asked.savepoint, asked.durable)  # type: ignore[attr-defined]
    begun._from_testcase = asked._from_testcase  # type: ignore[attr-defined]
    begun.__enter__()
    if not hasattr(_open, "blocks"):
        _open.blocks = []
    _open.blocks.append((asked, begun))


def _exit(asked: transaction.Atomic, exc_info: tuple[Any, ...]) -> bool:
    """End what `asked` has begun last in this thread. False if that is nothing."""
    blocks: list[tuple[transaction.Atomic, transaction.Atomic]] = getattr(_open, "blocks", [])
    for place in range(len(blocks) - 1, -1, -1):
        if blocks[place][0] is asked:
            blocks.pop(place)[1].__exit__(*exc_info)
            return True
    return False


# -- raw SQL


class Connection(_Proxy):
    """Like `django.db.connection`, for the database that the blocks in force read from."""

    @property
    def _alias(self) -> str:
        return current_alias()

    def cursor(self, *args: Any, **kwargs: Any) -> Any:
        return _for_this_block(self._connections[self._alias].cursor(*args, **kwargs))

    def chunked_cursor(self) -> Any:
        return _for_this_block(self._connections[self._alias].chunked_cursor())


connection: Any = Connection(connections, DEFAULT_DB_ALIAS)
"""`django.db.connection`, for the database that the blocks in force read from.

Where they write to another, which the statement cannot be sent to any more, one that writes raises WritePrevented.
"""


def _for_this_block(cursor: Any) -> Any:
    """The cursor, which refuses to write here if the blocks in force write elsewhere."""
    alias, writes_to = cursor.db.alias, current_alias(write=True)
    if alias == writes_to:
        return cursor

    def refusing(run: Callable[..., Any], *, is_call: bool = False) -> Callable[..., Any]:
        def checked(sql: Any, *args: Any, **kwargs: Any) -> Any:
            text, vendor = text_of(sql, cursor.db), cursor.db.vendor
            if is_call or effect_of(text, vendor) is not Effect.NONE:
                what = f"a call of {text!r}" if is_call else repr(first_words(text, vendor) or "a statement")
                raise WritePrevented(
                    f"Alias {alias!r} was not sent {what} by `connection`: the blocks in force read from {alias!r} and "
                    f"write to {writes_to!r}. Use connections[current_alias(write=True)], or the alias itself.",
                    alias=alias,
                )
            return run(sql, *args, **kwargs)

        return checked

    cursor.execute, cursor.executemany = refusing(cursor.execute), refusing(cursor.executemany)
    cursor.callproc = refusing(cursor.callproc, is_call=True)
    return cursor


# -- the same for Django's own, by TRANSACTIONS_FOLLOW_BLOCKS


class _Unnamed(str):
    """The alias in an Atomic made by a bare `@transaction.atomic`, which Django takes for one that names 'default'."""

    __slots__ = ()


_follows = False
_is_installed = False


def _is_unnamed(using: str | None) -> bool:
    return using is None or using.__class__ is _Unnamed


def follow_settings() -> None:
    """Do as TRANSACTIONS_FOLLOW_BLOCKS says. Called as soon as there are settings, and when they change."""
    global _follows
    try:
        _follows = routing_settings().transactions_follow_blocks
    except ImproperlyConfigured:  # checks and routers tell
        _follows = False
    if _follows and not _is_installed:
        _install()
    # Everybody has the object itself, by `from django.db import connection`.
    object.__setattr__(django.db.connection, "__class__", Connection if _follows else ConnectionProxy)


on_settings_changed(follow_settings, NAME)


def _install() -> None:
    """Put our functions around Django's, for good: while the switch is off they only call them.

    They look the alias up in `get_connection`, and an Atomic does so again when it ends.
    """
    global _is_installed
    _is_installed = True
    get, enter, leave = transaction.get_connection, transaction.Atomic.__enter__, transaction.Atomic.__exit__

    def get_connection(using: str | None = None) -> Any:
        if using is None and _follows:
            return get(current_alias(write=True))
        return get(None if _is_unnamed(using) else using)

    def __enter__(self: transaction.Atomic) -> None:
        if _follows and _is_unnamed(self.using):
            _enter(self)
        else:
            enter(self)

    def __exit__(self: transaction.Atomic, *exc_info: Any) -> None:
        if not (_is_unnamed(self.using) and _exit(self, exc_info)):
            leave(self, *exc_info)

    for place, ours in (
        (transaction, {"get_connection": get_connection, "DEFAULT_DB_ALIAS": _Unnamed(DEFAULT_DB_ALIAS)}),
        (transaction.Atomic, {"__enter__": __enter__, "__exit__": __exit__}),
    ):
        for name, value in ours.items():
            setattr(place, name, value)
