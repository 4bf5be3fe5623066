"""Checks of what the backend is given: OPTIONS and HOST."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any, NamedTuple

from django.conf import settings
from django.core.checks import CheckMessage, Error, Info, Warning

from ..config import ENGINES
from ..core.endpoints import EndpointKind, default_host_pattern, parse_endpoint
from ..core.logins import FederatedLogin, IamLogin, may_lead_to_rds
from ..core.options import FailoverMode, ParsedOptions
from ..core.plugins import ENDPOINTS, switched_on

if TYPE_CHECKING:
    from ..cluster.names import Resolve

CONNECTOR = ENGINES[0]


class _Alias(NamedTuple):
    name: str
    engine: str
    settings: dict[str, Any]
    parsed: ParsedOptions


def check_options(app_configs: Any, databases: Iterable[str] | None = None, **kwargs: Any) -> list[CheckMessage]:
    """E001, I001: what `connect()` would refuse in OPTIONS, and what it would accept without any effect."""
    messages: list[CheckMessage] = []
    for alias in _our_aliases():
        for problem in alias.parsed.problems:
            cls, ident = (Error, "E001") if problem.fatal else (Info, "I001")
            text = f"DATABASES[{alias.name!r}]: {problem.setting}: {problem.message}"
            messages.append(cls(text, hint=problem.hint or None, id=f"aurora_routing.{ident}"))
    return messages


def check_host_pattern(app_configs: Any, databases: Iterable[str] | None = None, **kwargs: Any) -> list[CheckMessage]:
    """E002: HOST does not tell how instances are named, DNS can have nothing better behind it, and no option tells."""
    return [
        _missing_pattern(alias, "")
        for alias in _our_aliases()
        if _needs_pattern(alias) and not may_lead_to_rds(str(alias.settings.get("HOST") or ""))
    ]


def check_names(
    app_configs: Any, databases: Iterable[str] | None = None, *, resolve: Resolve | None = None, **kwargs: Any
) -> list[CheckMessage]:
    """E002, E004, W003, W004: what HOST leads to by DNS. Only for databases that are named: it asks the resolver."""
    from ..cluster.names import names_behind, rds_name_behind

    messages: list[CheckMessage] = []
    for alias in _our_aliases():
        options, host = alias.parsed.options, str(alias.settings.get("HOST") or "")
        if alias.name not in (databases or ()) or not (options.uses_topology or options.login):
            continue
        if not may_lead_to_rds(host):
            continue
        name = rds_name_behind(host, resolve or names_behind)
        if _needs_pattern(alias) and (name is None or default_host_pattern(name, 0) is None):
            leads = "nor leads to a name that does" if name is None else f"and leads to {name.host}"
            messages.append(_missing_pattern(alias, f", {leads}"))
        token = _token_of(alias)
        if token is not None and name is None and not token.host:
            messages.append(_unsignable(alias) if token.region else _without_region(alias))
        if name is None or not options.uses_topology:
            continue
        hint = ""
        if name.kind is EndpointKind.READER and options.failover_mode is FailoverMode.STRICT_WRITER:
            hint = "Set OPTIONS['read_only'] = True, or OPTIONS['failover_mode'] = 'reader_or_writer' to write as well."
        elif name.kind.hides_instances:
            hint = f"Use the cluster's endpoint, or {name.host!r} itself."
        if hint:
            messages.append(
                Warning(
                    f"DATABASES[{alias.name!r}]: HOST {host!r} leads to {name.host}, a {name.kind.value}, but the name "
                    "does not tell: the alias's connections go to the writer.",
                    hint=hint,
                    id="aurora_routing.W004",
                )
            )
    return messages


def _without_region(alias: _Alias) -> CheckMessage:
    host = str(alias.settings.get("HOST") or "")
    return Error(
        f"DATABASES[{alias.name!r}]: HOST {host!r} neither says its region nor leads to a name that does, so no token "
        "can be signed.",
        hint="Set OPTIONS['iam_host'] to the cluster's endpoint, which says it.",
        id="aurora_routing.E004",
    )


def _needs_pattern(alias: _Alias) -> bool:
    from ..backends.wiring import cluster_settings_of, is_placed

    options = alias.parsed.options
    is_meant = is_placed(alias.settings, options) and options.dialect in ("aurora-mysql", "global-aurora-mysql")
    return is_meant and cluster_settings_of(alias.settings, options).pattern is None


def _missing_pattern(alias: _Alias, more: str) -> CheckMessage:
    host = str(alias.settings.get("HOST") or "")
    option = "cluster_instance_host_pattern"
    if alias.parsed.options.dialect == "global-aurora-mysql":
        option = "global_cluster_instance_host_patterns"
    return Error(
        f"DATABASES[{alias.name!r}]: HOST {host!r} does not tell how its cluster's instances are named{more}.",
        hint=f"Set OPTIONS[{option!r}], e.g. '?.abc123.eu-west-1.rds.amazonaws.com'.",
        id="aurora_routing.E002",
    )


def check_proxies(app_configs: Any, databases: Iterable[str] | None = None, **kwargs: Any) -> list[CheckMessage]:
    """E003, I002: HOST is something that hides its instances: a shard group, which is not MySQL's; an RDS proxy."""
    messages: list[CheckMessage] = []
    for alias in _our_aliases():
        options, host = alias.parsed.options, str(alias.settings.get("HOST") or "")
        kind = parse_endpoint(host).kind
        if kind is EndpointKind.SHARD_GROUP:
            messages.append(
                Error(
                    f"DATABASES[{alias.name!r}]: HOST {host!r} is a shard group of Aurora Limitless, which there is "
                    "for PostgreSQL only.",
                    hint="Use the endpoint of a MySQL cluster.",
                    id="aurora_routing.E003",
                )
            )
        elif kind is EndpointKind.PROXY and options.uses_topology:
            messages.append(
                Info(
                    f"DATABASES[{alias.name!r}]: HOST {host!r} is an RDS proxy, which chooses the instance and "
                    "does the failover by itself. The alias talks to it alone, without host monitoring and topology.",
                    hint="Use the cluster's endpoint, or say that it is meant: leave such names out of "
                    "OPTIONS['plugins'], which may be ''.",
                    id="aurora_routing.I002",
                )
            )
    return messages


