"""Options: the AWS wrapper's names with their meaning, and every mistake named."""

import pytest

from django_aurora_routing.core.absence import NOBODY_AWAY, Absences
from django_aurora_routing.core.asking import Preference
from django_aurora_routing.core.detection import Detection
from django_aurora_routing.core.endpoints import Address
from django_aurora_routing.core.keepalive import KeepAlive
from django_aurora_routing.core.option_values import Problem
from django_aurora_routing.core.options import FailoverMode, Options, ParsedOptions, parse_options
from django_aurora_routing.core.pacing import Backoff
from django_aurora_routing.core.plugins import DEFAULT_PLUGINS
from django_aurora_routing.core.preferences import Preferences
from django_aurora_routing.core.selection import Weights
from django_aurora_routing.core.zones import ZoneSource

MISPLACED = {"pool_size": "Use CONN_MAX_AGE."}
DRIVER = {"ssl_ca", "charset", "connection_timeout", "autocommit", "read_timeout", "use_pure"}


def parse(host: str = "db.example.com", **raw: object) -> ParsedOptions:
    return parse_options(raw, driver_names=DRIVER, misplaced=MISPLACED, host=host)


def fatal(parsed: ParsedOptions) -> list[Problem]:
    return [problem for problem in parsed.problems if problem.fatal]


def test_nothing_given_is_the_defaults() -> None:
    parsed = parse()
    assert (parsed.options, dict(parsed.driver), parsed.problems) == (Options(), {}, ())
    assert parsed.options.plugins == DEFAULT_PLUGINS
    assert parsed.options.uses_failover
    assert parsed.options.uses_host_monitoring


def test_the_settings_of_the_wrappers_documentation_work() -> None:
    parsed = parse(plugins="failover,host_monitoring_v2", connect_timeout=10, autocommit=True)
    assert parsed.problems == ()
    assert dict(parsed.driver) == {"autocommit": True}
    reader = parse(plugins="read_write_splitting,failover", read_only=True, reader_host_selector_strategy="round_robin")
    assert reader.problems == ()
    assert (reader.options.read_only, reader.options.failover_mode) == (True, FailoverMode.READER_OR_WRITER)


