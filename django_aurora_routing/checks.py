"""System checks: what can be known to be wrong before the first connection. docs/checks.rst explains each id."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from django.conf import settings
from django.core.checks import CheckMessage, Error, Info, Warning, register

ENGINES = ("django_aurora_routing.backends.mysql_connector",)


def check_options(app_configs: Any, databases: Iterable[str] | None = None, **kwargs: Any) -> list[CheckMessage]:
    """E001, I001: what `connect()` would refuse in OPTIONS, and what it would accept without any effect."""
    from .backends.wiring import parse_settings
    from .drivers.mysql_connector import OPTION_NAMES

    messages: list[CheckMessage] = []
    for alias, settings_dict in _our_aliases():
        for problem in parse_settings(settings_dict, OPTION_NAMES).problems:
            cls, ident = (Error, "E001") if problem.fatal else (Info, "I001")
            text = f"DATABASES[{alias!r}]: {problem.setting}: {problem.message}"
            messages.append(cls(text, hint=problem.hint or None, id=f"aurora_routing.{ident}"))
    return messages


def check_host_pattern(app_configs: Any, databases: Iterable[str] | None = None, **kwargs: Any) -> list[CheckMessage]:
    """E002: HOST does not tell how instances are named, and nothing else does."""
    from .backends.wiring import parse_settings
    from .core.endpoints import EndpointKind, parse_endpoint
    from .drivers.mysql_connector import OPTION_NAMES

    messages: list[CheckMessage] = []
    for alias, settings_dict in _our_aliases():
        options = parse_settings(settings_dict, OPTION_NAMES).options
        host = str(settings_dict.get("HOST") or "")
        needs = options.uses_topology and options.host_pattern is None and options.dialect == "aurora-mysql"
        if needs and parse_endpoint(host).kind in (EndpointKind.IP, EndpointKind.OTHER, EndpointKind.PROXY):
            messages.append(
                Error(
                    f"DATABASES[{alias!r}]: HOST {host!r} does not tell how the instances of its cluster are named.",
                    hint="Set OPTIONS['cluster_instance_host_pattern'], e.g. '?.abc123.eu-west-1.rds.amazonaws.com'.",
                    id="aurora_routing.E002",
                )
            )
    return messages


def check_c_extension(app_configs: Any, databases: Iterable[str] | None = None, **kwargs: Any) -> list[CheckMessage]:
    """W002: mysql-connector-python's C extension is installed but does not load, and nobody said so."""
    from .drivers.mysql_connector import extension_problem

    aliases = [alias for alias, settings_dict in _our_aliases() if not settings_dict.get("OPTIONS", {}).get("use_pure")]
    if not aliases or (problem := extension_problem()) is None:
        return []
    return [
        Warning(
            f"The C extension of mysql-connector-python cannot be loaded: {problem}. "
            "Its slower pure Python implementation is used.",
            hint=(
                "Install 'mysql-connector-python<26', whose extension needs no newer OpenSSL than the system's, or "
                "use a Python built against OpenSSL 3.2 or newer; or set OPTIONS['use_pure'] = True to accept it."
            ),
            id="aurora_routing.W002",
        )
    ]


def _our_aliases() -> list[tuple[str, dict[str, Any]]]:
    return [(alias, conf) for alias, conf in settings.DATABASES.items() if conf.get("ENGINE") in ENGINES]


def register_checks() -> None:
    """Plain checks, not `database` ones: they need no connection, so `manage.py check` always runs them."""
    for check in (check_options, check_host_pattern, check_c_extension):
        register(check, "aurora_routing")
