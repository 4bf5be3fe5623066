"""Custom endpoints: who a member list lets an alias be on, and what is wrong with options."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from django_aurora_routing.core.custom_endpoints import CustomEndpoint, Members, allowed_ids
from django_aurora_routing.core.endpoints import Address
from django_aurora_routing.core.options import FailoverMode, Options, ParsedOptions, parse_options
from django_aurora_routing.core.topology import Instance, Role, Topology

HOST = "reports.cluster-custom-abc123.eu-west-1.rds.amazonaws.com"


def cluster(*readers: str, writer: str = "w") -> Topology:
    roles = {writer: Role.WRITER, **dict.fromkeys(readers, Role.READER)}
    return Topology(tuple(Instance(name, Address(name), role) for name, role in roles.items()))


@pytest.mark.parametrize(
    ("members", "expected"),
    [
        (Members(), {"w", "r1", "R2"}),
        (Members("READER"), {"r1", "R2"}),
        (Members("WRITER"), {"w"}),
        (Members(static=frozenset({"r1", "gone"})), {"r1"}),
        (Members(static=frozenset({"w", "r2"})), {"w", "R2"}),
        (Members("READER", static=frozenset({"w", "r1"})), {"r1"}),
        (Members(excluded=frozenset({"w", "r2"})), {"r1"}),
        (Members("READER", excluded=frozenset({"r1"})), {"R2"}),
        (Members(static=frozenset({"gone"})), set()),
    ],
)
def test_who_is_a_member(members: Members, expected: set[str]) -> None:
    assert allowed_ids(members, cluster("r1", "R2")) == expected


@given(st.sets(st.sampled_from("abcdef")), st.sampled_from(["READER", "ANY"]))
def test_a_new_instance_joins_a_list_of_exclusions_and_no_static_one(names: set[str], kind: str) -> None:
    topology = cluster(*"abcdef", "new")
    assert "new" in allowed_ids(Members(kind, excluded=frozenset(names)), topology)
    assert "new" not in allowed_ids(Members(kind, static=frozenset(names | {"a"})), topology)


def parse(host: str = HOST, plugins: str = "failover_v2,custom_endpoint", **raw: object) -> ParsedOptions:
    return parse_options({"plugins": plugins, **raw}, driver_names=(), host=host)


def endpoint(options: Options) -> CustomEndpoint:
    assert options.custom_endpoint is not None
    return options.custom_endpoint


def test_name_and_region_are_in_the_hosts_name() -> None:
    options = parse().options
    found = endpoint(options)
    assert (found.host, found.name, found.region, found.profile) == (HOST, "reports", "eu-west-1", None)
    assert (found.refresh, found.idle, found.wait) == (30.0, 900.0, 5.0)
    assert options.failover_mode is FailoverMode.READER_OR_WRITER
    assert options.uses_topology


@pytest.mark.parametrize(
    ("given", "attribute", "expected"),
    [
        ({"custom_endpoint_info_refresh_rate_ms": 500}, "refresh", 0.5),
        ({"custom_endpoint_idle_monitor_expiration_ms": 500}, "idle", 0.5),
        ({"wait_for_custom_endpoint_info_timeout_ms": 500}, "wait", 0.5),
        ({"wait_for_custom_endpoint_info": False}, "wait", None),
        ({"aws_profile": "shop"}, "profile", "shop"),
        ({"custom_endpoint_host": "Other.cluster-custom-abc.rds.cn-north-1.amazonaws.com.cn."}, "region", "cn-north-1"),
    ],
)
def test_options_say_how_it_is_asked_about(given: dict[str, object], attribute: str, expected: object) -> None:
    parsed = parse(**given)
    assert parsed.problems == ()
    assert getattr(endpoint(parsed.options), attribute) == expected


def test_a_name_of_ones_own_needs_the_endpoints() -> None:
    (problem,) = parse("reports.example.com").problems
    assert problem.fatal
    assert str(problem).startswith("HOST: 'reports.example.com' is no custom endpoint")
    assert endpoint(parse("reports.example.com", custom_endpoint_host=HOST).options).host == HOST
    (problem,) = parse(custom_endpoint_host="reports.cluster-abc123.eu-west-1.rds.amazonaws.com").problems
    assert problem.setting == "OPTIONS['custom_endpoint_host']"


def test_without_the_plugin_its_options_are_told_of() -> None:
    parsed = parse(plugins="failover_v2", custom_endpoint_info_refresh_rate_ms=500)
    assert parsed.options.custom_endpoint is None
    assert parsed.options.failover_mode is FailoverMode.STRICT_WRITER
    assert [problem.fatal for problem in parsed.problems] == [False]
