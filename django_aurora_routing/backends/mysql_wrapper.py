"""What the engines over Django's MySQL backend have in common, whatever their driver."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from django.core.exceptions import ImproperlyConfigured

from ..cluster.credentials import CREDENTIALS
from ..core.global_database import FORWARDING_ISOLATION
from ..core.keepalive import KEEPALIVE
from ..core.option_values import nearest
from ..core.regions import Duty
from ..core.secret import hidden
from .wrapper import ClusterWrapperMixin

_CONSISTENCY = "aurora_replica_read_consistency"


class MySQLWrapperMixin(ClusterWrapperMixin):
    """Over Django's MySQL `DatabaseWrapper`, or a subclass of it."""

    isolation_levels: set[str]
    isolation_level: str | None
    features: Any

    def mysql_params(self, **defaults: Any) -> dict[str, Any]:
        """The driver's arguments as settings have them, but for where to connect; OPTIONS come before `defaults`."""
        settings_dict = self.settings_dict
        options = self.split_options(settings_dict)
        usual = FORWARDING_ISOLATION if self._options.regions.forwards_writes else "read committed"
        self.isolation_level = self._checked_isolation_level(options.pop("isolation_level", usual))
        options.pop("autocommit", None)  # Django's own setting AUTOCOMMIT decides
        params = dict(defaults)
        if (login := self._options.login) is not None:
            from ..cluster.logins import credentials_of  # with all that speaks to AWS and to identity providers

            params[CREDENTIALS] = credentials_of(login)
        if (keepalive := self._options.keepalive) is not None:
            params[KEEPALIVE] = keepalive
        for setting, name in (("USER", "user"), ("NAME", "database"), ("PASSWORD", "password")):
            if settings_dict[setting]:
                params[name] = hidden(name, settings_dict[setting])
        if settings_dict["HOST"].startswith("/"):
            params["unix_socket"] = settings_dict["HOST"]
        return {**params, **options}

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

    def session_setup(self, conn_params: Mapping[str, Any]) -> str:
        # Django's statement comes after what init_command and plugins do, and has the last word.
        if conn_params.get("init_command") or self.has_own_way_to_connect:
            return ""
        return self._modes(self._options.read_only)

    def _modes(self, read_only: bool) -> str:
        """The statement that gives a session its isolation level and its access mode; empty where there is neither."""
        level = self.isolation_level
        modes = [*([f"ISOLATION LEVEL {level.upper()}"] if level else ()), *(["READ ONLY"] if read_only else ())]
        return f"SET SESSION TRANSACTION {', '.join(modes)}" if modes else ""

    def init_connection_state(self) -> None:
        # Also on a reader: should it be promoted while we are on it, it still takes no write from here.
        read_only = self.is_read_only_wanted()
        modes, level = self._modes(read_only), self.isolation_level
        self.isolation_level = None  # it is sent here, unless it has been sent with the login
        try:
            super().init_connection_state()
        finally:
            self.isolation_level = level
        if modes and modes != self.driver.setup_of(self.connection):
            with self.cursor() as cursor:
                cursor.execute(modes)
        self.session_is_read_only = read_only
        self._set_up_forwarding()

    def _set_up_forwarding(self) -> None:
        """On a reader that sends writes on to the writer: Aurora does so only where the session has said how to read.

        At SESSION it sees its own writes.
        https://docs.aws.amazon.com/AmazonRDS/latest/AuroraUserGuide/aurora-global-database-write-forwarding-ams.html
        """
        if self.duty is Duty.FORWARD and _CONSISTENCY not in str(self.get_connection_params().get("init_command")):
            with self.cursor() as cursor:
                cursor.execute(f"SET SESSION {_CONSISTENCY} = 'SESSION'")

    def _savepoint_allowed(self) -> bool:
        """Savepoints are not forwarded: there is none in an inner block, as where a database has no savepoints."""
        return self.duty is not Duty.FORWARD and bool(super()._savepoint_allowed())  # type: ignore[misc]
