"""The engine `django_aurora_routing.backends.mysql_connector`: Django's MySQL backend over mysql-connector-python."""

from __future__ import annotations

from collections.abc import Mapping
from types import TracebackType
from typing import Any

from django.core.exceptions import ImproperlyConfigured
from django.db.backends.mysql.schema import DatabaseSchemaEditor as DjangoSchemaEditor

from ...core.failures import ErrorFacts
from ...core.options import nearest
from ...core.secret import hidden
from ...drivers.base import Connection
from ...drivers.mysql_connector import (
    CLIENT_FLAGS,
    DB_API,
    DRIVER_ERRORS,
    MISPLACED_OPTIONS,
    OPTION_NAMES,
    MySQLConnectorDriver,
    autocommits,
    is_hung_up,
)
from ...drivers.mysql_connector_cursor import Cursor
from ..errors import ClusterErrorWrapper
from ..lost import LostConnection
from ..mysql_errors import class_of_same_name, error_class
from ..wiring import seed_of
from ..wrapper import ClusterWrapperMixin
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


class DatabaseWrapper(ClusterWrapperMixin, DjangoDatabaseWrapper):  # type: ignore[misc]
    """One alias."""

    Database = DB_API
    SchemaEditorClass = SchemaEditor
    driver = MySQLConnectorDriver()
    driver_option_names = OPTION_NAMES
    driver_misplaced_options = MISPLACED_OPTIONS
    error_wrapper_class = ErrorWrapper
    driver_errors = DRIVER_ERRORS

    def get_connection_params(self) -> dict[str, Any]:
        """Arguments of `mysql.connector.connect()`, but for host and port, which are chosen at each connect."""
        settings_dict = self.settings_dict
        options = self.split_options(settings_dict)
        self.isolation_level = self._checked_isolation_level(options.pop("isolation_level", "read committed"))
        params: dict[str, Any] = {"charset": "utf8mb4", "use_unicode": True}
        for setting, name in (("USER", "user"), ("NAME", "database"), ("PASSWORD", "password")):
            if settings_dict[setting]:
                params[name] = hidden(name, settings_dict[setting])
        if settings_dict["HOST"].startswith("/"):
            params["unix_socket"] = settings_dict["HOST"]
        # An UPDATE reports the rows it found, not those it changed: Django counts on it.
        flags = options.pop("client_flags", None)
        options.pop("autocommit", None)  # Django's own setting AUTOCOMMIT decides
        return {**params, **options, "client_flags": _with_found_rows(flags), "autocommit": True}

    def _checked_isolation_level(self, level: str | None) -> str | None:
        if not level:
            return None  # the server's default, as with Django's own backend
        if level.lower() not in self.isolation_levels:
            levels = ", ".join(repr(known) for known in sorted(self.isolation_levels))
            raise ImproperlyConfigured(  # in Django's words
                f"DATABASES[{self.alias!r}]: Invalid transaction isolation level {level!r} specified.\n"
                f"Use one of {levels}, or None. {nearest(level.lower(), self.isolation_levels)}"
            )
        return level.lower()

    def open_directly(self, conn_params: Mapping[str, Any], timeout: float) -> Connection:
        return self.driver.connect(seed_of(self.settings_dict), conn_params, timeout)

    def is_hung_up(self) -> bool:
        connection = self.connection
        return connection is not None and not isinstance(connection, LostConnection) and is_hung_up(connection)

    def init_connection_state(self) -> None:
        # Also on a reader: should it be promoted while we are on it, it still takes no write from here.
        level, read_only = self.isolation_level, self.is_read_only_wanted()
        if level and read_only:
            self.isolation_level = f"{level}, read only"  # goes with the statement that Django sends for the level
        try:
            super().init_connection_state()
        finally:
            self.isolation_level = level
        if read_only and not level:
            with self.cursor() as cursor:
                cursor.execute(self.access_mode_sql % "ONLY")
        self.session_is_read_only = read_only

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
        return flags | CLIENT_FLAGS["FOUND_ROWS"]
    return [*(flags or ()), CLIENT_FLAGS["FOUND_ROWS"]]
