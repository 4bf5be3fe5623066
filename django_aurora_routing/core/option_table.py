"""The names that OPTIONS may hold besides the driver's own: one row each, with unit, default and standing.

The names and meanings are those of the AWS Advanced Python Wrapper (3.1.0), so its settings work here unchanged.
`hosts` and `pool` are our own. Where our default differs from its, the row says so.
"""

from __future__ import annotations

from dataclasses import dataclass

from . import selection
from .logins import YEAR
from .regions import REGION_MODES

BOOL, INT, SECONDS, MILLISECONDS, TEXT, CHOICE, HOSTS, PAIRS, POOL = (
    "true or false",
    "a whole number",
    "seconds",
    "milliseconds",
    "text",
    "choice",
    "host names",
    "pairs",
    "true or a dictionary",
)


@dataclass(frozen=True, slots=True)
class OptionRow:
    """One option. `active` is False for a name that is accepted but has no effect in this version.

    `note` is said of every value but the default, which it always has. `limits` are the least and the most it may be,
    in the unit that it is written in; None for those of its kind.
    """

    name: str
    kind: str
    default: object = None
    choices: tuple[str, ...] = ()
    active: bool = False
    limits: tuple[float, float] | None = None
    note: str = ""


FAILOVER_MODES = ("strict_writer", "strict_reader", "reader_or_writer")
STRATEGIES = tuple(selection.STRATEGIES)
DEFAULT_STRATEGY = "power_of_two"
DIALECTS = (
    *("aurora-mysql", "global-aurora-mysql", "multi-az-mysql", "replication-mysql", "group-replication-mysql"),
    *("mysql", "rds-mysql"),
)


def _names(text: str) -> list[str]:
    return text.split()


def _kind_of_number(name: str) -> str:
    if name.endswith("_ms"):
        return MILLISECONDS
    return INT if name.endswith(("_port", "_retries", "_weight", "_probes")) else SECONDS


def _active(
    name: str,
    kind: str,
    default: object = None,
    choices: tuple[str, ...] = (),
    limits: tuple[float, float] | None = None,
) -> OptionRow:
    return OptionRow(name, kind, default, choices, active=True, limits=limits)


def _always(name: str, kind: str, value: object, note: str) -> OptionRow:
    return OptionRow(name, kind, value, active=True, note=note)