def check_reads_from_host(
    app_configs: Any, databases: Iterable[str] | None = None, **kwargs: Any
) -> list[CheckMessage]:
    """W005: a read-only alias is on the writer, as HOST leads there and no plugin looks for a reader."""
    messages: list[CheckMessage] = []
    for alias in _our_aliases():
        host = str(alias.settings.get("HOST") or "")
        kind = parse_endpoint(host).kind
        if alias.parsed.options.reads_from_host and kind in (EndpointKind.CLUSTER, EndpointKind.GLOBAL):
            messages.append(
                Warning(
                    f"DATABASES[{alias.name!r}]: OPTIONS['read_only'] is true, but no name in OPTIONS['plugins'] has "
                    f"readers looked for, and HOST {host!r} leads to the writer.",
                    hint="Leave OPTIONS['plugins'] out, add 'initial_connection' to it, or use the reader endpoint.",
                    id="aurora_routing.W005",
                )
            )
    return messages


def check_c_extension(app_configs: Any, databases: Iterable[str] | None = None, **kwargs: Any) -> list[CheckMessage]:
    """W001: mysql-connector-python's C extension is installed but does not load, and nobody said so."""
    if all(alias.engine != CONNECTOR or alias.parsed.driver.get("use_pure") for alias in _our_aliases()):
        return []
    from ..drivers.mysql_connector import extension_problem

    if (problem := extension_problem()) is None:
        return []
    return [
        Warning(
            f"The C extension of mysql-connector-python cannot be loaded: {problem}. "
            "Its slower pure Python implementation is used.",
            hint=(
                "Install 'mysql-connector-python<26', whose extension needs no newer OpenSSL than the system's, or "
                "use a Python built against OpenSSL 3.2 or newer; or set OPTIONS['use_pure'] = True to accept it."
            ),
            id="aurora_routing.W001",
        )
    ]


