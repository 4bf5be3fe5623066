"""The plugins: what each name of OPTIONS["plugins"] switches on. `backends/wiring` and the rooms go by this alone."""

from __future__ import annotations

from .option_values import Problem, nearest

# What each plugin name switches on. `None`: known, but not built yet, so it is refused rather than ignored.
TOPOLOGY, FAILOVER, MONITORING, LOGIN = "topology", "failover", "host monitoring", "login"
PLUGIN_TABLE: dict[str, frozenset[str] | None] = {
    "initial_connection": frozenset({TOPOLOGY}),
    "aurora_connection_tracker": frozenset({TOPOLOGY}),
    "stale_dns": frozenset({TOPOLOGY}),
    "read_write_splitting": frozenset({TOPOLOGY}),
    "failover": frozenset({TOPOLOGY, FAILOVER, MONITORING}),
    "failover_v2": frozenset({TOPOLOGY, FAILOVER, MONITORING}),
    "host_monitoring": frozenset({MONITORING, TOPOLOGY}),
    "host_monitoring_v2": frozenset({MONITORING, TOPOLOGY}),
    "iam": frozenset({LOGIN}),
    "aws_secrets_manager": frozenset({LOGIN}),
    "federated_auth": frozenset({LOGIN}),
    "okta": frozenset({LOGIN}),
    **dict.fromkeys(
        (
            "custom_endpoint",
            "srw",
            "gdb_failover",
            "gdb_rw",
            "fastest_response_strategy",
            "bg",
            "limitless",
            "connect_time",
            "execute_time",
            "dev",
        )
    ),
}
DEFAULT_PLUGINS = ("initial_connection", "aurora_connection_tracker", "failover_v2", "host_monitoring_v2")


def parse_plugins(value: object, problems: list[Problem]) -> tuple[str, ...]:
    if value is None:
        return DEFAULT_PLUGINS
    names = tuple(name.strip() for name in str(value).split(",") if name.strip())
    known = []
    for name in names:
        if name not in PLUGIN_TABLE:
            hint = nearest(name, PLUGIN_TABLE) or f"Known plugins: {', '.join(sorted(PLUGIN_TABLE))}."
            problems.append(Problem("OPTIONS['plugins']", f"unknown plugin {name!r}.", hint))
        elif PLUGIN_TABLE[name] is None:
            built = ", ".join(sorted(name for name, rooms in PLUGIN_TABLE.items() if rooms is not None))
            hint = f"Remove it, or use one of: {built}."
            problems.append(
                Problem("OPTIONS['plugins']", f"the plugin {name!r} is not available in this version.", hint)
            )
        else:
            known.append(name)
    return tuple(known)
