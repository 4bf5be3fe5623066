"""mysql-connector-python as a driver: connects, asks, aborts and reads its errors. Knows no Django and no cluster.

Works on both of its implementations. The C extension is used where it loads; `extension_problem()` says why not.
"""

from __future__ import annotations

import contextlib
import importlib.util
import logging
import math
import os
import socket
import ssl
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import mysql.connector
from mysql.connector.abstracts import MySQLConnectionAbstract
from mysql.connector.connection import MySQLConnection
from mysql.connector.constants import CNX_POOL_ARGS, DEFAULT_CONFIGURATION, ClientFlag, FieldType, ServerFlag
from mysql.connector.network import MySQLSocket

from ..core.endpoints import Address
from ..core.failures import ErrorFacts
from ..core.keepalive import KEEPALIVE, KeepAlive
from ..core.rows import Rows
from .base import SETUP, Look
from .frames import without_frames
from .mysql_network import TCPNetwork, UnixNetwork
from .sockets import descriptor_in, keep_alive, look_at, nothing_seen, point_nowhere, shut_login_down, socket_id
from .watchdog import WATCHDOG

try:
    from _mysql_connector import MySQLInterfaceError  # type: ignore[import-not-found,unused-ignore]
    from mysql.connector.connection_cext import CMySQLConnection

    HAVE_EXTENSION = True
except ImportError:
    HAVE_EXTENSION = False
    CMySQLConnection = None  # type: ignore[assignment,misc]

    class MySQLInterfaceError(Exception):  # type: ignore[no-redef]
        """Stands for the C extension's own error class where there is no extension."""


DB_API = mysql.connector
"""The module with the driver's PEP 249 names, for those who may not import it themselves."""
CLIENT_FLAGS: dict[str, int] = {name: getattr(ClientFlag, name) for name in dir(ClientFlag) if name.isupper()}
FIELD_TYPES: dict[str, int] = {name: getattr(FieldType, name) for name in dir(FieldType) if name.isupper()}

OPTION_NAMES = frozenset(DEFAULT_CONFIGURATION) - {"host", "port", "dsn"}
"""The arguments that a connection of the driver takes; where it leads to is chosen by us at each connect."""

MISPLACED_OPTIONS = {
    **dict.fromkeys(("host", "port"), "Use DATABASES' own HOST and PORT."),
    **dict.fromkeys(("dsn", "option_files", "option_groups"), "Write the settings in DATABASES."),
    **dict.fromkeys(CNX_POOL_ARGS, "The driver's own pools know nothing of a failover; use OPTIONS['pool']."),
}
"""Arguments of `mysql.connector.connect()` that cannot be used here, each with what to write instead."""

NEVER_SENT = "MySQL Connection not available"
"""The driver's own words, under its own number -1, for a connection found dead before anything was sent."""

DRIVER_ERRORS: tuple[type[BaseException], ...] = (mysql.connector.Error, MySQLInterfaceError)
"""All that its calls raise; the extension's commit() and rollback() leak its own class."""


def _is_no_answer_to_a_login(record: logging.LogRecord) -> bool:
    return not str(record.msg).startswith("# request: ")


# At DEBUG it logs what it sends to log in, which may be the password as it is.
logging.getLogger("mysql.connector").addFilter(_is_no_answer_to_a_login)


def extension_problem() -> str | None:
    """Why the C extension is not used although it is installed; None when it loads or is not there at all."""
    if HAVE_EXTENSION or importlib.util.find_spec("_mysql_connector") is None:
        return None
    try:
        import _mysql_connector  # noqa: F401
    except ImportError as exc:
        return f"{exc} (this Python runs on {ssl.OPENSSL_VERSION})"
    return None  # pragma: no cover - it failed before and loads now


class _Session:
    """Over either of the driver's connections: what it sends after a login and after a reset, in fewer round trips."""

    wanted_setup = ""
    setup = ""
    """What was run together with the driver's own SET NAMES: `wanted_setup`, or nothing."""
    _is_to_be_set_up = False

    if TYPE_CHECKING:
        _client_flags: int

        def cmd_query(self, query: str | bytes) -> Any: ...

    def _post_connection(self) -> None:
        self.setup = ""
        self._is_to_be_set_up = bool(self.wanted_setup and self._client_flags & ClientFlag.MULTI_STATEMENTS)
        try:
            super()._post_connection()  # type: ignore[misc]
        finally:
            self._is_to_be_set_up = False

    def _execute_query(self, query: str) -> None:
        if not self._is_to_be_set_up:
            super()._execute_query(query)  # type: ignore[misc]
            return
        self._is_to_be_set_up = False
        self._execute_all(f"{query}; {self.wanted_setup}")
        self.setup = self.wanted_setup

    def _execute_all(self, statements: str) -> None:
        """Run more than one statement, none of which returns rows."""
        raise NotImplementedError

    @property
    def autocommit(self) -> bool:
        return autocommits(self)

    @autocommit.setter
    def autocommit(self, value: bool) -> None:
        """Nothing is sent where the server is so already: the driver's own sets it with each connect."""
        if not server_status(self) or self.autocommit != value:
            self.cmd_query(b"SET autocommit = 1" if value else b"SET autocommit = 0")
        self._autocommit = value


