"""mysqlclient (MySQLdb) as a driver: connects, asks, aborts and reads its errors. Knows no Django and no cluster."""

from __future__ import annotations

import contextlib
import ctypes
import math
import socket
import weakref
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import MySQLdb
from MySQLdb import _mysql, connections, cursors
from MySQLdb.constants import CLIENT

from ..core.endpoints import Address
from ..core.failures import ErrorFacts
from ..core.keepalive import KEEPALIVE, KeepAlive
from ..core.rows import Rows
from .base import SETUP, Look
from .sockets import keep_alive, look_at, nothing_seen, point_nowhere, shut_login_down, socket_id
from .watchdog import WATCHDOG

DRIVER_ERRORS: tuple[type[BaseException], ...] = (MySQLdb.Error,)
"""All that its calls raise."""

FOUND_ROWS = int(CLIENT.FOUND_ROWS)
"""The flag for `client_flag` that has an UPDATE report the rows it found, not those it changed."""


class NeverSentError(MySQLdb.OperationalError):  # type: ignore[misc,unused-ignore]
    """The connection was found dead before the statement was sent."""


_send = _mysql.connection.query
_NATIVE = b"_mysql.connection.native_connection"


def _find_reset() -> Callable[[int], int] | None:
    """The C library's `mysql_reset_connection()`, which the driver does not offer; None where it is not to be had."""
    try:
        found = ctypes.CDLL(_mysql.__file__).mysql_reset_connection  # by way of what the module is linked with
    except (OSError, AttributeError):
        return None
    found.argtypes, found.restype = [ctypes.c_void_p], ctypes.c_int
    return found


_reset = _find_reset()
_pointer_in = ctypes.pythonapi.PyCapsule_GetPointer
_pointer_in.argtypes, _pointer_in.restype = [ctypes.py_object, ctypes.c_char_p], ctypes.c_void_p

_RESULT = ("_result", "description", "description_flags", "warning_count", "rowcount", "lastrowid")
"""What the driver's cursor has of a statement's answer, by its own names for it."""


class Cursor(cursors.Cursor):  # type: ignore[misc,unused-ignore]
    """The driver's own, but for one thing: it reads the answers to all statements of a call before it returns.

    The driver reads the later ones in `nextset()` or while closing, when nobody looks at their errors any more.
    """

    executemany_fallback = "loop"  # from 2.3 on
    _waiting: Sequence[tuple[Any, ...]] = ()

    def _query(self, query: bytes) -> Any:
        db = self._get_db()
        self._result = self.rowcount = self.lastrowid = None
        db.query(query)
        try:
            self._do_get_result(db)
            if db.next_result() == 0:
                self._read_on(db)
        except MySQLdb.Error:
            db.is_waiting = False
            raise
        db.is_waiting = False
        self._post_get_result()
        self._executed = query
        return self.rowcount

    def _read_on(self, db: Connection) -> None:
        results = [self._taken()]
        while True:
            self._do_get_result(db)
            results.append(self._taken())
            if db.next_result() != 0:
                break
        self._load(results[0])
        self._waiting = results[1:]

    def _taken(self) -> tuple[Any, ...]:
        return tuple([getattr(self, name, None) for name in _RESULT])  # 2.2 counts no warnings

    def _load(self, result: tuple[Any, ...]) -> None:
        for name, value in zip(_RESULT, result, strict=True):
            setattr(self, name, value)
        self.rownumber: int | None = 0

    def nextset(self) -> int | None:
        if not self._waiting:
            return None
        first, *self._waiting = self._waiting
        self._load(first)
        self._post_get_result()
        return 1

    def _discard(self) -> None:
        """Called before each statement and by close(). Nothing is left at the server, so that it is not asked."""
        self._result = self._rows = self.description = self.description_flags = self.rownumber = None
        self._waiting = ()


