"""Strategies: what each goes by, and how it spreads many picks; nothing here but values and seeded dice."""

from __future__ import annotations

import math
import random
from collections import Counter
from dataclasses import replace

import pytest

from django_aurora_routing.core.endpoints import Address
from django_aurora_routing.core.selection import ALIKE, NO_FACTS, STRATEGIES, Facts, Weights, load, shares
from django_aurora_routing.core.topology import Instance, Role


def reader(name: str, **facts: float) -> Instance:
    return Instance(name, Address(f"{name}.example"), Role.READER, **facts)


A, B, C = reader("a"), reader("b"), reader("c")
THREE = (A, B, C)


def picks(strategy: str, candidates: tuple[Instance, ...] = THREE, facts: Facts = NO_FACTS, count: int = 600) -> str:
    """The ids of those that were picked at all, in order."""
    return "".join(sorted(spread(strategy, candidates, facts, count)))


def spread(
    strategy: str, candidates: tuple[Instance, ...] = THREE, facts: Facts = NO_FACTS, count: int = 600
) -> Counter[str]:
    rng = random.Random(7)
    return Counter(STRATEGIES[strategy](candidates, facts, rng, turn).id for turn in range(count))


def facts(a: int = 0, b: int = 0, c: int = 0, weights: Weights = ALIKE, times: tuple[float, ...] = ()) -> Facts:
    """So many connections on each, and milliseconds that each takes to answer."""
    addresses = (A.address, B.address, C.address)
    return Facts(
        dict(zip(addresses, (a, b, c), strict=True)),
        {address: time / 1000 for address, time in zip(addresses, times, strict=False)},
        weights,
    )


TWICE_A = Weights((("a", 2),))


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_a_single_candidate_is_taken_and_of_equals_each_has_its_turn(strategy: str) -> None:
    assert picks(strategy, (B,), count=5) == "b"
    assert picks(strategy) == "abc"


@pytest.mark.parametrize(
    ("strategy", "known", "expected"),
    [
        pytest.param("least_connections", facts(2, 1, 3), "b", id="the emptiest"),
        pytest.param("least_connections", facts(1, 1, 3), "ab", id="one of the emptiest"),
        pytest.param("least_connections", facts(2, 1, 1, weights=TWICE_A), "a", id="the emptiest for its weight"),
        pytest.param("power_of_two", facts(2, 1, 3), "ab", id="never the fullest of three"),
        pytest.param("highest_weight", facts(9, weights=TWICE_A), "a", id="the weightiest, however full"),
        pytest.param("highest_weight", facts(weights=Weights((("a", 2), ("b", 2)))), "ab", id="both of those"),
        pytest.param("highest_weight", facts(weights=Weights((("a", 2),), default=3)), "bc", id="by default, too"),
        pytest.param("fastest_response", facts(times=(5, 2, 9)), "b", id="the fastest"),
        pytest.param("fastest_response", facts(times=(2.4, 2, 9)), "ab", id="one that is hardly slower"),
        pytest.param("fastest_response", facts(times=(0.3, 0.1, 0.5)), "ab", id="by no more than chance"),
        pytest.param("fastest_response", facts(1, 2, times=(2.4, 2, 9)), "a", id="the emptier one of those"),
        pytest.param("fastest_response", facts(times=(5, 2)), "c", id="one that was never measured"),
        pytest.param("random", facts(100, weights=TWICE_A), "abc", id="whatever is known"),
    ],
)
def test_what_a_process_knows_decides(strategy: str, known: Facts, expected: str) -> None:
    assert picks(strategy, facts=known) == expected


