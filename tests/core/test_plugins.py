"""The table of plugins: what each name switches on, in whatever order; what is refused, and with which words."""

from __future__ import annotations

import itertools

import pytest

from django_aurora_routing.core.option_table import OPTION_TABLE
from django_aurora_routing.core.option_values import Problem
from django_aurora_routing.core.options import Options, ParsedOptions, parse_options
from django_aurora_routing.core.plugins import DEFAULT_PLUGINS, PLUGIN_TABLE, parse_plugins

HOST = "shop.cluster-abc.eu-west-1.rds.amazonaws.com"


def parse(**raw: object) -> ParsedOptions:
    return parse_options(raw, driver_names=(), host=HOST)


def rooms(options: Options) -> tuple[bool, bool, bool]:
    return options.uses_topology, options.uses_failover, options.uses_host_monitoring


@pytest.mark.parametrize(
    ("plugins", "expected"),
    [
        ("", (False, False, False)),
        ("initial_connection", (True, False, False)),
        ("aurora_connection_tracker", (True, False, False)),
        ("stale_dns", (True, False, False)),
        ("read_write_splitting", (True, False, False)),
        ("failover", (True, True, True)),
        ("failover_v2", (True, True, True)),
        ("host_monitoring", (True, False, True)),
        ("host_monitoring_v2", (True, False, True)),
        ("connect_time,execute_time,dev", (False, False, False)),
        ("myproject.plugins.Mine", (False, False, False)),
        (",".join(DEFAULT_PLUGINS), (True, True, True)),
    ],
)
def test_a_name_switches_on_what_its_row_says(plugins: str, expected: tuple[bool, bool, bool]) -> None:
    parsed = parse(plugins=plugins)
    assert rooms(parsed.options) == expected
    assert parsed.problems == ()


@pytest.mark.parametrize("sort", [True, False, ...])
def test_their_order_does_not_matter(sort: object) -> None:
    given = {} if sort is ... else {"auto_sort_wrapper_plugin_order": sort}
    expected = parse(plugins="initial_connection,stale_dns,failover_v2,host_monitoring_v2").options
    for order in itertools.permutations(expected.plugins):
        parsed = parse(plugins=", ".join(order), **given)
        assert rooms(parsed.options) == rooms(expected)
        assert parsed.problems == ()


def test_a_name_that_comes_twice_counts_once() -> None:
    assert parse(plugins="dev,connect_time,dev").options.extensions == ("dev", "connect_time")


@pytest.mark.parametrize("name", sorted(name for name, row in PLUGIN_TABLE.items() if row.refused))
def test_a_known_plugin_that_is_not_built_is_refused(name: str) -> None:
    (problem,) = parse(plugins=f"failover_v2,{name}").problems
    assert problem.fatal
    assert repr(name) in problem.message


@pytest.mark.parametrize(("name", "words"), [("bg", "blue/green"), ("limitless", "PostgreSQL only")])
def test_a_refusal_says_why(name: str, words: str) -> None:
    assert words in parse(plugins=name).problems[0].message


def test_other_distributions_are_asked_about_unknown_names_alone() -> None:
    asked = []

    def entry_points() -> list[str]:
        asked.append(1)
        return ["slow_connects"]

    problems: list[Problem] = []
    assert parse_plugins("failover,a.b.C", problems, entry_points) == ("failover", "a.b.C")
    assert (asked, problems) == ([], [])
    assert parse_plugins("slow_connects", problems, entry_points) == ("slow_connects",)
    assert problems == []
    assert parse_plugins("slow_conects", problems, entry_points) == ()
    assert problems[0].hint == "Did you mean 'slow_connects'?"


@pytest.mark.parametrize("row", PLUGIN_TABLE.values(), ids=lambda row: row.name)
def test_the_options_of_a_row_are_options(row: object) -> None:
    assert {*row.options} <= {*OPTION_TABLE}  # type: ignore[attr-defined]


def test_an_option_that_its_plugin_is_missing_for_is_told_of() -> None:
    (problem,) = parse(plugins="initial_connection", failover_timeout_sec=20).problems
    assert not problem.fatal
    assert str(problem).startswith("OPTIONS['failover_timeout_sec']: has no effect without the plugin 'failover' or")
    assert parse(plugins="failover", failover_timeout_sec=20).problems == ()