@pytest.mark.parametrize(
    ("given", "attribute", "expected"),
    [
        ({"topology_refresh_ms": 1500}, "topology_refresh", 1.5),
        ({"topology_refresh_ms": "1500"}, "topology_refresh", 1.5),
        ({"failover_timeout_sec": 20}, "failover_timeout", 20.0),
        ({"connection_timeout": 3}, "connect_timeout", 3.0),
        ({"failover_mode": "strict-reader"}, "failover_mode", FailoverMode.STRICT_READER),
        ({"failover_mode": "STRICT_WRITER"}, "failover_mode", FailoverMode.STRICT_WRITER),
        ({"read_only": "true"}, "read_only", True),
        ({"enable_failover": False}, "uses_failover", False),
        ({"plugins": ""}, "uses_topology", False),
        ({"plugins": "", "read_only": True}, "uses_topology", False),
        ({"plugins": "", "read_only": True}, "reads_from_host", True),
        ({"plugins": ""}, "reads_from_host", False),
        ({"read_only": True}, "reads_from_host", False),
        ({"plugins": "failover"}, "uses_host_monitoring", True),
        ({"plugins": "failover", "failure_detection_enabled": False}, "uses_host_monitoring", False),
        ({"failure_detection_count": "4"}, "detection", Detection(5.0, 1.0, 4)),
        ({"hosts": ["a.example", "b.example:3307"]}, "hosts", (Address("a.example"), Address("b.example", 3307))),
        ({"hosts": ("db.example.com", "a", "a", "a:3306")}, "hosts", (Address("db.example.com"), Address("a"))),
        ({"hosts": " a.example , b-2.example:3307,"}, "hosts", (Address("a.example"), Address("b-2.example", 3307))),
        ({"hosts": ["::1", "[::1]:3307"]}, "hosts", (Address("::1"), Address("::1", 3307))),
        ({"hosts": []}, "hosts", ()),
        ({"hosts": None}, "hosts", ()),
        ({"failover_cluster_topology_refresh_rate_sec": 2}, "topology_high_refresh", 2.0),
        (
            {"failover_cluster_topology_refresh_rate_sec": 2, "cluster_topology_high_refresh_rate_ms": 50},
            "topology_high_refresh",
            0.05,
        ),
        ({"failover_writer_reconnect_interval_sec": "2"}, "reconnect_interval", 2.0),
        ({"auxiliary_query_timeout_sec": 1.5}, "probe_timeout", 1.5),
        ({"monitoring_connection_priority": "writer-or-reader"}, "priority", (Preference(),)),
        ({"tcp_keepalive": True, "tcp_keepalive_time": 9}, "keepalive", KeepAlive(True, idle=9)),
        ({"max_reader_lag_ms": 250}, "preferences", Preferences(max_lag=0.25)),
        (
            {"weighted_random_host_weight_pairs": {"a": 3}, "weighted_random_default_weight": 2},
            "preferences",
            Preferences(weights=Weights((("a", 3),), 2)),
        ),
        ({"round_robin_host_weight_pairs": "a:3"}, "preferences", Preferences(turn_weights=Weights((("a", 3),)))),
        (
            {"availability_zone": "z", "instance_zones": "a:z"},
            "preferences",
            Preferences(zone="z", zones=(("a", "z"),)),
        ),
        ({"availability_zone": "z", "instance_zones": "a:z"}, "zone_source", None),
        ({"instance_zones": "a:z"}, "zone_source", None),
        (
            {"availability_zone": "z", "region": "eu-west-1", "aws_profile": "p"},
            "zone_source",
            ZoneSource("eu-west-1", "p"),
        ),
        ({"default_host_availability_strategy": ""}, "absences", NOBODY_AWAY),
        ({"host_availability_strategy_max_retries": 2}, "absences", NOBODY_AWAY),
        (
            {"default_host_availability_strategy": "exponential_backoff"},
            "absences",
            Absences(Backoff(30.0, 960.0), at_once=False),
        ),
        (
            {
                "default_host_availability_strategy": "exponential_backoff",
                "host_availability_strategy_initial_backoff_time": 2,
                "host_availability_strategy_max_retries": 3,
            },
            "absences",
            Absences(Backoff(2.0, 16.0), at_once=False),
        ),
        ({"reader_host_selector_strategy": "fastest_response"}, "measures_responses", True),
        ({"plugins": "failover,fastest_response_strategy"}, "measures_responses", True),
        ({"response_measurement_interval_ms": 500}, "response_interval", 0.5),
        ({"frt-ssl_ca": "a.pem"}, "response_params", {"ssl_ca": "a.pem"}),
    ],
)
def test_a_value_is_read_in_our_units(given: dict[str, object], attribute: str, expected: object) -> None:
    parsed = parse(**given)
    assert fatal(parsed) == []
    assert getattr(parsed.options, attribute) == expected


def test_a_reader_endpoint_means_readers() -> None:
    options = parse("shop.cluster-ro-abc.eu-west-1.rds.amazonaws.com").options
    assert options.failover_mode is FailoverMode.READER_OR_WRITER


