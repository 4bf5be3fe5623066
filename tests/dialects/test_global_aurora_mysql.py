"""A global database: what its rows say, and by which questions it is known."""

from __future__ import annotations

import math
from typing import Any

import pytest

from django_aurora_routing.core.endpoints import Address, HostPattern, RegionalPatterns
from django_aurora_routing.core.topology import Observation
from django_aurora_routing.dialects.global_aurora_mysql import GlobalAuroraMySQL
from django_aurora_routing.dialects.registry import find_dialect

SEED = Address("db.cluster-abc123.eu-west-1.rds.amazonaws.com")
EU = HostPattern("?.abc123.eu-west-1.rds.amazonaws.com", 3306)
US = HostPattern("?.def456.us-east-1.rds.amazonaws.com", 3307)
PATTERNS = RegionalPatterns(EU.pattern, EU.port, (("us-east-1", US),))


def seen(*rows: tuple[Any, ...], by: str = "b", refuses: int = 1, pattern: HostPattern = PATTERNS) -> Observation:
    """Rows without the two columns that are about the server that answers."""
    return GlobalAuroraMySQL().observe(lambda sql: [(by, refuses, *row) for row in rows], SEED, pattern)


def test_rows_become_instances_of_their_regions() -> None:
    observation = seen(("a", 1, None, "eu-west-1"), ("b", 0, 1500.0, "US-EAST-1"), ("c", 0, -1, "ap-south-1"))
    writer, reader, far = observation.instances
    assert (observation.server_id, observation.refuses_writes) == ("b", True)
    assert observation.claimed_writer is writer
    assert (writer.region, writer.address, writer.lag) == ("eu-west-1", EU.address("a"), 0.0)
    assert (reader.region, reader.address, reader.lag) == ("us-east-1", US.address("b"), 1.5)
    assert (far.region, far.address.is_known, far.lag) == ("ap-south-1", False, 0.0)


def test_an_unknown_lag_is_infinite_but_a_writer_has_none() -> None:
    writer, reader = seen(("a", 1, None, "eu-west-1"), ("b", 0, None, "us-east-1")).instances
    assert (writer.lag, reader.lag) == (0.0, math.inf)


@pytest.mark.parametrize(
    ("by", "refuses", "writer"),
    [("a", 0, "a"), ("a", 1, None), ("b", 0, "b"), ("c", 1, None)],
)
def test_of_two_writers_each_is_believed_about_itself_alone(by: str, refuses: int, writer: str | None) -> None:
    rows = [("a", 1, 0, "eu-west-1"), ("b", 1, 0, "us-east-1"), ("c", 0, 0, "us-east-1")]
    claimed = seen(*rows, by=by, refuses=refuses).claimed_writer
    assert (claimed.id if claimed else None) == writer


def test_no_rows_are_no_news() -> None:
    assert seen().instances == ()


@pytest.mark.parametrize(
    ("tables", "clusters", "name", "asked"),
    [
        (2, 2, "global-aurora-mysql", 3),
        (2, 1, "aurora-mysql", 3),
        (2, 0, "aurora-mysql", 3),
        (0, 0, "aurora-mysql", 2),
    ],
)
def test_it_is_known_by_several_clusters(tables: int, clusters: int, name: str, asked: int) -> None:
    questions: list[str] = []

    def ask(sql: str) -> list[tuple[Any, ...]]:
        questions.append(sql)
        if "aurora_version" in sql:
            return [("aurora_version", "3.08.0")]
        return [("a table",)] * tables if "information_schema.tables" in sql else [(clusters,)]

    assert find_dialect(None, ask).name == name
    assert len(questions) == asked
    assert find_dialect("global-aurora-mysql", ask).name == "global-aurora-mysql"
    assert len(questions) == asked
