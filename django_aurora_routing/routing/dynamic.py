"""Databases that exist while a block uses them: registered on enter, hidden, closed on the last exit.

Owns the dynamic aliases and their connections in all threads; decides nothing about where a query goes.

Django must find a dynamic alias when asked by name, in any thread, and must not come across one by iterating:
not in `connections.all()` at the ends of another request, not when it makes views atomic, not when a TestCase
forbids what it does not know. So `connections.settings` becomes a mapping which iterates over DATABASES alone
(`_Settings`).

A connection belongs to the thread that opened it. The last exit closes those that are idle, wherever they
are; one that is at work just then (a cancelled task leaves its query behind) is refused any further statement
and closed by its own thread at the next tidying: a block of it, a request of it, a connection made by it.
"""

from __future__ import annotations

import asyncio
import logging
import threading
import weakref
from collections import UserDict
from collections.abc import Callable
from typing import Any

from asgiref.sync import sync_to_async
from django.core.signals import request_finished, request_started
from django.db import connections
from django.db.backends.base.base import RAN_DB_VERSION_CHECK, BaseDatabaseWrapper
from django.db.backends.signals import connection_created

from ..forks import in_each_child
from .configs import PREFIX, Settings, copied
from .errors import DatabaseNotActive

logger = logging.getLogger(__name__)


class _Database:
    """A dynamic database that some block uses, or that CONN_MAX_AGE keeps for the next one."""

    __slots__ = ("alias", "leases", "settings", "users")

    def __init__(self, alias: str, settings: Settings) -> None:
        self.alias = alias
        self.settings = settings
        self.users = 0
        self.leases: weakref.WeakSet[_Lease] = weakref.WeakSet()


class _Lease:
    """A connection to a dynamic database that has users; the outermost execute wrapper of that connection."""

    __slots__ = ("__weakref__", "_wrapper", "alias", "closing", "executing", "held")

    def __init__(self, wrapper: BaseDatabaseWrapper) -> None:
        self.alias = wrapper.alias
        self.executing = 0
        self.closing = False
        self.held: BaseDatabaseWrapper | None = None
        self._wrapper = weakref.ref(wrapper)

    @property
    def wrapper(self) -> BaseDatabaseWrapper | None:
        return self._wrapper()

    @property
    def idle(self) -> bool:
        wrapper = self.wrapper
        return not self.executing and not (wrapper is not None and wrapper.in_atomic_block)

    def __call__(self, execute: Callable[..., Any], sql: str, params: Any, many: bool, context: dict[str, Any]) -> Any:
        _begin(self)
        try:
            return execute(sql, params, many, context)
        finally:
            with _lock:
                self.executing -= 1


class _Settings(UserDict[str, Any]):
    """`connections.settings`, with the dynamic databases for those who ask by name.

    It shares its data with the dict it replaces, which people change in place.
    """

    def __init__(self, static: Any = None) -> None:
        super().__init__()
        self.data = {} if static is None else static

    def __contains__(self, alias: object) -> bool:
        if alias in self.data or alias in _databases:
            return True
        if isinstance(alias, str) and alias.startswith(PREFIX):
            # Django asks this before it makes a connection; "no" would end in a bare ConnectionDoesNotExist.
            raise DatabaseNotActive(alias)
        return False

    def __missing__(self, alias: str) -> Settings:
        return _databases[alias].settings

    def copy(self) -> dict[str, Any]:  # type: ignore[override]
        """A plain dict of the static databases; UserDict's own empties the original for a moment."""
        return dict(self.data)

    __copy__ = copy  # type: ignore[assignment]


class _ThreadState(threading.local):
    """The leases of this thread, by alias."""

    def __init__(self) -> None:
        self.leases: dict[str, _Lease] = {}


# Guards _databases, users, leases, executing and closing; never held over I/O. Reentrant, as the garbage
# collector may close an abandoned generator, and with it a block, in the middle of anything.
_lock = threading.RLock()
_databases: dict[str, _Database] = {}
_thread = _ThreadState()
_handler: Any = connections  # for what its type does not tell


def is_dynamic(alias: str) -> bool:
    """Whether this is the alias of a dynamic database, be it active or not."""
    if not alias.startswith(PREFIX):
        return False
    settings = _handler.settings
    return alias not in (settings.data if isinstance(settings, _Settings) else settings)


