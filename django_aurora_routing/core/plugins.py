"""The plugins: one row a name of OPTIONS["plugins"], which says what it switches on. All else goes by this table.

The names are those of the AWS Advanced Python Wrapper. In which order they are written never matters.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass

from .option_values import Problem, nearest

TOPOLOGY, FAILOVER, MONITORING, LOGIN = "topology", "failover", "host monitoring", "login"
RESPONSES, ENDPOINTS = "response times", "fixed endpoints"
_BUILT_IN = "django_aurora_routing.plugins"


@dataclass(frozen=True, slots=True)
class PluginRow:
    """One plugin: the rooms that it switches on, and the options that mean nothing without it (or its likes).

    `extension` is the dotted path of a class that is called around connects and statements. `refused` says why there
    is no such plugin here: it is known, so it is refused rather than ignored.
    """

    name: str
    switches_on: frozenset[str] = frozenset()
    options: tuple[str, ...] = ()
    extension: str = ""
    refused: str = ""


def _row(name: str, *switches_on: str, options: str = "", extension: str = "", refused: str = "") -> PluginRow:
    return PluginRow(name, frozenset(switches_on), tuple(options.split()), extension, refused)


_LATER = "is not available in this version."
_FAILOVER = "failover_timeout_sec failover_reader_host_selector_strategy enable_failover enable_connect_failover"
_SPLITTING = """
    srw_read_endpoint srw_write_endpoint srw_verify_new_connections srw_verify_initial_connection_type
    srw_connect_retry_timeout_ms srw_connect_retry_interval_ms
"""
_DETECTION = """
    failure_detection_enabled failure_detection_time_ms failure_detection_interval_ms failure_detection_count
"""
_MEMBERS = """
    custom_endpoint_host custom_endpoint_info_refresh_rate_ms custom_endpoint_idle_monitor_expiration_ms
    wait_for_custom_endpoint_info wait_for_custom_endpoint_info_timeout_ms
"""
_GLOBAL_FAILOVER = " failover_home_region active_home_failover_mode inactive_home_failover_mode"
_GLOBAL_SPLITTING = """
    gdb_rw_home_region gdb_rw_restrict_writer_to_home_region gdb_rw_restrict_reader_to_home_region
    gdb_enable_global_write_forwarding
"""
_INITIAL = """
    endpoint_substitution_role verify_opened_connection_type inactive_cluster_writer_endpoint_substitution_role
    verify_inactive_cluster_writer_endpoint_connection_type initial_connection_host_selector_strategy
    open_connection_retry_timeout_ms open_connection_retry_interval_ms wait_for_initial_topology_ms
"""
_SIGNED = " iam_host iam_default_port iam_region"
_STORED = """
    secrets_manager_secret_id secrets_manager_secret_username_key secrets_manager_secret_password_key
    secrets_manager_region secrets_manager_endpoint secrets_manager_expiration
"""
_FEDERATED = """
    db_user idp_endpoint idp_port idp_username idp_password iam_role_arn iam_idp_arn iam_token_expiration
    http_request_connect_timeout ssl_secure
"""

PLUGIN_TABLE: dict[str, PluginRow] = {
    row.name: row
    for row in (
        _row("initial_connection", TOPOLOGY, options=_INITIAL),
        _row("aurora_connection_tracker", TOPOLOGY),
        _row("stale_dns", TOPOLOGY),
        _row("read_write_splitting", TOPOLOGY),
        _row("srw", ENDPOINTS, options=_SPLITTING),
        _row("failover", TOPOLOGY, FAILOVER, MONITORING, options=_FAILOVER + _DETECTION),
        _row("failover_v2", TOPOLOGY, FAILOVER, MONITORING, options=_FAILOVER + _DETECTION),
        _row("gdb_failover", TOPOLOGY, FAILOVER, MONITORING, options=_FAILOVER + _DETECTION + _GLOBAL_FAILOVER),
        _row("gdb_rw", TOPOLOGY, options=_GLOBAL_SPLITTING),
        _row("host_monitoring", TOPOLOGY, MONITORING, options=_DETECTION),
        _row("host_monitoring_v2", TOPOLOGY, MONITORING, options=_DETECTION),
        _row("fastest_response_strategy", TOPOLOGY, RESPONSES),
        _row("custom_endpoint", TOPOLOGY, options=_MEMBERS),
        _row("iam", LOGIN, options="iam_expiration" + _SIGNED),
        _row("aws_secrets_manager", LOGIN, options=_STORED),
        _row("federated_auth", LOGIN, options="idp_name rp_identifier" + _FEDERATED + _SIGNED),
        _row("okta", LOGIN, options="app_id" + _FEDERATED + _SIGNED),
        _row("connect_time", extension=f"{_BUILT_IN}.stopwatch.ConnectTime"),
        _row("execute_time", extension=f"{_BUILT_IN}.stopwatch.ExecuteTime"),
        _row("dev", extension=f"{_BUILT_IN}.dev.FaultInjection"),
        _row("bg", refused="is not built: blue/green deployments are not followed. A switchover is met as a failover."),
        _row("limitless", refused="is not built: Aurora Limitless exists for PostgreSQL only."),
    )
}
DEFAULT_PLUGINS = ("initial_connection", "aurora_connection_tracker", "failover_v2", "host_monitoring_v2")


@functools.lru_cache(maxsize=256)
def switched_on(plugins: tuple[str, ...], room: str) -> bool:
    """Whether one of these plugins switches a room on."""
    return any(room in row.switches_on for name in plugins if (row := PLUGIN_TABLE.get(name)) is not None)


def parse_plugins(
    value: object, problems: list[Problem], entry_points: Callable[[], Collection[str]]
) -> tuple[str, ...]:
    """The names of a list with commas, those that cannot be used left out and noted.

    `entry_points` gives the names of other distributions' plugins, and is asked only about a name that is not ours. A
    dotted path is taken as it is.
    """
    if value is None:
        return DEFAULT_PLUGINS
    known = []
    for name in dict.fromkeys(name.strip() for name in str(value).split(",") if name.strip()):
        row = PLUGIN_TABLE.get(name)
        if row is None and "." not in name and name not in (others := entry_points()):
            names = {*(name for name, row in PLUGIN_TABLE.items() if not row.refused), *others}
            hint = nearest(name, {*PLUGIN_TABLE, *others}) or f"Known plugins: {', '.join(sorted(names))}."
            problems.append(Problem("OPTIONS['plugins']", f"unknown plugin {name!r}.", hint))
        elif row is not None and row.refused:
            built = ", ".join(sorted(name for name, row in PLUGIN_TABLE.items() if not row.refused))
            hint = f"Remove it, or use one of: {built}."
            problems.append(Problem("OPTIONS['plugins']", f"the plugin {name!r} {row.refused}", hint))
        else:
            known.append(name)
    return tuple(known)


def unused_options(given: Mapping[str, object], plugins: Collection[str]) -> dict[str, str]:
    """The options that were given and mean nothing with these plugins, each with those that would need it."""
    unused: dict[str, list[str]] = {}
    for row in PLUGIN_TABLE.values():
        for option in row.options:
            if option in given:
                unused.setdefault(option, []).append(row.name)
    return {option: " or ".join(map(repr, owners)) for option, owners in unused.items() if not {*owners} & {*plugins}}
