"""The options of a global database: what they are read as, and what is said of those that cannot be used."""

from __future__ import annotations

from typing import Any

import pytest

from django_aurora_routing.core.endpoints import Address, HostPattern
from django_aurora_routing.core.global_database import all_patterns, parse_regional_patterns
from django_aurora_routing.core.options import FailoverMode, ParsedOptions, parse_options
from django_aurora_routing.core.regions import ALL_REGIONS, REGION_MODES, Regions

CLUSTER = "db.cluster-abc123.eu-west-1.rds.amazonaws.com"
READER = "db.cluster-ro-abc123.eu-west-1.rds.amazonaws.com"
INSTANCE = "one.abc123.eu-west-1.rds.amazonaws.com"
GLOBAL = "db.global-xyz789.global.rds.amazonaws.com"
PATTERNS = "eu-west-1:?.abc123.eu-west-1.rds.amazonaws.com,us-east-1:?.db.example.com:3307"
WRITER_MODE, HOME_READER = REGION_MODES["strict_writer"], REGION_MODES["home_reader_or_writer"]


def parse(host: str = CLUSTER, **options: Any) -> ParsedOptions:
    return parse_options(options, driver_names={"charset", "isolation_level"}, host=host)


def regions(host: str = CLUSTER, **options: Any) -> Regions:
    parsed = parse(host, **options)
    assert parsed.problems == ()
    return parsed.options.regions


def problem(host: str = CLUSTER, **options: Any) -> str:
    (only,) = parse(host, **options).problems
    assert only.fatal
    return str(only)


def test_by_default_nothing_is_said_of_regions() -> None:
    assert regions() == ALL_REGIONS


@pytest.mark.parametrize(
    ("host", "read_only", "expected"),
    [
        (CLUSTER, False, WRITER_MODE),
        (GLOBAL, False, WRITER_MODE),
        (READER, False, HOME_READER),
        (INSTANCE, False, HOME_READER),
        ("10.0.0.1", False, HOME_READER),
        ("db.example.com", False, HOME_READER),
        (CLUSTER, True, HOME_READER),
        (GLOBAL, True, HOME_READER),
    ],
)
def test_the_modes_go_by_what_host_is(host: str, read_only: bool, expected: object) -> None:
    read = regions(host, plugins="gdb_failover", failover_home_region="eu-west-1", read_only=read_only)
    assert (read.active, read.inactive) == (expected, expected)


@pytest.mark.parametrize("mode", sorted(REGION_MODES))
def test_a_mode_is_written_with_either_sign(mode: str) -> None:
    for text in (mode, mode.replace("_", "-"), f" {mode.upper()} "):
        read = regions(plugins="gdb_failover", active_home_failover_mode=text, inactive_home_failover_mode=text)
        assert (read.active, read.inactive) == (REGION_MODES[mode], REGION_MODES[mode])


def test_a_mode_that_is_none_is_refused_with_the_nearest() -> None:
    assert "'home_reader_or_writer'" in problem(
        plugins="gdb_failover", active_home_failover_mode="home-reader-or-writr"
    )


@pytest.mark.parametrize(
    ("plugin", "option", "field"),
    [("gdb_failover", "failover_home_region", "home"), ("gdb_rw", "gdb_rw_home_region", "rw_home")],
)
def test_the_home_region_is_the_options_or_hosts(plugin: str, option: str, field: str) -> None:
    assert getattr(regions(plugins=plugin), field) == "eu-west-1"
    assert getattr(regions(INSTANCE, plugins=plugin), field) == "eu-west-1"
    assert getattr(regions(plugins=plugin, **{option: " US-East-1 "}), field) == "us-east-1"
    for host in (GLOBAL, "10.0.0.1", "db.example.com"):
        said = problem(host, plugins=plugin)
        assert said.startswith(f"OPTIONS['{option}']: is missing")
        assert host in said


def test_who_does_not_ask_for_a_home_region_needs_none() -> None:
    assert regions(GLOBAL, gdb_accessible_regions="us-east-1, EU-West-1").accessible == {"us-east-1", "eu-west-1"}


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"gdb_accessible_regions": "us-east-1"}, "is in 'eu-west-1', which is not one of them"),
        (
            {"plugins": "gdb_failover", "failover_home_region": "us-east-1", "gdb_accessible_regions": "eu-west-1"},
            "OPTIONS['failover_home_region']: the home region 'us-east-1' is none of OPTIONS['gdb_accessible_regions']",
        ),
        ({"plugins": "gdb_rw", "gdb_rw_home_region": "Frankfurt"}, "'frankfurt' is no AWS region"),
        ({"plugins": "gdb_failover,failover_v2"}, "Leave out 'failover_v2': 'gdb_failover' does what it does"),
        ({"plugins": "gdb_rw,read_write_splitting"}, "Leave out 'read_write_splitting'"),
        (
            {"plugins": "gdb_failover", "failover_home_region": "us-east-2", "PATTERNS": PATTERNS},
            "'us-east-2' has no host pattern in OPTIONS['global_cluster_instance_host_patterns']. Did you",
        ),
        (
            {"plugins": "gdb_failover", "read_only": True, "inactive_home_failover_mode": "strict-writer"},
            "'strict_writer' contradicts OPTIONS['read_only']",
        ),
        (
            {"plugins": "gdb_rw", "gdb_enable_global_write_forwarding": True, "isolation_level": "read committed"},
            "OPTIONS['isolation_level']: 'read committed' and gdb_enable_global_write_forwarding exclude each other",
        ),
    ],
)
def test_what_cannot_be_is_refused(options: dict[str, Any], said: str) -> None:
    if patterns := options.pop("PATTERNS", None):
        options["global_cluster_instance_host_patterns"] = patterns
    assert said in problem(**options)