@pytest.mark.parametrize(
    ("strategy", "candidates", "expected"),
    [
        pytest.param("lowest_lag", (replace(A, lag=0.05), replace(B, lag=0.02), replace(C, lag=0.3)), "b", id="lag"),
        pytest.param("lowest_lag", (replace(A, lag=0.021), replace(B, lag=0.029), C), "c", id="some milliseconds"),
        pytest.param("lowest_lag", (replace(A, lag=0.021), replace(B, lag=0.029)), "ab", id="are no difference"),
        pytest.param("lowest_lag", (replace(A, lag=math.inf), replace(B, lag=5.0)), "b", id="unknown is the most"),
        pytest.param("lowest_load", (replace(A, cpu=35.0), replace(B, cpu=80.0), replace(C, cpu=5.0)), "c", id="CPU"),
        pytest.param("lowest_load", (replace(A, cpu=12.0), replace(B, cpu=18.0)), "ab", id="some percent"),
        pytest.param("lowest_load", (replace(A, cpu=20.0, lag=0.5), replace(B, cpu=40.0)), "b", id="and lag"),
        pytest.param("lowest_load", (replace(A, lag=math.inf), replace(B, cpu=95.0)), "b", id="unknown is a second"),
        pytest.param("lowest_load", (replace(A, lag=math.inf), replace(B, lag=3.0)), "a", id="and no more"),
    ],
)
def test_what_the_topology_says_decides(strategy: str, candidates: tuple[Instance, ...], expected: str) -> None:
    assert picks(strategy, candidates) == expected


def test_load_is_a_number_whatever_is_unknown() -> None:
    assert load(replace(A, cpu=7.0, lag=math.inf)) == 107.0
    assert load(replace(A, cpu=7.0, lag=0.25)) == 32.0


def test_turns_go_by_id_and_by_weight() -> None:
    weights = Facts(weights=Weights((("b.example", 3),)))
    rng = random.Random(1)
    turns = "".join(STRATEGIES["round_robin"]((C, B, A), weights, rng, turn).id for turn in range(10))
    assert turns == "abbbcabbbc"


def test_weights_are_shares_of_chance() -> None:
    found = spread("weighted_random", facts=facts(weights=Weights((("a", 4), ("c.example:3306", 5)))), count=10_000)
    assert [round(found[i] / 1000) for i in "abc"] == [4, 1, 5]


@pytest.mark.parametrize("name", ["a", "A.Example".lower(), "a.example:3306"])
def test_an_instance_is_named_by_id_or_host(name: str) -> None:
    assert Weights(((name, 4),)).of(Instance("A", Address("a.EXAMPLE"), Role.READER)) == 4
    assert Weights(((name, 4),), default=2).of(B) == 2


def test_of_two_that_are_alike_the_busy_one_is_not_left_out() -> None:
    """All processes see the same old CPU figure: must they follow it, the idle reader is the busy one soon."""
    for cpu, expected in ((200.0, 0.25), (60.0, 0.25), (20.0, 0.4), (4.0, 0.48), (0.0, 0.5)):
        found = spread("power_of_two", (replace(A, cpu=cpu), B), count=10_000)
        assert found["a"] / 10_000 == pytest.approx(expected, abs=0.02)


def test_a_replica_that_has_stopped_is_not_the_less_busy_one() -> None:
    found = spread("power_of_two", (replace(A, lag=math.inf), replace(B, cpu=30.0, lag=0.02)), count=10_000)
    assert found["a"] / 10_000 == pytest.approx(0.25, abs=0.02)


@pytest.mark.parametrize("strategy", ["least_connections", "power_of_two"])
def test_connections_that_stay_open_are_spread_evenly(strategy: str) -> None:
    rng, counts = random.Random(3), Counter({i.address: 0 for i in THREE})
    for turn in range(300):
        counts[STRATEGIES[strategy](THREE, Facts(counts), rng, turn).address] += 1
    assert max(counts.values()) - min(counts.values()) <= 4


def test_where_connections_should_stay() -> None:
    weights = Weights((("a", 3),))
    assert shares("power_of_two", THREE, weights) == {A.address: 3, B.address: 1, C.address: 1}
    assert shares("random", THREE, weights) == {A.address: 1, B.address: 1, C.address: 1}
    assert shares("highest_weight", THREE, weights) == {A.address: 1}
    assert shares("lowest_lag", THREE, weights) == shares("power_of_two", (), weights) == {}