class PureConnection(_Session, MySQLConnection):
    """Keeps what the server says of the session with each answer, of which the driver's own keeps two flags.

    `is_waiting` says that a statement is under way, or was left by an exception that is not the driver's own.
    """

    status = 0
    is_waiting = False
    look: Look = staticmethod(nothing_seen)

    def _get_connection(self) -> MySQLSocket:
        network: MySQLSocket
        if self._unix_socket and os.name == "posix":
            network = UnixNetwork(self._unix_socket)
        else:
            network = TCPNetwork(self.server_host, self.server_port, self._force_ipv6)
        network.set_connection_timeout(self._connection_timeout)
        return network

    def cmd_query(self, *args: Any, **kwargs: Any) -> Any:
        self.is_waiting = True
        try:
            answer = super().cmd_query(*args, **kwargs)
        except mysql.connector.Error:
            self.is_waiting = False
            raise
        self.is_waiting = False
        return answer

    def _execute_all(self, statements: str) -> None:
        self.is_waiting = True
        try:
            for _ in self.cmd_query_iter(statements):
                pass
        except mysql.connector.Error:
            self.is_waiting = False
            raise
        self.is_waiting = False

    def _handle_server_status(self, flags: int) -> None:
        self.status = flags
        super()._handle_server_status(flags)


class ExtensionConnection(_Session, CMySQLConnection if HAVE_EXTENSION else object):  # type: ignore[misc]
    """The C extension's."""

    socket_id: object = None
    look: Look = staticmethod(nothing_seen)

    def _execute_all(self, statements: str) -> None:
        self.cmd_query(statements)
        try:
            while self.next_result():
                pass
        except MySQLInterfaceError as exc:
            raise mysql.connector.errors.get_mysql_exception(exc.errno, exc.msg, exc.sqlstate) from exc


def server_status(connection: Any) -> int:
    """The flags of `mysql.connector.constants.ServerFlag` that came with the server's last answer."""
    if isinstance(connection, PureConnection):
        return connection.status
    session = connection._cmysql
    return int(session.st_server_status()) if session is not None else 0


def autocommits(connection: Any) -> bool:
    """Whether the session is in autocommit, by the server's last answer."""
    return bool(server_status(connection) & ServerFlag.STATUS_AUTOCOMMIT)