_ACTIVE = (
    _active("plugins", TEXT),
    _active("auto_sort_wrapper_plugin_order", BOOL, True),  # either means the same: the order never matters
    _active("profile_name", TEXT),
    _active("cluster_id", TEXT),
    _active("cluster_instance_host_pattern", TEXT),
    _active("hosts", HOSTS, ()),
    _active("pool", POOL),
    _active("wrapper_dialect", CHOICE, None, DIALECTS),
    _active("connect_timeout", SECONDS, 10.0),  # the drivers have no effective default of their own
    _active("read_only", BOOL, False),
    _active("reader_host_selector_strategy", CHOICE, DEFAULT_STRATEGY, STRATEGIES),  # theirs: random
    _active("failover_mode", CHOICE, None, FAILOVER_MODES),
    _active("failover_timeout_sec", SECONDS, 60.0),  # theirs: 300
    _active("failover_reader_host_selector_strategy", CHOICE, None, STRATEGIES),  # theirs: random; ours: as above
    _active("enable_failover", BOOL, True),
    _active("enable_connect_failover", BOOL, True),  # theirs: False
    _active("failover_reader_connect_timeout_sec", SECONDS),  # theirs: 30; ours: as any other connect
    _active("failover_cluster_topology_refresh_rate_sec", SECONDS),  # the first failover's name for the high rate
    _active("failover_writer_reconnect_interval_sec", SECONDS, 0.1, limits=(0.05, 60)),  # theirs: 2
    _active("gdb_accessible_regions", TEXT),
    _active("global_cluster_instance_host_patterns", TEXT),
    _active("failover_home_region", TEXT),
    _active("active_home_failover_mode", CHOICE, None, tuple(REGION_MODES)),
    _active("inactive_home_failover_mode", CHOICE, None, tuple(REGION_MODES)),
    _active("gdb_rw_home_region", TEXT),
    _active("gdb_rw_restrict_writer_to_home_region", BOOL, True),
    _active("gdb_rw_restrict_reader_to_home_region", BOOL, True),
    _active("gdb_enable_global_write_forwarding", BOOL, False),
    _active("topology_refresh_ms", MILLISECONDS, 30.0),
    _active("cluster_topology_high_refresh_rate_ms", MILLISECONDS, 0.01),  # theirs: 100 ms
    _active("monitoring_connection_priority", TEXT),  # theirs: strict-writer
    _active("gdb_monitoring_connection_priority", TEXT),  # theirs: strict-writer-primary
    _active("auxiliary_query_timeout_sec", SECONDS, 5.0),
    _active("failure_detection_enabled", BOOL, True),
    # Theirs (30000, 5000, 3, PostgreSQL only) find a dead host after 45 s; ours within 9 s.
    _active("failure_detection_time_ms", MILLISECONDS, 5.0),
    _active("failure_detection_interval_ms", MILLISECONDS, 1.0),
    _active("failure_detection_count", INT, 3),
    _active("monitor_disposal_time_ms", MILLISECONDS, 600.0),
    _active("socket_timeout", SECONDS),
    _active("tcp_keepalive", BOOL),
    _active("tcp_keepalive_time", SECONDS, None, limits=(1, 32767)),
    _active("tcp_keepalive_interval", SECONDS, None, limits=(1, 32767)),
    _active("tcp_keepalive_probes", INT, None, limits=(1, 127)),
    _always("wrapper_driver_dialect", TEXT, None, "has no effect: ENGINE says which driver is used."),
    _always(
        *("transfer_session_state_on_switch", BOOL, True),
        "is always True: Django sets each new connection up as it did the first.",
    ),
    _always(
        *("reset_session_state_on_close", BOOL, True),
        "is always True: no session state goes from one use of a connection to the next.",
    ),
    _always(
        *("rollback_on_switch", BOOL, True),
        "is always True: a connection in a transaction is left only when it is lost, and its server rolls back then.",
    ),
    _active("weighted_random_host_weight_pairs", PAIRS, ""),
    _active("weighted_random_default_weight", INT, 1),
    _active("round_robin_host_weight_pairs", PAIRS, ""),
    _active("round_robin_default_weight", INT, 1),
    _active("max_reader_lag_ms", MILLISECONDS),  # ours, as are the next two
    _active("availability_zone", TEXT),
    _active("instance_zones", PAIRS, ""),
    _active("response_measurement_interval_ms", MILLISECONDS, 30.0),
    _active("default_host_availability_strategy", CHOICE, "", ("exponential_backoff",)),
    _active("host_availability_strategy_max_retries", INT, 5),
    _active("host_availability_strategy_initial_backoff_time", SECONDS, 30.0),
    _active("endpoint_substitution_role", CHOICE, None, ("writer", "reader", "any", "none")),
    _active("verify_opened_connection_type", CHOICE, None, ("writer", "reader", "none")),
    _active("inactive_cluster_writer_endpoint_substitution_role", CHOICE, "writer", ("writer", "none")),
    _active("verify_inactive_cluster_writer_endpoint_connection_type", CHOICE, "writer", ("writer", "none")),
    _active("initial_connection_host_selector_strategy", CHOICE, None, STRATEGIES),  # theirs: random
    _active("open_connection_retry_timeout_ms", MILLISECONDS),  # theirs: 30000; ours: failover_timeout_sec
    _active("open_connection_retry_interval_ms", MILLISECONDS, 1.0),
    _active("wait_for_initial_topology_ms", MILLISECONDS, None, limits=(0, 1_000_000_000)),  # theirs: 0
    _active("custom_endpoint_host", TEXT),  # ours: the endpoint's own name, where HOST is another
    _active("custom_endpoint_info_refresh_rate_ms", MILLISECONDS, 30.0),
    _active("custom_endpoint_idle_monitor_expiration_ms", MILLISECONDS, 900.0),
    _active("wait_for_custom_endpoint_info", BOOL, True),
    _active("wait_for_custom_endpoint_info_timeout_ms", MILLISECONDS, 5.0),
    _active("region", TEXT),  # ours: the region of everything that has no region of its own
    _active("aws_profile", TEXT),
    _active("iam_host", TEXT),
    _active("iam_default_port", INT, None, limits=(1, 65535)),
    _active("iam_region", TEXT),
    _active("iam_expiration", SECONDS, 870.0),  # theirs: 900, which is all of a token's life
    _active("secrets_manager_secret_id", TEXT),
    _active("secrets_manager_secret_username_key", TEXT, "username"),
    _active("secrets_manager_secret_password_key", TEXT, "password"),
    _active("secrets_manager_region", TEXT),
    _active("secrets_manager_endpoint", TEXT),
    _active("secrets_manager_expiration", SECONDS, YEAR, limits=(-1, 100 * YEAR)),  # theirs: below 0 is a year
    _active("db_user", TEXT),
    _active("idp_name", TEXT, "adfs"),
    _active("idp_endpoint", TEXT),
    _active("idp_port", INT, 443, limits=(1, 65535)),
    _active("idp_username", TEXT),
    _active("idp_password", TEXT),
    _active("rp_identifier", TEXT, "urn:amazon:webservices"),
    _active("app_id", TEXT),
    _active("iam_role_arn", TEXT),
    _active("iam_idp_arn", TEXT),
    _active("iam_token_expiration", SECONDS, 870.0),
    _active("http_request_connect_timeout", SECONDS, 60.0),
    _active("ssl_secure", BOOL, True),
    _active("srw_read_endpoint", TEXT),
    _active("srw_write_endpoint", TEXT),
    _active("srw_verify_new_connections", BOOL, True),
    _active("srw_verify_initial_connection_type", CHOICE, None, ("reader", "writer")),
    _active("srw_connect_retry_timeout_ms", MILLISECONDS, 6.0),  # as theirs is documented; it takes 60 s
    _active("srw_connect_retry_interval_ms", MILLISECONDS, 0.1),  # as theirs is documented; it waits for 1 s
)
_ACCEPTED = _names("""
    enable_telemetry telemetry_submit_toplevel telemetry_failover_additional_top_trace
    limitless_wait_for_transaction_router_info bg_suspend_new_blue_connections
""")
_ACCEPTED_NUMBERS = _names("""
    limitless_transaction_router_monitor_disposal_time_ms limitless_transaction_router_monitor_interval_ms
    limitless_get_transaction_router_retry_interval_ms limitless_get_transaction_router_max_retries
    limitless_max_retries_ms bg_connect_timeout_ms bg_interval_baseline_ms bg_interval_increased_ms
    bg_interval_high_ms bg_switchover_timeout_ms
""")
_ACCEPTED_TEXTS = _names("""
    bg_id telemetry_traces_backend telemetry_metrics_backend
""")

OPTION_TABLE: dict[str, OptionRow] = {
    row.name: row
    for row in (
        *_ACTIVE,
        *(OptionRow(name, BOOL) for name in _ACCEPTED),
        *(OptionRow(name, _kind_of_number(name)) for name in _ACCEPTED_NUMBERS),
        *(OptionRow(name, TEXT) for name in _ACCEPTED_TEXTS),
    )
}

# Names that the wrapper has left behind: each counts only where the present one is left out.
FORMER_NAMES = {"reader_initial_connection_host_selector_strategy": "initial_connection_host_selector_strategy"}
# All other names for an option of ours: these, and the driver's.
SPELLINGS = {"connection_timeout": "connect_timeout", **FORMER_NAMES}

# A prefixed driver option goes to the connections that a monitor makes, not to the application's.
MONITOR_PREFIXES = ("topology-monitoring-", "monitoring-", "frt-")
LATER_PREFIXES = ("blue-green-monitoring-", "limitless-router-monitor-")