class Connection(connections.Connection):  # type: ignore[misc,unused-ignore]
    """Can be looked at, whether the server has hung up, and be aborted by another thread.

    `is_waiting` says that a statement is under way, or was left by an exception that is not the driver's own.
    """

    default_cursor = Cursor
    is_waiting = False
    look: Look = staticmethod(nothing_seen)
    spare: socket.socket | None = None
    """A duplicate of the session's own. The session's methods may not be called while a statement is running."""

    def set_character_set(self, charset: str, collation: str | None = None) -> None:
        if self.spare is None:  # the first that the driver calls once it has logged in
            self._keep_socket()
        super().set_character_set(charset, collation)

    def _keep_socket(self) -> None:
        self._fd = self.fileno()
        self.spare = kept = socket.socket(fileno=socket.dup(self._fd))
        # For connections that nobody closes; what the driver has closes by itself then.
        weakref.finalize(self, kept.close).atexit = False
        self.look = look_at(kept.fileno())

    def query(self, query: bytes | bytearray | str) -> None:
        if isinstance(query, bytearray):
            query = bytes(query)  # as the driver's own, which is passed over here: this is called for every statement
        self.is_waiting = True
        try:
            _send(self, query)
        except MySQLdb.Error:
            self.is_waiting = False
            raise

    def reset(self, params: Mapping[str, Any]) -> None:
        """Make the session as it was after the login, by a command that the driver does not know."""
        if _reset is None:
            raise MySQLdb.NotSupportedError(0, "the C library under mysqlclient cannot reset sessions")
        if _reset(_pointer_in(self._get_native_connection(), _NATIVE)):
            raise MySQLdb.OperationalError(self.errno(), self.error())
        # As it is done after a login, in the same order.
        if command := params.get("init_command"):
            self.query(command)
            while self.store_result() is not None or self.next_result() == 0:
                pass
        self.set_character_set(params["charset"], params.get("collation"))
        if sql_mode := params.get("sql_mode"):
            self.set_sql_mode(sql_mode)
        self.autocommit(bool(params.get("autocommit")))
        self.is_waiting = False

    def abort(self) -> bool:
        """Shut the socket down. False before the end of the login, and after close()."""
        if self.spare is None:
            return False
        try:
            self.spare.shutdown(socket.SHUT_RDWR)
        except OSError:
            return self.spare.fileno() >= 0  # it had been shut down before
        return True

    def leave_to_parent(self) -> bool:
        """Have the session end in /dev/null, in this process alone."""
        kept = self.spare
        if kept is None or kept.fileno() < 0:
            return False
        try:
            # Where the library has closed the session's own after a loss, its number may be another one's by now.
            if socket_id(self._fd) == socket_id(kept.fileno()):
                point_nowhere(self._fd)
        except OSError:
            return False
        finally:
            self.let_go()
        return True

    def let_go(self) -> None:
        """Close the duplicate."""
        kept, self.spare = self.spare, None
        self.look = nothing_seen
        if kept is not None:
            kept.close()


class MySQLClientDriver:
    """See `drivers.base.Driver`."""

    def connect(self, address: Address, params: Mapping[str, Any], timeout: float) -> Connection:
        """Open a session. Arguments are those of `MySQLdb.connect()`."""
        arguments = {**params, "host": address.host, "port": address.port}
        keepalive: KeepAlive | None = arguments.pop(KEEPALIVE, None)
        arguments.pop(SETUP, None)  # what the driver sends itself cannot take it along
        if arguments.get("unix_socket"):
            arguments.pop("host")
        # The library's time limit is in whole seconds, and one for each answer of the login. The watchdog covers what
        # it leaves open, but cannot end a TCP connect that nobody answers: that one ends with the full second.
        connection = Connection.__new__(Connection)
        arguments["connect_timeout"] = max(1, math.ceil(timeout))
        try:
            with WATCHDOG.after(timeout, lambda: _abort_login(connection, address)):
                connection.__init__(**arguments)  # type: ignore[misc]
        except BaseException:
            self.close(connection)
            raise
        connection.is_waiting = False
        if keepalive is not None:
            keep_alive(connection.fileno(), keepalive)
        return connection

    def setup_of(self, connection: Connection) -> str:
        return ""

    def ask(self, connection: Connection, sql: str, timeout: float | None = None) -> Rows:
        if timeout is not None:
            with WATCHDOG.after(timeout, connection.abort):
                return self.ask(connection, sql)
        connection.query(sql)
        try:
            result = connection.store_result()
        except MySQLdb.Error:
            connection.is_waiting = False
            raise
        connection.is_waiting = False
        return Rows() if result is None else Rows(result.fetch_row(0), (column[0] for column in result.describe()))

    def reset(self, connection: Connection, params: Mapping[str, Any], timeout: float) -> None:
        with WATCHDOG.after(timeout, connection.abort):
            connection.reset(params)

    def close(self, connection: Connection) -> None:
        # Whatever a dying connection raises, there is nothing left to be done about it.
        with contextlib.suppress(Exception):
            connection.close()
        connection.let_go()

    def abort(self, connection: Connection, *, only_here: bool = False) -> bool:
        return connection.leave_to_parent() if only_here else connection.abort()

    def is_out_of_step(self, connection: Connection) -> bool:
        return connection.is_waiting

    def look(self, connection: Connection) -> Look:
        return connection.look

    def never_sent(self) -> NeverSentError:
        return NeverSentError(2006, "Server has gone away")

    def facts(self, error: BaseException) -> ErrorFacts | None:
        if not isinstance(error, MySQLdb.Error):
            return None
        errno = error.args[0] if error.args and isinstance(error.args[0], int) else None
        message = str(error.args[1]) if errno is not None and len(error.args) > 1 else str(error)
        return ErrorFacts(-1 if isinstance(error, NeverSentError) else errno, message)


def _abort_login(connection: Connection, address: Address) -> None:
    if not connection.abort():
        shut_login_down(connection, address)