def test_failover_mode_has_no_effect_beside_the_modes_of_a_global_database() -> None:
    (only,) = parse(plugins="gdb_failover", failover_mode="strict_writer").problems
    assert not only.fatal
    assert "inactive_home_failover_mode" in only.message


def test_splitting_keeps_to_the_home_region_unless_told_otherwise() -> None:
    read = regions(plugins="gdb_rw")
    assert (read.writer_stays, read.readers_stay, read.forwards_writes) == (True, True, False)
    read = regions(
        plugins="gdb_rw",
        gdb_rw_restrict_writer_to_home_region="false",
        gdb_rw_restrict_reader_to_home_region=False,
        gdb_enable_global_write_forwarding=True,
    )
    assert (read.writer_stays, read.readers_stay, read.forwards_writes) == (False, False, True)
    unused = parse(gdb_enable_global_write_forwarding=True)
    assert unused.options.regions == ALL_REGIONS
    assert "without the plugin 'gdb_rw'" in str(unused.problems[0])


@pytest.mark.parametrize(
    ("options", "mode"),
    [
        ({}, FailoverMode.STRICT_READER),
        ({"failover_mode": "reader_or_writer"}, FailoverMode.READER_OR_WRITER),
        ({"gdb_rw_restrict_reader_to_home_region": False}, FailoverMode.READER_OR_WRITER),
    ],
)
def test_where_readers_stay_at_home_the_writer_stands_in_only_if_asked(
    options: dict[str, Any], mode: FailoverMode
) -> None:
    assert parse(plugins="gdb_rw", read_only=True, **options).options.failover_mode is mode


# -- patterns


def test_each_region_has_its_pattern() -> None:
    assert parse_regional_patterns(PATTERNS, 3306) == (
        ("eu-west-1", HostPattern("?.abc123.eu-west-1.rds.amazonaws.com", 3306)),
        ("us-east-1", HostPattern("?.db.example.com", 3307)),
    )
    alone = parse_regional_patterns(" ?.def456.us-west-2.rds.amazonaws.com:3310 ,", 3306)
    assert alone == (("us-west-2", HostPattern("?.def456.us-west-2.rds.amazonaws.com", 3310)),)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("?.db.example.com", "the region of '?.db.example.com' is missing"),
        ("us-east-1:db.example.com", "exactly one '?'"),
        ("us-east-1:?.abc.us-west-2.rds.amazonaws.com", "is in 'us-west-2', not in 'us-east-1'"),
        ("us-east-1:?.a.example,us-east-1:?.b.example", "'us-east-1' comes twice"),
        ("useast1:?.a.example", "'useast1' is no AWS region"),
        ("us-east-1:?.a.example:0", "the port '0' is not a number"),
    ],
)
def test_patterns_that_lead_nowhere_are_refused(text: str, said: str) -> None:
    assert said in problem(global_cluster_instance_host_patterns=text)


EU, OTHER = HostPattern("?.abc123.eu-west-1.rds.amazonaws.com", 3306), HostPattern("?.db.example.com", 3307)


@pytest.mark.parametrize(
    ("regional", "single", "in_europe", "in_america"),
    [
        ((), EU, "a.abc123.eu-west-1.rds.amazonaws.com:3306", None),
        ((), OTHER, "a.db.example.com:3307", "a.db.example.com:3307"),
        ((("us-east-1", OTHER),), None, None, "a.db.example.com:3307"),
        ((("us-east-1", OTHER),), EU, "a.abc123.eu-west-1.rds.amazonaws.com:3306", "a.db.example.com:3307"),
    ],
)
def test_a_region_without_a_pattern_has_no_addresses(
    regional: tuple[tuple[str, HostPattern], ...], single: HostPattern | None, in_europe: str, in_america: str
) -> None:
    naming = all_patterns(regional, single)
    assert naming is not None
    for region, expected in (("eu-west-1", in_europe), ("us-east-1", in_america)):
        address = naming.address("a", region)
        assert address.is_known is (expected is not None)
        assert str(address) == (expected or f"a.{region} (address unknown)")


def test_without_a_region_an_id_is_named_as_the_alias_says() -> None:
    naming = all_patterns((("us-east-1", OTHER),), EU)
    assert naming is not None
    assert naming.address("a") == Address("a.abc123.eu-west-1.rds.amazonaws.com")
    assert all_patterns((), None) is None