def is_active(alias: str) -> bool:
    """Whether some block uses the dynamic database right now."""
    database = _databases.get(alias)
    return database is not None and database.users > 0


def settings_of(alias: str) -> Settings:
    """The configuration of an active dynamic database. Raises DatabaseNotActive."""
    database = _databases.get(alias)
    if database is None or not database.users:
        raise DatabaseNotActive(alias)
    return database.settings


def acquire(alias: str, settings: Settings) -> None:
    """Count one more user of the dynamic database, which is there from now on until `release`."""
    _install()
    with _lock:
        # Copied, so that a backend which changes its settings changes its own.
        database = _databases.get(alias) or _Database(alias, copied(settings))
        database.users += 1
        _databases[alias] = database
        lease = _thread.leases.get(alias)
        leaving = lease is not None and lease.closing
    if leaving:  # another thread is closing what this one had left open: connect anew
        _forget_slot(alias)
    _tidy_thread()


def release(alias: str) -> None:
    """Count one user less; the last one closes the connections. A failure to do so is only logged."""
    database, leases = _leave(alias)
    if database is None:
        return
    if leases and _is_loop_running():
        _close_beside_the_loop(database, leases)
    else:
        _close(database, leases)


async def arelease(alias: str) -> None:
    """`release`, with the closing done in the thread where the ORM's own asynchronous methods run."""
    database, leases = _leave(alias)
    if database is None or not leases:
        return
    try:
        await sync_to_async(_close)(database, leases)
    except RuntimeError:  # that thread is gone, as the loop is being shut down
        _close_beside_the_loop(database, leases)
    except asyncio.CancelledError:
        with _lock:
            for lease in leases:
                lease.held = None
                lease.closing = False  # left to the tidying of its own thread
        raise


def _leave(alias: str) -> tuple[_Database | None, list[_Lease]]:
    """The database if its last user has left, and the connections to close, which nobody else touches."""
    with _lock:
        database = _databases[alias]
        database.users -= 1
        if database.users:
            return None, []
        if database.settings["CONN_MAX_AGE"] != 0 and len(database.leases):
            return database, []
        del _databases[alias]
        leases = [lease for lease in database.leases if lease.idle and not lease.closing]
        for lease in leases:
            lease.closing = True
            lease.held = lease.wrapper  # its thread may forget it before we have closed it
        return database, leases


def _close(database: _Database, leases: list[_Lease]) -> None:
    """Close what `_leave` handed out, and tidy this thread."""
    for lease in leases:
        wrapper = lease.wrapper
        if wrapper is not None and lease.closing:
            _close_for_good(wrapper)
        lease.held = None
        lease.closing = False
    if database.alias not in _databases:
        RAN_DB_VERSION_CHECK.discard(database.alias)
        if database.alias not in _thread.leases:  # a wrapper that never connected
            _forget_slot(database.alias)
    _tidy_thread()


def _close_beside_the_loop(database: _Database, leases: list[_Lease]) -> None:
    """Django refuses to close a connection in a thread that runs an event loop; `async with` has a better way."""
    thread = threading.Thread(target=_close, args=(database, leases), name=f"close {database.alias}", daemon=True)
    thread.start()
    thread.join()


def _close_wrapper(wrapper: BaseDatabaseWrapper) -> None:
    connection = wrapper.connection
    wrapper.inc_thread_sharing()
    try:
        wrapper.close()
        if wrapper.connection is not None and not wrapper.in_atomic_block:
            # Django's SQLite backend keeps a database in memory open. This one ends with its block.
            wrapper.connection = None
            connection.close()
    except Exception:
        # The block's work is done, or the block has an error of its own which this must not hide.
        logger.warning("Could not close the connection to %s", wrapper.alias, exc_info=True)
        wrapper.connection = None
    finally:
        wrapper.dec_thread_sharing()


def _close_for_good(wrapper: Any) -> None:
    """Close the connection, and with the last one the pool that the backend may keep for the alias."""
    _close_wrapper(wrapper)
    close_pool = getattr(wrapper, "close_pool", None)
    if close_pool is None or wrapper.alias in _databases:
        return
    try:
        close_pool()
    except Exception:
        logger.warning("Could not close the pool of %s", wrapper.alias, exc_info=True)