class MySQLConnectorDriver:
    """See `drivers.base.Driver`."""

    def connect(self, address: Address, params: Mapping[str, Any], timeout: float) -> MySQLConnectionAbstract:
        """Open a session. Arguments are `mysql.connector.connect()`'s; `use_pure` chooses the implementation."""
        arguments = {**params, "host": address.host, "port": address.port}
        use_pure = bool(arguments.pop("use_pure", False))
        keepalive: KeepAlive | None = arguments.pop(KEEPALIVE, None)
        setup = str(arguments.pop(SETUP, ""))
        if arguments.get("unix_socket"):
            arguments.pop("host")
        if not HAVE_EXTENSION or use_pure:
            # The time limit of this implementation is one per answer of the login; the watchdog covers the
            # statements that it sends afterwards.
            connection: Any = PureConnection()
            connection.wanted_setup = setup
            try:
                with WATCHDOG.after(timeout, lambda: self.abort(connection)):
                    connection.connect(**arguments, connection_timeout=timeout)
                if keepalive is not None:
                    keep_alive(connection._socket.sock.fileno(), keepalive)
                connection.look = look_at(connection._socket.sock.fileno())
            except Exception as exc:  # noqa: BLE001 - of Python's own as well, from the midst of the driver
                _close_socket(connection)
                raise without_frames(exc) from exc.__cause__
            except BaseException:
                _close_socket(connection)
                raise
            return connection  # type: ignore[no-any-return]
        # The extension's time limit ends with the server's greeting, and is in whole seconds; the watchdog covers
        # the rest of the login.
        extension: Any = ExtensionConnection()
        extension.wanted_setup = setup
        with WATCHDOG.after(timeout, lambda: _abort_login(extension, address)):
            extension.connect(**arguments, connection_timeout=max(1, math.ceil(timeout)))
        fd = descriptor_in(extension._cmysql)
        extension.socket_id = socket_id(fd) if fd is not None else None
        extension.look = look_at(fd) if fd is not None else nothing_seen
        if fd is not None and keepalive is not None:
            keep_alive(fd, keepalive)
        return extension  # type: ignore[no-any-return]

    def setup_of(self, connection: Any) -> str:
        return connection.setup  # type: ignore[no-any-return]

    def ask(self, connection: MySQLConnectionAbstract, sql: str, timeout: float | None = None) -> Rows:
        if timeout is not None:
            with WATCHDOG.after(timeout, lambda: self.abort(connection)):
                return self.ask(connection, sql)
        result = connection.cmd_query(sql)
        if not result or "columns" not in result:
            return Rows()
        rows, _ = connection.get_rows()
        return Rows(rows, (column[0] for column in result["columns"]))

    def reset(self, connection: MySQLConnectionAbstract, params: Mapping[str, Any], timeout: float) -> None:
        with WATCHDOG.after(timeout, lambda: self.abort(connection)):
            if not connection.cmd_reset_connection():  # and what the driver sends after a login
                raise mysql.connector.OperationalError("The server does not reset sessions")

    def close(self, connection: MySQLConnectionAbstract) -> None:
        # Whatever a dying connection raises, there is nothing left to be done about it.
        with contextlib.suppress(Exception):
            connection.close()
        _close_socket(connection)

    def abort(self, connection: MySQLConnectionAbstract, *, only_here: bool = False) -> bool:
        if only_here:
            return _point_nowhere(connection)
        sock = _socket_of(connection)
        if sock is None:
            return False
        with contextlib.closing(sock), contextlib.suppress(OSError):
            sock.shutdown(socket.SHUT_RDWR)
        return True

    def is_out_of_step(self, connection: MySQLConnectionAbstract) -> bool:
        if isinstance(connection, PureConnection) and connection.is_waiting:
            return True
        more = bool(server_status(connection) & ServerFlag.MORE_RESULTS_EXISTS)
        return more or bool(connection.unread_result)

    def look(self, connection: Any) -> Look:
        return connection.look  # type: ignore[no-any-return]

    def never_sent(self) -> mysql.connector.OperationalError:
        return mysql.connector.OperationalError(NEVER_SENT, errno=-1)

    def facts(self, error: BaseException) -> ErrorFacts | None:
        if not isinstance(error, DRIVER_ERRORS):
            return None
        errno = getattr(error, "errno", None)
        message = str(getattr(error, "msg", None) or error)
        if errno == -1 and NEVER_SENT not in message:
            errno = None  # -1 also stands for "no number"
        timed_out = isinstance(error, _TIMEOUT_ERRORS)
        if errno is None and isinstance(error, MySQLInterfaceError) and error.args:
            errno = error.args[0] if isinstance(error.args[0], int) else None
        return ErrorFacts(errno, message, getattr(error, "sqlstate", None), timed_out)


_TIMEOUT_ERRORS = tuple(
    cls
    for name in ("ReadTimeoutError", "WriteTimeoutError", "ConnectionTimeoutError")
    if isinstance(cls := getattr(mysql.connector.errors, name, None), type)
)


def _close_socket(connection: Any) -> None:
    """Close what the pure implementation leaves open: it shuts a socket down first, and stops when that fails."""
    if isinstance(connection, MySQLConnection) and connection._socket is not None:
        sock = connection._socket.sock
        if sock is not None:
            sock.close()


def _point_nowhere(connection: Any) -> bool:
    """Put /dev/null in the place of the connection's socket, in this process alone."""
    try:
        fd = _descriptor_of(connection)
        if fd is None:
            return False
        point_nowhere(fd)
    except (OSError, AttributeError):
        return False
    return True


def _socket_of(connection: Any) -> socket.socket | None:
    """A duplicate of the connection's socket, to be closed by the caller; None when it is not to be had."""
    try:
        fd = _descriptor_of(connection)
        return socket.socket(fileno=os.dup(fd)) if fd is not None else None
    except (OSError, AttributeError):
        return None


def _descriptor_of(connection: Any) -> int | None:
    if isinstance(connection, MySQLConnection):
        sock = connection._socket.sock if connection._socket is not None else None
        return int(sock.fileno()) if sock is not None and sock.fileno() >= 0 else None
    session = connection._cmysql
    if session is None or not session.connected():
        return None
    # Where the library has closed the socket after a loss, its number may be another one's by now.
    fd = descriptor_in(session)
    return fd if fd is not None and socket_id(fd) == getattr(connection, "socket_id", None) else None


def _abort_login(connection: Any, address: Address) -> None:
    if (session := connection._cmysql) is not None:  # until the end of its login it does not call itself connected
        shut_login_down(session, address)
