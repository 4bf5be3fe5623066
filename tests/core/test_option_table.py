"""Every option of the AWS wrapper (3.1.0) is known here: its settings need only another ENGINE.

`tests/peers` asks the wrapper itself which names it has; this list of them needs nothing that is not installed.
"""

from __future__ import annotations

import pytest

from django_aurora_routing.core.option_table import LATER_PREFIXES, MONITOR_PREFIXES, OPTION_TABLE
from django_aurora_routing.core.options import parse_options

DRIVERS = {"user": "shop", "password": "secret", "database": "shop"}

# Each with its default there, or, where that is none, with a value that people write.
WITH_EFFECT: dict[str, object] = {
    "profile_name": "ours",
    "plugins": "initial_connection,aurora_connection_tracker,failover_v2,host_monitoring_v2",
    "connect_timeout": 10,
    "socket_timeout": 30,
    "tcp_keepalive": True,
    "tcp_keepalive_time": 30,
    "tcp_keepalive_interval": 10,
    "tcp_keepalive_probes": 3,
    "transfer_session_state_on_switch": True,
    "reset_session_state_on_close": True,
    "rollback_on_switch": True,
    "topology_refresh_ms": 30000,
    "cluster_id": "1",
    "cluster_instance_host_pattern": "?.abc.eu-west-1.rds.amazonaws.com",
    "global_cluster_instance_host_patterns": "eu-west-1:?.abc.eu-west-1.rds.amazonaws.com",
    "aws_profile": "shop",
    "iam_host": "shop.cluster-abc.eu-west-1.rds.amazonaws.com",
    "iam_default_port": 3306,
    "iam_region": "eu-west-1",
    "iam_expiration": 900,
    "secrets_manager_secret_id": "shop",
    "secrets_manager_secret_username_key": "username",
    "secrets_manager_secret_password_key": "password",
    "secrets_manager_region": "us-east-1",
    "secrets_manager_endpoint": "https://secretsmanager.us-east-1.amazonaws.com",
    "secrets_manager_expiration": 31536000,
    "wrapper_dialect": "aurora-mysql",
    "wrapper_driver_dialect": None,
    "auxiliary_query_timeout_sec": 5,
    "failure_detection_enabled": True,
    "failure_detection_time_ms": 30000,
    "failure_detection_interval_ms": 5000,
    "failure_detection_count": 3,
    "monitor_disposal_time_ms": 600000,
    "enable_failover": True,
    "failover_mode": "strict-writer",
    "failover_timeout_sec": 300,
    "failover_cluster_topology_refresh_rate_sec": 2,
    "failover_writer_reconnect_interval_sec": 2,
    "failover_reader_connect_timeout_sec": 30,
    "failover_reader_host_selector_strategy": "random",
    "enable_connect_failover": False,
    "failover_home_region": "eu-west-1",
    "active_home_failover_mode": "strict-writer",
    "inactive_home_failover_mode": "strict-writer",
    "cluster_topology_high_refresh_rate_ms": 100,
    "custom_endpoint_info_refresh_rate_ms": 30000,
    "custom_endpoint_idle_monitor_expiration_ms": 900000,
    "wait_for_custom_endpoint_info": True,
    "wait_for_custom_endpoint_info_timeout_ms": 5000,
    "default_host_availability_strategy": "",
    "host_availability_strategy_max_retries": "5",
    "host_availability_strategy_initial_backoff_time": "30",
    "reader_host_selector_strategy": "random",
    "auto_sort_wrapper_plugin_order": True,
    "round_robin_default_weight": 1,
    "round_robin_host_weight_pairs": "",
    "weighted_random_default_weight": 1,
    "weighted_random_host_weight_pairs": "",
    "idp_endpoint": "adfs.example.com",
    "idp_port": 443,
    "rp_identifier": "urn:amazon:webservices",
    "iam_role_arn": "arn:aws:iam::123456789012:role/shop",
    "iam_idp_arn": "arn:aws:iam::123456789012:saml-provider/adfs",
    "iam_token_expiration": 870,
    "idp_username": "ada",
    "idp_password": "secret",
    "http_request_connect_timeout": 60,
    "ssl_secure": True,
    "idp_name": "adfs",
    "db_user": "shop",
    "app_id": "abc",
    "response_measurement_interval_ms": 30000,
    "reader_initial_connection_host_selector_strategy": "random",
    "initial_connection_host_selector_strategy": "random",
    "endpoint_substitution_role": "writer",
    "inactive_cluster_writer_endpoint_substitution_role": "writer",
    "verify_opened_connection_type": "writer",
    "verify_inactive_cluster_writer_endpoint_connection_type": "writer",
    "open_connection_retry_timeout_ms": 30000,
    "open_connection_retry_interval_ms": 1000,
    "wait_for_initial_topology_ms": 0,
    "srw_read_endpoint": "read.example.com",
    "srw_write_endpoint": "write.example.com:3307",
    "srw_verify_new_connections": True,
    "srw_verify_initial_connection_type": "writer",
    "srw_connect_retry_timeout_ms": 60000,
    "srw_connect_retry_interval_ms": 1000,
    "gdb_rw_home_region": "eu-west-1",
    "gdb_rw_restrict_writer_to_home_region": True,
    "gdb_rw_restrict_reader_to_home_region": True,
    "gdb_enable_global_write_forwarding": False,
    "gdb_accessible_regions": "eu-west-1,us-east-1",
    "monitoring_connection_priority": "strict-writer",
    "gdb_monitoring_connection_priority": "strict-writer-primary",
}
WITHOUT_EFFECT: dict[str, object] = {
    "limitless_transaction_router_monitor_disposal_time_ms": 600000,
    "limitless_transaction_router_monitor_interval_ms": 7500,
    "limitless_wait_for_transaction_router_info": True,
    "limitless_get_transaction_router_retry_interval_ms": 300,
    "limitless_get_transaction_router_max_retries": 5,
    "limitless_max_retries_ms": 7500,
    "bg_connect_timeout_ms": 30000,
    "bg_id": "1",
    "bg_interval_baseline_ms": 60000,
    "bg_interval_increased_ms": 1000,
    "bg_interval_high_ms": 100,
    "bg_switchover_timeout_ms": 180000,
    "bg_suspend_new_blue_connections": False,
    "enable_telemetry": False,
    "telemetry_submit_toplevel": False,
    "telemetry_traces_backend": "XRAY",
    "telemetry_metrics_backend": "OTLP",
    "telemetry_failover_additional_top_trace": False,
}
NO_EFFECT = "is accepted but has no effect in this version."


