"""The engine `django_aurora_routing.backends.mysql`: Django's own MySQL backend, with mysqlclient."""

from __future__ import annotations

import inspect
from typing import Any

from django.core.exceptions import ImproperlyConfigured

try:
    from ...drivers.mysqlclient import DRIVER_ERRORS, FOUND_ROWS, MySQLClientDriver
except ImportError as exc:
    raise ImproperlyConfigured(
        f"The engine django_aurora_routing.backends.mysql needs mysqlclient, which cannot be imported ({exc}).\n"
        "Install it: pip install 'django-aurora-routing[mysqlclient]'. Without it there is the engine "
        "django_aurora_routing.backends.mysql_connector."
    ) from exc

from django.db.backends.mysql import base
from django.db.backends.mysql.client import DatabaseClient as DjangoDatabaseClient

from ...drivers.mysqlclient_options import MISPLACED_OPTIONS, OPTION_NAMES
from ..client import ClientMixin
from ..mysql_wrapper import MySQLWrapperMixin


class DatabaseClient(ClientMixin, DjangoDatabaseClient):
    """What `dbshell` starts."""


class DatabaseWrapper(MySQLWrapperMixin, base.DatabaseWrapper):  # type: ignore[misc,unused-ignore]
    """One alias."""

    client_class = DatabaseClient
    driver = MySQLClientDriver()
    driver_option_names = OPTION_NAMES
    driver_misplaced_options = MISPLACED_OPTIONS
    driver_errors = DRIVER_ERRORS
    # Without asking for a running event loop, as cursor() has done.
    create_cursor = inspect.unwrap(base.DatabaseWrapper.create_cursor)

    def get_connection_params(self) -> dict[str, Any]:
        """Arguments of `MySQLdb.connect()`, but for host and port, which are chosen at each connect."""
        params = self.mysql_params(charset="utf8mb4", conv=base.django_conversions)
        # An UPDATE reports the rows it found, not those it changed: Django counts on it.
        return {**params, "client_flag": params.get("client_flag", 0) | FOUND_ROWS, "autocommit": True}

    def _set_autocommit(self, autocommit: bool) -> None:
        if not autocommit:
            self.follow_read_only()
        super()._set_autocommit(autocommit)  # type: ignore[misc]
