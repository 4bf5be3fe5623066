"""Whom the topology monitor asks, by the priority that the options give."""

from __future__ import annotations

import pytest

from django_aurora_routing.core.asking import DEFAULT_PRIORITY, default_of_region, in_order
from django_aurora_routing.core.endpoints import Address
from django_aurora_routing.core.options import Options, parse_options
from django_aurora_routing.core.topology import Instance, Role

EU, US, AP = "eu-west-1", "us-east-1", "ap-south-1"


def instances(*, of_a_global_database: bool = False) -> list[Instance]:
    """Two readers and the writer, or two more readers in other regions as well."""
    regions = {"r": EU, "w": EU, "u": US, "a": AP} if of_a_global_database else dict.fromkeys("rqw", "")
    roles = {"w": Role.WRITER}
    return [Instance(n, Address(n), roles.get(n, Role.READER), region=region) for n, region in regions.items()]


def read(**given: str) -> Options:
    parsed = parse_options(given, driver_names=())
    assert parsed.problems == ()
    return parsed.options


@pytest.mark.parametrize(
    ("priority", "expected"),
    [
        (None, "r q w"),
        ("strict-writer", "w r q"),
        ("strict_reader", "r q w"),
        (" Strict-Writer, strict-reader", "w r q"),
        ("writer-or-reader", "r q w"),
        ("strict-reader,writer-or-reader", "r q w"),
    ],
)
def test_the_first_kind_that_there_is_comes_first(priority: str | None, expected: str) -> None:
    given = read() if priority is None else read(monitoring_connection_priority=priority)
    assert [a.host for a in in_order(given.priority, instances())] == expected.split()
    without_writer = [i for i in instances() if i.role is Role.READER]
    assert [a.host for a in in_order(given.priority, without_writer)] == expected.replace("w", "").split()


@pytest.mark.parametrize(
    ("priority", "expected"),
    [
        ("strict-writer-primary", "w r u a"),
        ("strict-reader-primary", "r w u a"),
        ("strict-reader-secondary,strict_writer_primary", "u a w r"),
        ("strict-writer-us-east-1", "r w u a"),
        ("strict-reader-ap-south-1, us-east-1", "a u r w"),
        ("eu-west-1", "r w u a"),
    ],
)
def test_in_a_global_database_the_region_counts_as_well(priority: str, expected: str) -> None:
    given = read(gdb_monitoring_connection_priority=priority).global_priority
    everyone = instances(of_a_global_database=True)
    assert [a.host for a in in_order(given, everyone, EU)] == expected.split()


def test_by_default_a_reader_nearby_is_asked() -> None:
    everyone = instances(of_a_global_database=True)
    assert [a.host for a in in_order(default_of_region(US), everyone, EU)] == ["u", "r", "a", "w"]
    assert default_of_region("") == DEFAULT_PRIORITY


@pytest.mark.parametrize(
    ("option", "text", "hint"),
    [
        ("monitoring_connection_priority", "strict-wrtier", "'strict-writer'"),
        ("monitoring_connection_priority", "strict-writer-primary", "'strict-writer'"),
        ("gdb_monitoring_connection_priority", "strict-wrtier-primary", "'strict-writer-primary'"),
        ("gdb_monitoring_connection_priority", "strict-writer-secondary", "'strict-reader-secondary'"),
        (
            "gdb_monitoring_connection_priority",
            "??",
            "Use strict-writer-primary, strict-reader-primary, strict-reader-secondary",
        ),
    ],
)
def test_a_typo_is_told(option: str, text: str, hint: str) -> None:
    (problem,) = parse_options({option: text}, driver_names=()).problems
    assert f"{text!r} is not a choice" in problem.message
    assert hint in problem.hint
