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
from django_aurora_routing.core.preferences import Preferences
from django_aurora_routing.core.topology import Instance, Role, Topology

WRITER, READER, BOTH = FailoverMode.STRICT_WRITER, FailoverMode.STRICT_READER, FailoverMode.READER_OR_WRITER
W = Instance("11", Address("127.0.0.11"), Role.WRITER)
R1 = Instance("12", Address("127.0.0.12"), Role.READER)
R2 = Instance("13", Address("127.0.0.13"), Role.READER)

WELL = View(Topology((W, R1, R2), 1), confirmed_at=100.0, version=7)
DOUBTED = replace(WELL, suspected_at=101.0)
CONFIRMED = replace(DOUBTED, confirmed_at=102.0)
ONE_LEFT = replace(WELL, set_aside=frozenset({R1.address}))
ALONE = replace(WELL, topology=Topology((W,), 1))
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
        (READER, ALONE, Connect(W)),
        (READER, replace(ALONE, suspected_at=101.0), AwaitTopology(7, 120.0)),
        (READER, replace(ALONE, listed=2), AwaitTopology(7, 120.0)),
        (READER, replace(ALONE, listed=1), Connect(W)),
        (READER, replace(WELL, topology=Topology((R1,), 1), set_aside=ONE_LEFT.set_aside), AwaitTopology(7, 120.0)),
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
        (W.address, READER, ALONE, Place.FALLBACK),
        (W.address, READER, replace(ALONE, listed=2), Place.WRONG),
        (Address("127.0.0.99"), BOTH, WELL, Place.WRONG),
    ],
)
def test_where_a_connection_should_be(address: Address, mode: FailoverMode, view: View, place: Place) -> None:
    assert place_of(address, mode, view) is place


# -- what the alias prefers

BEHIND = replace(WELL, topology=Topology((W, replace(R1, lag=4.0), replace(R2, lag=9.0)), 1))
ONE_BEHIND = replace(WELL, topology=Topology((W, replace(R1, lag=4.0), R2), 1))
NO_WRITER = replace(BEHIND, suspected_at=101.0)
CEILING = Preferences(max_lag=1.0)


@pytest.mark.parametrize(
    ("mode", "view", "preferences", "expected"),
    [
        pytest.param(BOTH, ONE_BEHIND, CEILING, "13", id="a reader above the ceiling is passed over"),
        pytest.param(BOTH, BEHIND, CEILING, "11", id="the writer stands in for them all"),
        pytest.param(READER, BEHIND, CEILING, "12", id="or the one that is least behind"),
        pytest.param(WRITER, BEHIND, CEILING, "11", id="a writer has no lag"),
        pytest.param(BOTH, WELL, Preferences(zone="z", zones=(("13", "z"),)), "13", id="its own zone"),
        pytest.param(BOTH, WELL, Preferences(allowed=frozenset({"13"})), "13", id="of a list"),
        pytest.param(BOTH, WELL, Preferences(allowed=frozenset({"14", "11"})), "11", id="of which the writer is there"),
        pytest.param(WRITER, WELL, Preferences(allowed=frozenset({"11"})), "11", id="which the writer is on"),
    ],
)
def test_the_next_step_by_preferences(mode: FailoverMode, view: View, preferences: Preferences, expected: str) -> None:
    chosen = next_step(Plan(mode, 120.0, preferences=preferences), view, 110.0, random.Random(1))
    assert isinstance(chosen, Connect)
    assert chosen.instance.id == expected
    assert chosen.reason


def test_a_writer_that_is_no_member_is_not_connected_to() -> None:
    others = Preferences(allowed=frozenset({"14"}))
    waits = next_step(Plan(BOTH, 120.0, preferences=others), WELL, 110.0, random.Random(1))
    assert isinstance(waits, AwaitTopology), "a member may come"
    gives_up = next_step(Plan(WRITER, 120.0, preferences=others), WELL, 110.0, random.Random(1))
    assert gives_up == GiveUp("the writer, 11, is no member of the alias's custom endpoint")
    writer = WELL.topology.writer
    assert writer is not None
    assert place_of(writer.address, WRITER, WELL, preferences=others) is Place.WRONG


def test_while_there_is_no_writer_either_it_is_waited_for() -> None:
    chosen = next_step(Plan(BOTH, 120.0, preferences=CEILING), NO_WRITER, 110.0, random.Random(1))
    assert chosen == AwaitTopology(7, 120.0)


@pytest.mark.parametrize(
    ("address", "mode", "view", "place"),
    [
        (R1.address, BOTH, ONE_BEHIND, Place.WRONG),
        (R2.address, BOTH, ONE_BEHIND, Place.RIGHT),
        (R1.address, BOTH, BEHIND, Place.WRONG),
        (W.address, BOTH, BEHIND, Place.FALLBACK),
        (R1.address, BOTH, NO_WRITER, Place.FALLBACK),
        (R1.address, READER, BEHIND, Place.FALLBACK),
        (R2.address, READER, BEHIND, Place.FALLBACK),
        (R2.address, READER, replace(BEHIND, set_aside=frozenset({R2.address})), Place.WRONG),
        (W.address, READER, BEHIND, Place.WRONG),
        (W.address, WRITER, BEHIND, Place.RIGHT),
    ],
)
def test_where_a_connection_should_be_with_a_ceiling(
    address: Address, mode: FailoverMode, view: View, place: Place
) -> None:
    assert place_of(address, mode, view, preferences=CEILING) is place


def test_another_zone_is_no_wrong_place() -> None:
    assert place_of(R1.address, BOTH, WELL, preferences=Preferences(zone="z", zones=(("13", "z"),))) is Place.RIGHT


def test_a_goal_comes_first_as_long_as_it_is_fit_and_has_not_failed() -> None:
    plan, rng = Plan(BOTH, 120.0, "highest_weight", preferences=CEILING, goal=R2.address), random.Random(1)
    assert {str(next_step(plan, WELL, 110.0, rng)) for _ in range(20)} == {str(Connect(R2, "to have its share"))}
    behind = replace(WELL, topology=Topology((W, R1, replace(R2, lag=4.0)), 1))
    assert next_step(plan, behind, 110.0, rng) == Connect(R1)
    after = {str(next_step(plan.failed(R2.address, "no"), WELL, 110.0, rng)) for _ in range(20)}
    assert len(after) == 2
