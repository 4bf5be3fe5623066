"""The engine `django_aurora_routing.backends.mysql_connector`: Django's MySQL backend over mysql-connector-python."""

from __future__ import annotations

from types import TracebackType
from typing import Any

from django.db.backends.mysql.client import DatabaseClient as DjangoDatabaseClient
from django.db.backends.mysql.schema import DatabaseSchemaEditor as DjangoSchemaEditor

from ...core.failures import ErrorFacts
from ...drivers.mysql_connector import (
    CLIENT_FLAGS,
    DB_API,
    DRIVER_ERRORS,
    MISPLACED_OPTIONS,
    OPTION_NAMES,
    MySQLConnectorDriver,
    autocommits,
)
from ...drivers.mysql_connector_cursor import Cursor
from ..client import ClientMixin
from ..errors import ClusterErrorWrapper
from ..lost import LostConnection
from ..mysql_errors import class_of_same_name, error_class
from ..mysql_wrapper import MySQLWrapperMixin
from .django_mysql import import_django_mysql

DjangoDatabaseWrapper: Any = import_django_mysql().DatabaseWrapper


class ErrorWrapper(ClusterErrorWrapper):
    """Gives each error the class and the arguments that it has with mysqlclient, whatever the connector made of it."""

    def convert(self, error: BaseException, facts: ErrorFacts, traceback: TracebackType | None) -> None:
        if facts.errno is None:
            args: tuple[Any, ...] = (facts.message,)
            cls = class_of_same_name(error)
        else:
            errno = 2006 if facts.errno == -1 else facts.errno  # -1 is this driver's way to say "server gone"
            cls, args = error_class(errno), (errno, facts.message)
        if cls.__name__ not in ("DataError", "IntegrityError"):
            self.wrapper.errors_occurred = True
        raise cls(*args).with_traceback(traceback) from error


class _Literal(bytes):
    """A literal that is bytes, as some of mysqlclient's are, and yet can be written into the text of a statement."""

    def __str__(self) -> str:
        return self.decode()


class SchemaEditor(DjangoSchemaEditor):
    """Django's, but for literals: it asks mysqlclient's connection to quote them."""

    def quote_value(self, value: Any) -> str | bytes:  # type: ignore[override]
        self.connection.ensure_connection()
        literal = self.connection.create_cursor().mogrify(b"%s", (value,))
        return _Literal(literal) if isinstance(value, (bool, bytes)) else literal.decode()


class DatabaseClient(ClientMixin, DjangoDatabaseClient):
    """What `dbshell` starts."""


class DatabaseWrapper(MySQLWrapperMixin, DjangoDatabaseWrapper):  # type: ignore[misc]
    """One alias."""

    Database = DB_API
    SchemaEditorClass = SchemaEditor
    client_class = DatabaseClient
    driver = MySQLConnectorDriver()
    driver_option_names = OPTION_NAMES
    driver_misplaced_options = MISPLACED_OPTIONS
    error_wrapper_class = ErrorWrapper
    driver_errors = DRIVER_ERRORS

    def get_connection_params(self) -> dict[str, Any]:
        """Arguments of `mysql.connector.connect()`, but for host and port, which are chosen at each connect."""
        params = self.mysql_params(charset="utf8mb4", use_unicode=True)
        return {**params, "client_flags": _with_found_rows(params.get("client_flags")), "autocommit": True}

    def create_cursor(self, name: str | None = None) -> Cursor:
        connection = self.connection
        if isinstance(connection, LostConnection):
            connection.raise_again()
        return Cursor(connection)

    def _set_autocommit(self, autocommit: bool) -> None:
        if not autocommit:
            self.follow_read_only()
        with self.wrap_database_errors:
            # Django asks each new connection for what it has; mysqlclient, too, sends nothing then.
            if autocommits(self.connection) != autocommit:
                self.connection.cmd_query(b"SET autocommit = 1" if autocommit else b"SET autocommit = 0")


def _with_found_rows(flags: Any) -> Any:
    """Add FOUND_ROWS to the user's `client_flags`, a number, or a list of what the driver's own lack."""
    if isinstance(flags, int):
        # Without the other one, passwords of more than 255 bytes, as tokens are, would be cut off.
        return flags | CLIENT_FLAGS["FOUND_ROWS"] | CLIENT_FLAGS["PLUGIN_AUTH_LENENC_CLIENT_DATA"]
    return [*(flags or ()), CLIENT_FLAGS["FOUND_ROWS"]]
