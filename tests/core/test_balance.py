"""Balance: which connections move. Whatever the numbers: it comes to an end, evenly, and then nothing moves."""

from __future__ import annotations

import random
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from django_aurora_routing.core.balance import TOLERANCE, Move, is_due_still, next_moves, pace
from django_aurora_routing.core.endpoints import Address

A, B, C, D, E = (Address(f"{name}.example") for name in "abcde")

COUNTS = st.dictionaries(st.sampled_from((A, B, C, D, E)), st.integers(0, 300))
SHARES = st.dictionaries(st.sampled_from((A, B, C, D)), st.integers(1, 5), min_size=1)
DICE = st.integers(0, 1000).map(random.Random)


def after(counts: Counter[Address], moves: tuple[Move, ...]) -> Counter[Address]:
    made = Counter(counts)
    for move in moves:
        made[move.source] -= 1
        made[move.goal] += 1
    return made


def balanced(
    counts: Counter[Address], shares: dict[Address, int], joined: frozenset[Address], rng: random.Random
) -> Counter[Address]:
    """Look again and again until nothing moves any more, which must come soon."""
    for _ in range(2 * sum(counts.values()) + 10):
        moves = next_moves(counts, shares, joined, pace(sum(counts.values())), rng)
        if not moves:
            return counts
        counts, joined = after(counts, moves), frozenset()
    raise AssertionError("it goes on for ever")


@given(COUNTS, SHARES, st.sets(st.sampled_from((A, B, C, D))), DICE)
def test_it_ends_and_each_has_its_share(
    counts: dict[Address, int], shares: dict[Address, int], joined: set[Address], rng: random.Random
) -> None:
    found = balanced(Counter(counts), shares, frozenset(joined), rng)
    total = sum(counts.values())
    assert sum(found.values()) == total
    assert min(found.values(), default=0) >= 0
    assert not any(found[address] for address in (A, B, C, D, E) if address not in shares), "nobody has stayed behind"
    wanted = {address: total * share / sum(shares.values()) for address, share in shares.items()}
    for one in shares:
        for other in shares:
            gap = (found[one] - wanted[one]) - (found[other] - wanted[other])
            assert gap <= max(1, TOLERANCE * (wanted[one] + wanted[other])) + 1e-6


@given(COUNTS, SHARES, st.integers(1, 20), DICE)
def test_no_more_move_than_may_and_none_without_need(
    counts: dict[Address, int], shares: dict[Address, int], limit: int, rng: random.Random
) -> None:
    before = Counter(counts)
    moves = next_moves(before, shares, (), limit, rng)
    assert len(moves) <= limit
    total, weight = sum(before.values()), sum(shares.values())

    def distance(found: Counter[Address]) -> float:
        every = {*shares, *found}
        return sum((found[address] - total * shares.get(address, 0) / weight) ** 2 for address in every)

    for move in moves:
        assert move.goal in shares
        assert before[move.source] > 0
        made = after(before, (move,))
        assert distance(made) < distance(before), "each one brings it nearer, so nothing swings"
        before = made


@pytest.mark.parametrize(
    ("counts", "shares", "expected"),
    [
        ({A: 30, B: 30}, {A: 1, B: 1, C: 1}, {A: 20, B: 20, C: 20}),
        ({A: 60}, {A: 1, B: 1, C: 4}, {A: 10, B: 10, C: 40}),
        ({A: 21, B: 19, C: 20}, {A: 1, B: 1, C: 1}, {A: 21, B: 19, C: 20}),
        ({A: 10, B: 2}, {B: 1}, {B: 12}),
        ({A: 5, B: 5}, {A: 1}, {A: 10}),
        ({A: 5, B: 5}, {}, {A: 5, B: 5}),
        ({}, {A: 1}, {}),
    ],
)
def test_some_cases(counts: dict[Address, int], shares: dict[Address, int], expected: dict[Address, int]) -> None:
    found = balanced(Counter(counts), shares, frozenset(), random.Random(1))
    spread = {address: abs(found[address] - count) for address, count in expected.items()}
    assert max(spread.values(), default=0) <= 1
    assert sum(found.values()) == sum(expected.values())


def test_a_thousand_processes_with_a_connection_each_find_a_new_reader_together() -> None:
    """None of them has anything to even out by itself, so it is drawn by lot; once, and for the new one alone."""
    rng, found = random.Random(5), Counter[Address]()
    for number in range(1000):
        found += balanced(Counter({(A, B)[number % 2]: 1}), {A: 1, B: 1, C: 1}, frozenset({C}), rng)
    assert all(300 < found[address] < 370 for address in (A, B, C))


def test_a_reader_that_was_there_before_draws_nothing() -> None:
    for seed in range(50):
        assert next_moves({A: 1}, {A: 1, B: 1}, (), 5, random.Random(seed)) == ()


def test_a_twentieth_moves_at_a_time() -> None:
    assert [pace(total) for total in (0, 1, 20, 21, 1000)] == [1, 1, 1, 2, 50]


def test_what_was_drawn_by_lot_waits_for_its_connection() -> None:
    """A process that is seldom asked uses its one connection long after the draw, which is made once."""
    alike = {A: 1, B: 1, C: 1}
    drawn = [next_moves({A: 1}, alike, (C,), 1, random.Random(seed)) for seed in range(30)]
    move = Move(A, C, by_lot=True)
    assert {moves[:1] for moves in drawn} == {(), (move,)}
    assert is_due_still(move, {A: 1}, alike)
    assert not is_due_still(move, {A: 1, C: 1}, alike), "another one has gone there meanwhile"
    assert not is_due_still(move, {B: 1}, alike), "or it has"
    assert not is_due_still(move, {A: 1}, {A: 1, B: 1}), "or the reader"
    assert not is_due_still(Move(A, C), {A: 2}, alike), "what was not drawn is decided anew each time"
