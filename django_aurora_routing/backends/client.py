"""`manage.py dbshell`: Django's own, with credentials that are fetched, through the environment alone."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from types import SimpleNamespace
from typing import Any

from ..cluster.credentials import CREDENTIALS, Credentials
from ..core.endpoints import DEFAULT_PORT
from ..core.logins import Unavailable
from ..core.splitting import fixed_endpoint
from ..core.tls import CLEAR_TEXT
from ..drivers.frames import without_frames
from ..errors import LoginError
from .wiring import given_options, seed_of

_FILES = {"ca": "ssl_ca", "cert": "ssl_cert", "key": "ssl_key"}
_CLEAR_TEXT_VARIABLE = "LIBMYSQL_ENABLE_CLEARTEXT_PLUGIN"  # MySQL's client sends nothing as it is without
_VARIABLES = "SHELL_VARIABLES"  # a setting of nobody's: what else goes into the environment
_ACCOUNT = frozenset({"user", "password", "passwd"})


class ClientMixin:
    """Over Django's `DatabaseClient` for MySQL, which puts PASSWORD into the environment of what it starts."""

    connection: Any

    @classmethod
    def settings_to_cmd_args_env(
        cls, settings_dict: Mapping[str, Any], parameters: Iterable[str]
    ) -> tuple[list[str], dict[str, str] | None]:
        options, port = given_options(settings_dict), int(settings_dict.get("PORT") or DEFAULT_PORT)
        named = {**settings_dict, "OPTIONS": _named_as_mysqlclient_does(options)}
        if (endpoint := fixed_endpoint(options, port)) is not None:
            named |= {"HOST": endpoint.host, "PORT": str(endpoint.port)}
        args, env = super().settings_to_cmd_args_env(named, parameters)  # type: ignore[misc]
        return args, {**(env or {}), **settings_dict.get(_VARIABLES, {})} or None

    def runshell(self, parameters: Iterable[str]) -> None:
        given = self.connection.settings_dict
        credentials: Credentials | None = None
        if _VARIABLES not in given:
            params = self.connection.get_connection_params()
            credentials = params.get(CREDENTIALS)
        if credentials is None:
            super().runshell(parameters)  # type: ignore[misc]
            return
        variables: dict[str, str] = {}
        if credentials.arguments.get("auth_plugin") == CLEAR_TEXT:
            variables[_CLEAR_TEXT_VARIABLE] = "1"
            parameters = [*_demanding_tls(params), *parameters]
        issued = _issued(credentials, given)
        options = {name: value for name, value in given_options(given).items() if name not in _ACCOUNT}
        lent = {"USER": issued.user, "PASSWORD": str.__str__(issued.password), "OPTIONS": options}
        shell = type(self)(SimpleNamespace(settings_dict={**given, **lent, _VARIABLES: variables}))  # type: ignore[call-arg]
        try:
            shell.runshell(parameters)
        except Exception as exc:  # noqa: BLE001 - whatever it is, it goes on
            del issued, lent, shell  # these and the frames below hold the password
            raise without_frames(exc) from None


def _issued(credentials: Credentials, settings_dict: Mapping[str, Any]) -> Any:
    problem = ""
    try:
        return credentials.at(seed_of(settings_dict)).get(time.monotonic() + 30).value
    except Unavailable as exc:
        problem = str(exc)
    raise LoginError(problem)


def _named_as_mysqlclient_does(options: Mapping[str, Any]) -> dict[str, Any]:
    """Django's client looks for certificates under mysqlclient's names only."""
    files = {name: options[flat] for name, flat in _FILES.items() if options.get(flat)}
    return {**options, "ssl": {**files, **(options.get("ssl") or {})}}


def _demanding_tls(params: Mapping[str, Any]) -> list[str]:
    """Options of the programs `mysql` of MySQL and of MariaDB: each knows one of them and passes over the other.

    MariaDB's has no way to verify the certificate but not the name in it.
    """
    is_certain = params.get("ssl_verify_identity", params.get("ssl_mode") == "VERIFY_IDENTITY")
    mode = "VERIFY_IDENTITY" if is_certain else "VERIFY_CA"
    return [f"--loose-ssl-mode={mode}", "--loose-ssl-verify-server-cert"]