def _tidy_thread(*, between_requests: bool = False) -> None:
    """Do for this thread's dynamic connections what Django does for the others at the ends of a request.

    Drops those whose database is gone. Those that are kept between blocks are closed when they are too old or
    broken; so are, between requests, those in use.
    """
    if not _thread.leases or _is_loop_running():
        return
    for alias, lease in list(_thread.leases.items()):
        wrapper = lease.wrapper
        if wrapper is None:
            del _thread.leases[alias]
            continue
        while _claim(lease):
            database = _databases.get(alias)
            try:
                _tidy(wrapper, lease, database, between_requests)
            finally:
                lease.closing = False
            if database is None or _databases.get(alias) is database:
                break  # else its last user left meanwhile, and left this one to us


def _claim(lease: _Lease) -> bool:
    """Whether this thread may close the connection: it is idle, and nobody else is closing it."""
    with _lock:
        if lease.closing or not lease.idle:
            return False
        lease.closing = True
        return True


def _tidy(wrapper: BaseDatabaseWrapper, lease: _Lease, database: _Database | None, between_requests: bool) -> None:
    if database is None:
        _close_for_good(wrapper)
        _forget_slot(wrapper.alias)
        RAN_DB_VERSION_CHECK.discard(wrapper.alias)
    elif between_requests or not database.users:
        try:
            wrapper.close_if_unusable_or_obsolete()
        except Exception:
            logger.warning("Could not close the connection to %s", wrapper.alias, exc_info=True)
        if wrapper.connection is None:
            _forget_unused(database, lease)


def _forget_unused(database: _Database, lease: _Lease) -> None:
    """A kept connection is closed: forget it, and its database with the last one."""
    with _lock:
        if database.users:
            return
        database.leases.discard(lease)
        if not len(database.leases) and _databases.get(database.alias) is database:
            del _databases[database.alias]
            RAN_DB_VERSION_CHECK.discard(database.alias)
    _forget_slot(database.alias)


def _forget_slot(alias: str) -> None:
    """Remove the wrapper from `connections`, in this thread."""
    if _is_loop_running():  # `connections` keeps another set of wrappers there; the next tidying comes back to ours
        return
    _thread.leases.pop(alias, None)
    # Looked for first, as an attempt to delete what is not there would have Python 3.12 keep the alias for ever.
    if hasattr(_handler._connections, alias):
        del connections[alias]


def _begin(lease: _Lease) -> None:
    """Let a statement start, or refuse it because no block uses the database any more."""
    with _lock:
        database = _databases.get(lease.alias)
        if database is None or not database.users or lease.closing:
            raise DatabaseNotActive(lease.alias)
        # Also when it was left from an earlier block with the same configuration.
        database.leases.add(lease)
        lease.executing += 1


def _lease_of(connection: BaseDatabaseWrapper, database: _Database) -> _Lease:
    """Hold the lock. The lease of a connection just made: a new one unless its wrapper had one before."""
    lease = next((w for w in connection.execute_wrappers if isinstance(w, _Lease)), None)
    if lease is None:
        lease = _Lease(connection)
        # First, as `connection.execute_wrapper()` blocks that are open now will remove the last.
        connection.execute_wrappers.insert(0, lease)
    database.leases.add(lease)
    return lease


def _on_connection_created(*, connection: BaseDatabaseWrapper, **_: Any) -> None:
    alias = connection.alias
    if not is_dynamic(alias):
        return
    with _lock:
        database = _databases.get(alias)
        lease = _lease_of(connection, database) if database is not None and database.users else None
    if lease is None:
        _close_for_good(connection)
        RAN_DB_VERSION_CHECK.discard(alias)
        raise DatabaseNotActive(alias)
    _thread.leases[alias] = lease
    _tidy_thread()


def _on_request(**_: Any) -> None:
    _tidy_thread(between_requests=True)


def _is_loop_running() -> bool:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True


def _install() -> None:
    """Put our mapping into `connections`, again if somebody has replaced it since, and listen to Django."""
    if isinstance(_handler.settings, _Settings):
        return
    with _lock:
        if not isinstance(_handler.settings, _Settings):
            _handler.settings = _Settings(_handler.settings)
    connection_created.connect(_on_connection_created, dispatch_uid=_on_connection_created)
    for signal in (request_started, request_finished):
        signal.connect(_on_request, dispatch_uid=_on_request)


def _after_fork() -> None:
    """Another thread may have held the lock when this process was forked."""
    global _lock
    _lock = threading.RLock()


in_each_child(_after_fork)