def test_these_are_all_of_them() -> None:
    assert len({**DRIVERS, **WITH_EFFECT, **WITHOUT_EFFECT}) == 116


@pytest.mark.parametrize(("name", "value"), {**DRIVERS, **WITH_EFFECT, **WITHOUT_EFFECT}.items())
def test_each_is_accepted_and_says_so_where_it_does_nothing(name: str, value: object) -> None:
    parsed = parse_options({name: value}, driver_names=DRIVERS, host="shop.cluster-abc.eu-west-1.rds.amazonaws.com")
    assert [str(problem) for problem in parsed.problems if problem.fatal] == []
    assert (NO_EFFECT in [problem.message for problem in parsed.problems]) is (name in WITHOUT_EFFECT)
    assert (name in parsed.driver) is (name in DRIVERS)


def test_nothing_else_is_without_effect() -> None:
    assert {name for name, row in OPTION_TABLE.items() if not row.active} == set(WITHOUT_EFFECT)


@pytest.mark.parametrize("prefix", [*MONITOR_PREFIXES, *LATER_PREFIXES])
def test_each_prefix_is_accepted_and_says_so_where_it_does_nothing(prefix: str) -> None:
    parsed = parse_options({f"{prefix}connect_timeout": 3}, driver_names=DRIVERS)
    assert [problem.message for problem in parsed.problems] == [NO_EFFECT] * (prefix in LATER_PREFIXES)