@pytest.mark.parametrize(
    ("given", "setting", "words"),
    [
        ({"plugns": "failover"}, "OPTIONS['plugns']", "Did you mean 'plugins'?"),
        ({"ssl_cA": "x"}, "OPTIONS['ssl_cA']", "Did you mean 'ssl_ca'?"),
        ({"qqqqq": 1}, "OPTIONS['qqqqq']", "is not an option"),
        ({"plugins": "failover,iamm"}, "OPTIONS['plugins']", "Did you mean 'iam'?"),
        ({"plugins": "bg"}, "OPTIONS['plugins']", "blue/green deployments are not followed"),
        ({"failover_mode": "strict-writter"}, "OPTIONS['failover_mode']", "Did you mean 'strict_writer'?"),
        ({"failover_timeout_sec": "soon"}, "OPTIONS['failover_timeout_sec']", "a number of seconds"),
        ({"failover_timeout_sec": 0}, "OPTIONS['failover_timeout_sec']", "from 0.001 to 1000000, not 0"),
        ({"connect_timeout": 1e12}, "OPTIONS['connect_timeout']", "from 0.001 to 1000000, not"),
        ({"connect_timeout": 10**400}, "OPTIONS['connect_timeout']", "a number of seconds"),
        ({"topology_refresh_ms": -1}, "OPTIONS['topology_refresh_ms']", "from 1 to 1000000000, not -1"),
        ({"cluster_topology_high_refresh_rate_ms": 1e-9}, "OPTIONS['cluster_topology_high_refresh_rate_ms']", "from 1"),
        ({"failure_detection_count": 0}, "OPTIONS['failure_detection_count']", "from 1 to 1000000, not 0"),
        ({"plugins": ["failover"]}, "OPTIONS['plugins']", "commas"),
        ({"hosts": 5}, "OPTIONS['hosts']", "must be a list of names, not 5. Write a list"),
        ({"hosts": False}, "OPTIONS['hosts']", "must be a list of names"),
        ({"hosts": {"a": 1}}, "OPTIONS['hosts']", "must be a list of names"),
        ({"hosts": ["a", 5]}, "OPTIONS['hosts']", "5 is no host name"),
        ({"hosts": ["a", ""]}, "OPTIONS['hosts']", "'' is no host name"),
        ({"hosts": "a b"}, "OPTIONS['hosts']", "'a b' is no host name"),
        ({"hosts": "/run/mysqld.sock"}, "OPTIONS['hosts']", "is no host name"),
        ({"hosts": "a:70000"}, "OPTIONS['hosts']", "the port of 'a:70000'"),
        ({"hosts": "a:x"}, "OPTIONS['hosts']", "'a:x' is no host name"),
        ({"cluster_id": b"1"}, "OPTIONS['cluster_id']", "must be text"),
        ({"topology_refresh_ms": True}, "OPTIONS['topology_refresh_ms']", "a number of milliseconds"),
        ({"topology_refresh_ms": "nan"}, "OPTIONS['topology_refresh_ms']", "a number of milliseconds"),
        ({"read_only": "yes"}, "OPTIONS['read_only']", "True or False"),
        ({"read_only": True, "failover_mode": "strict_writer"}, "OPTIONS['failover_mode']", "contradicts"),
        ({"cluster_instance_host_pattern": "abc"}, "OPTIONS['cluster_instance_host_pattern']", "exactly one '?'"),
        ({"reader_host_selector_strategy": "rnd"}, "OPTIONS['reader_host_selector_strategy']", "random, round_robin"),
        ({"weighted_random_host_weight_pairs": "a:x"}, "OPTIONS['weighted_random_host_weight_pairs']", "or a dict"),
        ({"round_robin_host_weight_pairs": "a"}, "OPTIONS['round_robin_host_weight_pairs']", "'a' is no pair"),
        ({"round_robin_default_weight": 0}, "OPTIONS['round_robin_default_weight']", "from 1 to"),
        (
            {"availability_zone": "z"},
            "OPTIONS['availability_zone']",
            "Set OPTIONS['instance_zones'], or OPTIONS['region']",
        ),
        ({"instance_zones": 5}, "OPTIONS['instance_zones']", "must be pairs, not 5"),
        ({"max_reader_lag_ms": 0}, "OPTIONS['max_reader_lag_ms']", "from 1 to"),
        (
            {"default_host_availability_strategy": "exponential"},
            "OPTIONS['default_host_availability_strategy']",
            "Did you mean 'exponential_backoff'?",
        ),
        ({"failure_detection_count": 2.5}, "OPTIONS['failure_detection_count']", "a whole number"),
        ({"bg_interval_high_ms": "x"}, "OPTIONS['bg_interval_high_ms']", "a number of milliseconds"),
        (
            {"monitoring_connection_priority": "strict-reder"},
            "OPTIONS['monitoring_connection_priority']",
            "'strict-reader'",
        ),
        ({"failover_writer_reconnect_interval_sec": 0.01}, "OPTIONS['failover_writer_reconnect_interval_sec']", "from"),
        ({"pool_size": 5}, "OPTIONS['pool_size']", "cannot be used here. Use CONN_MAX_AGE."),
        ({"monitoring-conect_timeout": 1}, "OPTIONS['monitoring-conect_timeout']", "connection_timeout"),
    ],
)
def test_a_mistake_is_named_with_what_to_write(given: dict[str, object], setting: str, words: str) -> None:
    problems = fatal(parse(**given))
    assert [problem.setting for problem in problems] == [setting]
    assert words in str(problems[0])


