"""Pacing: pauses double, end at the longest, and are never all the same; who asks alike asks by turns."""

import random
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from django_aurora_routing.core.pacing import Backoff, in_between

PERIOD = 0.1


def test_pauses_double_up_to_the_longest() -> None:
    backoff, pauses = Backoff(1.0, 30.0), []
    for _ in range(8):
        backoff = backoff.failed(0.0, chance=0.0)
        pauses.append(backoff.due_at)
    assert pauses == [1, 2, 4, 8, 16, 30, 30, 30]


def test_chance_takes_up_to_half_off() -> None:
    assert Backoff(1.0, 30.0).failed(100.0, chance=1.0).due_at == 100.5


def test_it_is_due_at_first_and_then_when_the_time_has_come() -> None:
    backoff = Backoff(1.0, 30.0)
    assert backoff.is_due(0.0)
    waiting = backoff.failed(10.0, chance=0.0)
    assert not waiting.is_due(10.9)
    assert waiting.is_due(11.0)


@given(
    st.floats(0, 1e6),
    st.floats(0.001, 10),
    st.lists(st.floats(-20, 20), max_size=10),
    st.randoms(use_true_random=False),
)
def test_the_next_time_is_about_one_period_away(
    now: float, period: float, others: list[float], rng: random.Random
) -> None:
    due = in_between(now, period, [now + other for other in others], rng)
    assert 0.499 * period <= due - now <= 1.501 * period


def test_who_is_stuck_does_not_count() -> None:
    rng = random.Random(1)
    due = {in_between(100.0, PERIOD, [100.0 + PERIOD / 4, 100.0 - 3.5 * PERIOD], rng) for _ in range(20)}
    assert all(100 + 0.65 * PERIOD <= at <= 100 + 0.85 * PERIOD for at in due), "opposite to the one that counts"


def asks_of(count: int, rng: random.Random) -> list[float]:
    """When so many have asked, who began almost together; from the third second on, when they know each other."""
    due = [rng.uniform(0, PERIOD / 10) for _ in range(count)]
    asks: list[float] = []
    while not asks or asks[-1] < 10:
        (at, one) = min((at, one) for one, at in enumerate(due))
        asks.append(at)
        due[one] = in_between(at, PERIOD, [other for number, other in enumerate(due) if number != one], rng)
    return [at for at in asks if at > 3]


@pytest.mark.parametrize("count", [1, 2, 3, 6])
def test_those_who_ask_alike_ask_as_often_as_each_would_alone(count: int) -> None:
    asks = asks_of(count, random.Random(count))
    assert len(asks) == pytest.approx(count * 7 / PERIOD, rel=0.05)


@pytest.mark.parametrize("count", [2, 3, 6])
def test_and_never_all_at_once(count: int) -> None:
    """Alone, each pause may be one and a half periods; evenly spread, it is a period for all of them together."""
    for seed in range(20):
        pauses = [later - earlier for earlier, later in pairwise(asks_of(count, random.Random(seed)))]
        assert max(pauses) < 2 * PERIOD / count


def test_two_processes_do_not_ask_in_step() -> None:
    firsts = {round(asks_of(3, random.Random(seed))[0] % PERIOD, 3) for seed in range(20)}
    assert len(firsts) > 10
