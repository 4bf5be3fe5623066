"""Aurora MySQL: what its rows say, by rows as its servers give them."""

from __future__ import annotations

import math
from typing import Any

import pytest

from django_aurora_routing.core.endpoints import Address, HostPattern
from django_aurora_routing.core.topology import Observation
from django_aurora_routing.dialects.aurora_mysql import AuroraMySQL

SEED = Address("db.cluster-abc123.eu-west-1.rds.amazonaws.com")
PATTERN = HostPattern("?.abc123.eu-west-1.rds.amazonaws.com", 3306)
AT = "2026-01-01 12:00:00.500000"


def seen(*rows: tuple[Any, ...]) -> Observation:
    """Rows without the two columns that are about the server that answers."""
    return AuroraMySQL().observe(lambda sql: [("b", 1, *row) for row in rows], SEED, PATTERN)


def test_rows_become_instances() -> None:
    observation = seen(("a", 1, 7.5, 0.0, AT, 20_000), ("b", 0, 2.5, 18.0, AT, 1_250_000))
    writer, reader = observation.instances
    assert (observation.server_id, observation.refuses_writes) == ("b", True)
    assert observation.claimed_writer is writer
    assert (reader.cpu, reader.lag, reader.age) == (2.5, 0.018, 1.25)
    assert reader.address == Address("b.abc123.eu-west-1.rds.amazonaws.com")


@pytest.mark.parametrize(
    ("lag", "age"),
    [
        pytest.param(None, 1_000, id="the lag is not known"),
        pytest.param(18.0, None, id="nor is it when it was seen"),
        pytest.param(18.0, -1, id="it was seen in the future, as the clock of the server has it"),
        pytest.param(18.0, -3_600_000_000, id="or as its time zone has it"),
    ],
)
def test_a_lag_that_proves_nothing_is_of_infinite_age(lag: float | None, age: int | None) -> None:
    (reader,) = seen(("b", 0, 2.5, lag, AT, age)).instances
    assert reader.age == math.inf


def test_an_unknown_lag_is_infinite_but_a_writer_has_none() -> None:
    writer, reader = seen(("a", 1, 0.0, None, AT, 0), ("b", 0, 0.0, None, AT, 0)).instances
    assert (writer.lag, reader.lag) == (0.0, math.inf)


def test_of_two_writers_the_one_that_reported_last_is_it() -> None:
    later = "2026-01-01 12:00:01.000000"
    writer = seen(("a", 1, 0.0, 0.0, AT, 500_000), ("b", 1, 0.0, 0.0, later, 0)).claimed_writer
    assert writer is not None
    assert writer.id == "b"


def test_no_rows_are_no_news() -> None:
    assert seen().instances == ()
