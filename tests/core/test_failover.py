"""Failover: the next step, from tables."""

import random
from dataclasses import replace

import pytest

from django_aurora_routing.core.endpoints import Address
from django_aurora_routing.core.failover import (
    AwaitTopology,
    Connect,
    GiveUp,
    Place,
    Plan,
    Step,
    View,
    next_step,
    place_of,
)
from django_aurora_routing.core.options import FailoverMode
from django_aurora_routing.core.topology import Instance, Role, Topology

WRITER, READER, BOTH = FailoverMode.STRICT_WRITER, FailoverMode.STRICT_READER, FailoverMode.READER_OR_WRITER
W = Instance("11", Address("127.0.0.11"), Role.WRITER)
R1 = Instance("12", Address("127.0.0.12"), Role.READER)
R2 = Instance("13", Address("127.0.0.13"), Role.READER)

WELL = View(Topology((W, R1, R2), 1), confirmed_at=100.0, version=7)
DOUBTED = replace(WELL, suspected_at=101.0)
CONFIRMED = replace(DOUBTED, confirmed_at=102.0)
ONE_LEFT = replace(WELL, set_aside=frozenset({R1.address}))
NONE_LEFT = replace(WELL, set_aside=frozenset({R1.address, R2.address}))


def step(mode: FailoverMode, view: View, now: float = 110.0) -> Step:
    return next_step(Plan(mode, deadline=120.0, strategy="round_robin"), view, now, random.Random(1))


@pytest.mark.parametrize(
    ("mode", "view", "expected"),
    [
        (WRITER, WELL, Connect(W)),
        (WRITER, DOUBTED, AwaitTopology(7, 120.0)),
        (WRITER, CONFIRMED, Connect(W)),
        (WRITER, View(), AwaitTopology(0, 120.0)),
        (READER, WELL, Connect(R1)),
        (READER, DOUBTED, Connect(R1)),
        (READER, ONE_LEFT, Connect(R2)),
        (READER, NONE_LEFT, AwaitTopology(7, 120.0)),
        (BOTH, WELL, Connect(R1)),
        (BOTH, NONE_LEFT, Connect(W)),
        (BOTH, replace(NONE_LEFT, suspected_at=101.0), AwaitTopology(7, 120.0)),
    ],
)
def test_the_next_step(mode: FailoverMode, view: View, expected: Step) -> None:
    assert step(mode, view) == expected


def test_the_deadline_ends_it_and_the_message_says_what_was_tried() -> None:
    plan = Plan(WRITER, deadline=120.0).failed(W.address, "2003: refused").failed(W.address, "2003: refused")
    outcome = next_step(plan, DOUBTED, 120.0, random.Random(1))
    assert isinstance(outcome, GiveUp)
    assert "no writer could be reached" in outcome.reason
    assert outcome.reason.count("127.0.0.11:3306: 2003: refused") == 1
    assert "12 (reader, 127.0.0.12:3306)" in outcome.reason


def test_round_robin_takes_turns_and_chance_takes_all() -> None:
    rng = random.Random(1)
    turns = [next_step(Plan(READER, 120.0, "round_robin", turn), WELL, 110.0, rng) for turn in range(4)]
    assert turns == [Connect(R1), Connect(R2), Connect(R1), Connect(R2)]
    by_chance = {str(next_step(Plan(READER, 120.0, "random"), WELL, 110.0, rng)) for _ in range(50)}
    assert len(by_chance) == 2


@pytest.mark.parametrize(
    ("address", "mode", "view", "place"),
    [
        (W.address, WRITER, WELL, Place.RIGHT),
        (W.address, WRITER, DOUBTED, Place.RIGHT),
        (R1.address, WRITER, WELL, Place.WRONG),
        (R1.address, BOTH, WELL, Place.RIGHT),
        (R1.address, BOTH, ONE_LEFT, Place.WRONG),
        (W.address, BOTH, WELL, Place.WRONG),
        (W.address, BOTH, NONE_LEFT, Place.FALLBACK),
        (W.address, READER, NONE_LEFT, Place.WRONG),
        (Address("127.0.0.99"), BOTH, WELL, Place.WRONG),
    ],
)
def test_where_a_connection_should_be(address: Address, mode: FailoverMode, view: View, place: Place) -> None:
    assert place_of(address, mode, view) is place