def test_a_name_that_is_no_text_is_a_mistake() -> None:
    (problem,) = parse_options({1: 2}, driver_names=DRIVER).problems  # type: ignore[dict-item]
    assert problem.setting == "OPTIONS[1]"


def test_a_name_without_effect_is_said_to_be_without_effect() -> None:
    (problem,) = parse(bg_id="1").problems
    assert not problem.fatal
    assert "no effect" in problem.message


@pytest.mark.parametrize(
    ("name", "fine", "other", "words"),
    [
        ("transfer_session_state_on_switch", True, False, "is always True"),
        ("reset_session_state_on_close", "true", "false", "is always True"),
        ("rollback_on_switch", True, False, "is always True"),
        ("wrapper_driver_dialect", None, "mysql-connector-python", "ENGINE says"),
    ],
)
def test_what_cannot_be_otherwise_says_so_only_if_it_is_asked_to_be(
    name: str, fine: object, other: object, words: str
) -> None:
    assert parse(**{name: fine}).problems == ()
    (problem,) = parse(**{name: other}).problems
    assert not problem.fatal
    assert words in problem.message


def test_a_socket_timeout_is_the_drivers_two_time_limits() -> None:
    names = {"read_timeout", "write_timeout"}
    assert parse_options({"socket_timeout": 2.5}, driver_names=names).driver == dict.fromkeys(names, 3)
    both = parse_options({"socket_timeout": 2.5, "read_timeout": 9}, driver_names=names).driver
    assert both == {"read_timeout": 9, "write_timeout": 3}


def test_prefixed_options_go_to_the_monitors_and_are_kept_out_of_reprs() -> None:
    parsed = parse(**{"topology-monitoring-ssl_ca": "a.pem", "monitoring-read_timeout": 2})
    assert dict(parsed.options.topology_monitor_params) == {"ssl_ca": "a.pem"}
    assert dict(parsed.options.host_monitor_params) == {"read_timeout": 2}
    assert dict(parsed.driver) == {}
    assert "a.pem" not in repr(parsed)


@pytest.mark.parametrize("name", ["monitoring-connect_timeout", "topology-monitoring-connection_timeout"])
def test_a_monitors_connect_timeout_is_ours_whatever_the_driver_calls_its_own(name: str) -> None:
    parsed = parse_options({name: "1.5"}, driver_names={"charset"})
    assert parsed.problems == ()
    monitors = parsed.options.host_monitor_params or parsed.options.topology_monitor_params
    assert monitors == {"connect_timeout": 1.5}
    (problem,) = parse_options({name: "soon"}, driver_names={"charset"}).problems
    assert (problem.setting, problem.fatal) == (f"OPTIONS['{name}']", True)
