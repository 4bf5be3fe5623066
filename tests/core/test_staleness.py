"""Staleness: what an observed lag proves, and what it does not."""

from __future__ import annotations

import math

import pytest

from django_aurora_routing.core.endpoints import Address
from django_aurora_routing.core.failover import View
from django_aurora_routing.core.staleness import Lag, fresh_enough, is_caught_up, observed_lags
from django_aurora_routing.core.topology import Instance, Role, Topology

UNKNOWN = Lag("r", 0.0, -math.inf)


def lag(seconds: float, seen_at: float, reader: str = "r") -> Lag:
    return Lag(reader, seconds, seen_at)


@pytest.mark.parametrize(
    ("committed_at", "lags", "floor", "expected"),
    [
        pytest.param(10.0, [], 0.0, False, id="nothing known"),
        pytest.param(10.0, [UNKNOWN], 0.0, False, id="of unknown age"),
        pytest.param(10.0, [lag(0.02, 10.1)], 0.0, True, id="seen after the commit, and not far behind"),
        pytest.param(10.0, [lag(0.02, 9.99)], 0.0, False, id="seen before the commit, however short the lag"),
        pytest.param(10.0, [lag(0.0, 9.0)], 0.0, False, id="an old observation without any lag"),
        pytest.param(10.0, [lag(5.0, 12.0)], 0.0, False, id="seen after the commit, but behind it"),
        pytest.param(10.0, [lag(5.0, 15.5)], 0.0, True, id="far behind, and past the commit all the same"),
        pytest.param(10.0, [lag(0.0, 10.0)], 0.0, False, id="at the very moment of the commit"),
        pytest.param(10.0, [lag(0.1, 10.5), lag(0.1, 10.05, "s")], 0.0, False, id="trap 40: one of two is past it"),
        pytest.param(10.0, [lag(0.1, 10.5), lag(0.1, 10.15, "s")], 0.0, True, id="both are past it"),
        pytest.param(10.0, [lag(0.1, 10.5), UNKNOWN], 0.0, False, id="one is past it, of one nothing is known"),
        pytest.param(10.0, [lag(0.0, 10.2)], 0.3, False, id="past it, by less than the floor"),
        pytest.param(10.0, [lag(0.0, 10.4)], 0.3, True, id="past it, by more than the floor"),
        pytest.param(10.0, [lag(math.inf, 99.0)], 0.0, False, id="infinitely far behind"),
    ],
)
def test_caught_up_is_what_every_reader_proves(
    committed_at: float, lags: list[Lag], floor: float, expected: bool
) -> None:
    assert is_caught_up(committed_at, lags, floor) is expected


@pytest.mark.parametrize(
    ("lags", "max_lag", "expected"),
    [
        pytest.param([], 5.0, False, id="nothing known"),
        pytest.param([UNKNOWN], 5.0, False, id="of unknown age"),
        pytest.param([lag(1.0, 99.0)], 5.0, True, id="a short lag, just seen"),
        pytest.param([lag(1.0, 90.0)], 5.0, False, id="a short lag, seen long ago"),
        pytest.param([lag(6.0, 100.0)], 5.0, False, id="a long lag"),
        pytest.param([lag(0.0, 100.0), lag(6.0, 100.0, "s")], 5.0, False, id="a long lag of one of two"),
        pytest.param([lag(0.0, 100.0)], 0.0, True, id="no lag, now"),
    ],
)
def test_fresh_is_what_every_reader_proves(lags: list[Lag], max_lag: float, expected: bool) -> None:
    assert fresh_enough(lags, max_lag, 100.0) is expected


def instance(name: str, role: Role = Role.READER, **facts: float) -> Instance:
    return Instance(name, Address(f"127.0.0.{name}"), role, **facts)


ALL = (instance("11", Role.WRITER, age=0.0), instance("12", lag=0.5, age=2.0), instance("13", lag=0.1))


def test_a_lag_was_true_when_the_server_measured_it() -> None:
    view = View(Topology(ALL, asked_at=100.0), confirmed_at=1.0)
    assert observed_lags(view, view.live_readers) == (Lag("12", 0.5, 98.0), Lag("13", 0.1, -math.inf))


def test_a_reader_that_is_set_aside_has_no_lag() -> None:
    view = View(Topology(ALL, asked_at=100.0), confirmed_at=1.0, set_aside=frozenset({ALL[1].address}))
    assert [lag.reader for lag in observed_lags(view, view.live_readers)] == ["13"]


def test_no_lag_is_known_while_the_writer_is_in_doubt() -> None:
    view = View(Topology(ALL, asked_at=100.0), confirmed_at=1.0, suspected_at=2.0)
    assert observed_lags(view, view.live_readers) == ()
