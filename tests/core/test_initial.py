"""The first place of a connection: what the options of `initial_connection` come to."""

from __future__ import annotations

import pytest

from django_aurora_routing.core.endpoints import Address
from django_aurora_routing.core.initial import AS_AFTER_A_FAILOVER, InitialConnection, Start, Substitution, start_of
from django_aurora_routing.core.options import ParsedOptions, parse_options
from django_aurora_routing.core.topology import Instance, Role, Topology

WRITER_ENDPOINT = "shop.cluster-abc123.eu-west-1.rds.amazonaws.com"
READER_ENDPOINT = "shop.cluster-ro-abc123.eu-west-1.rds.amazonaws.com"
NONE, ANY = Substitution.NONE, Substitution.ANY


def parse(host: str = WRITER_ENDPOINT, **raw: object) -> ParsedOptions:
    return parse_options(raw, driver_names=(), host=host)


def writer_in(region: str) -> Topology:
    return Topology((Instance("w", Address("w"), Role.WRITER, region=region),), primary_region=region)


@pytest.mark.parametrize(
    ("host", "role", "verified", "expected"),
    [
        (WRITER_ENDPOINT, None, None, AS_AFTER_A_FAILOVER),
        (WRITER_ENDPOINT, None, "none", Start(None, None, False)),
        (WRITER_ENDPOINT, "writer", None, Start(Substitution.WRITER)),
        (WRITER_ENDPOINT, "writer", "none", Start(Substitution.WRITER, None, False)),
        (WRITER_ENDPOINT, "reader", "reader", Start(Substitution.READER)),
        (WRITER_ENDPOINT, "any", None, Start(ANY)),
        (WRITER_ENDPOINT, "any", "writer", Start(Substitution.WRITER)),
        (WRITER_ENDPOINT, None, "reader", Start(Substitution.READER)),
        (WRITER_ENDPOINT, "none", None, Start(NONE, Role.WRITER)),
        (WRITER_ENDPOINT, "none", "reader", Start(NONE, Role.READER)),
        (WRITER_ENDPOINT, "none", "none", Start(NONE)),
        (READER_ENDPOINT, "none", None, Start(NONE, Role.READER)),
        ("db.example.com", "none", None, Start(NONE)),
    ],
)
def test_where_a_new_connection_goes(host: str, role: str | None, verified: str | None, expected: Start) -> None:
    parsed = parse(host, endpoint_substitution_role=role, verify_opened_connection_type=verified)
    assert parsed.problems == ()
    assert start_of(parsed.options.initial, writer_in("")) == expected


@pytest.mark.parametrize(("role", "verified"), [("writer", "reader"), ("reader", "writer")])
def test_a_contradiction_is_refused(role: str, verified: str) -> None:
    (problem,) = parse(endpoint_substitution_role=role, verify_opened_connection_type=verified).problems
    assert (problem.setting, problem.fatal) == ("OPTIONS['verify_opened_connection_type']", True)


@pytest.mark.parametrize(
    ("region", "given", "expected"),
    [
        ("eu-west-1", {"inactive_cluster_writer_endpoint_substitution_role": "none"}, AS_AFTER_A_FAILOVER),
        ("us-east-1", {}, AS_AFTER_A_FAILOVER),
        ("us-east-1", {"inactive_cluster_writer_endpoint_substitution_role": "none"}, Start(NONE)),
        (
            "us-east-1",
            {"verify_inactive_cluster_writer_endpoint_connection_type": "none"},
            Start(is_asked=False),
        ),
        (
            "us-east-1",
            {
                "inactive_cluster_writer_endpoint_substitution_role": "none",
                "verify_inactive_cluster_writer_endpoint_connection_type": "writer",
            },
            Start(NONE, Role.WRITER),
        ),
        (
            "us-east-1",
            {
                "inactive_cluster_writer_endpoint_substitution_role": "none",
                "verify_inactive_cluster_writer_endpoint_connection_type": "none",
            },
            Start(NONE),
        ),
    ],
)
def test_a_writer_endpoint_without_a_writer(region: str, given: dict[str, object], expected: Start) -> None:
    parsed = parse(**given)
    assert parsed.problems == ()
    assert start_of(parsed.options.initial, writer_in(region)) == expected


@pytest.mark.parametrize(
    ("given", "attribute", "expected"),
    [
        ({"open_connection_retry_timeout_ms": 5000}, "retry_timeout", 5.0),
        ({"open_connection_retry_interval_ms": 50}, "retry_interval", 0.05),
        ({"wait_for_initial_topology_ms": 500}, "topology_wait", 0.5),
        ({"wait_for_initial_topology_ms": 0}, "topology_wait", None),
        ({"initial_connection_host_selector_strategy": "round_robin"}, "strategy", "round_robin"),
        ({"reader_initial_connection_host_selector_strategy": "round_robin"}, "strategy", "round_robin"),
    ],
)
def test_times_and_strategy(given: dict[str, object], attribute: str, expected: object) -> None:
    parsed = parse(**given)
    assert parsed.problems == ()
    assert getattr(parsed.options.initial, attribute) == expected


@pytest.mark.parametrize("is_first", [True, False])
def test_the_former_name_counts_only_without_the_present_one(is_first: bool) -> None:
    former = {"reader_initial_connection_host_selector_strategy": "random"}
    present = {"initial_connection_host_selector_strategy": "round_robin"}
    parsed = parse(**({**former, **present} if is_first else {**present, **former}))
    assert parsed.options.initial.strategy == "round_robin"
    (problem,) = parsed.problems
    assert (problem.setting, problem.fatal) == ("OPTIONS['reader_initial_connection_host_selector_strategy']", False)


def test_without_the_plugin_nothing_is_said() -> None:
    parsed = parse(plugins="failover_v2", endpoint_substitution_role="reader")
    assert parsed.options.initial == InitialConnection()
    assert "without the plugin 'initial_connection'" in str(parsed.problems[0])