def check_clusters(app_configs: Any, databases: Iterable[str] | None = None, **kwargs: Any) -> list[CheckMessage]:
    """W002: aliases that share a cluster, and so its monitors, ask for different ones."""
    from ..backends.wiring import cluster_key_of, cluster_settings_of, is_placed

    messages: list[CheckMessage] = []
    first: dict[tuple[str, str], tuple[str, Any]] = {}  # aliases on different drivers share no monitors
    for alias in _our_aliases():
        if not is_placed(alias.settings, alias.parsed.options):
            continue
        wanted = cluster_settings_of(alias.settings, alias.parsed.options)
        key = (alias.engine, cluster_key_of(alias.settings, alias.parsed.options))
        other, theirs = first.setdefault(key, (alias.name, wanted))
        if wanted.monitoring != theirs.monitoring:
            messages.append(
                Warning(
                    f"DATABASES[{alias.name!r}] and DATABASES[{other!r}] are one cluster, but differ in the options of "
                    "its monitors; those of the alias that connects first are used for both.",
                    hint="Give both the same topology_refresh_ms, failure_detection_..., hosts and host pattern, or "
                    "each its own OPTIONS['cluster_id'].",
                    id="aurora_routing.W002",
                )
            )
    return messages


def check_signed_host(app_configs: Any, databases: Iterable[str] | None = None, **kwargs: Any) -> list[CheckMessage]:
    """W003: a token would be signed for a name that RDS does not take it for, whatever DNS says."""
    messages: list[CheckMessage] = []
    for alias in _our_aliases():
        host = str(alias.settings.get("HOST") or "")
        token = _token_of(alias)
        if token is not None and not (token.host or parse_endpoint(host).kind.is_rds or may_lead_to_rds(host)):
            messages.append(_unsignable(alias))
    return messages


def check_faults(app_configs: Any, databases: Iterable[str] | None = None, **kwargs: Any) -> list[CheckMessage]:
    """W009, for deployments: a plugin that is for tests."""
    return [
        Warning(
            f"DATABASES[{alias.name!r}]: the plugin 'dev' makes connections fail, for tests.",
            hint="Name it in the tests' settings only.",
            id="aurora_routing.W009",
        )
        for alias in _our_aliases()
        if "dev" in alias.parsed.options.plugins
    ]


def _token_of(alias: _Alias) -> IamLogin | None:
    login = alias.parsed.options.login
    token = login.token if isinstance(login, FederatedLogin) else login
    return token if isinstance(token, IamLogin) else None


def _unsignable(alias: _Alias) -> CheckMessage:
    host = str(alias.settings.get("HOST") or "")
    return Warning(
        f"DATABASES[{alias.name!r}]: tokens would be signed for HOST {host!r}, which is no name of RDS's, "
        "and RDS takes them for its own names only.",
        hint="Set OPTIONS['iam_host'] to the cluster's endpoint.",
        id="aurora_routing.W003",
    )


def _our_aliases() -> Iterator[_Alias]:
    """The aliases on our engines. A driver is imported only if one of them needs it."""
    for name, conf in settings.DATABASES.items():
        if (engine := conf.get("ENGINE")) not in ENGINES:
            continue
        from ..backends.wiring import parse_settings, seed_of

        if engine == CONNECTOR:
            from ..drivers.mysql_connector import MISPLACED_OPTIONS, OPTION_NAMES
        else:
            from ..drivers.mysqlclient_options import MISPLACED_OPTIONS, OPTION_NAMES
        parsed = parse_settings(conf, OPTION_NAMES, MISPLACED_OPTIONS)
        if switched_on(parsed.options.plugins, ENDPOINTS):
            conf = {**conf, "HOST": seed_of(conf).host}
        yield _Alias(name, engine, conf, parsed)


CHECKS = (
    check_options,
    check_host_pattern,
    check_proxies,
    check_reads_from_host,
    check_c_extension,
    check_clusters,
    check_signed_host,
)
DEPLOY_CHECKS = (check_faults,)
DATABASE_CHECKS = (check_names,)
