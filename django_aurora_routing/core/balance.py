"""Decides which kept connections should move, so that each reader has its share; pure, and told the dice."""

from __future__ import annotations

import itertools
import math
import random
from collections.abc import Collection, Mapping
from dataclasses import dataclass

from .endpoints import Address

TOLERANCE = 0.04
"""How far from their shares two readers may be, as a part of these: together 8 %, which nobody feels."""

_ALMOST = 1e-9


@dataclass(frozen=True, slots=True)
class Move:
    """One connection that is on `source` should go to `goal`; `by_lot`, should it ever be used again."""

    source: Address
    goal: Address
    by_lot: bool = False


def pace(total: int) -> int:
    """How many of so many connections may move in a second: a twentieth, so that a new reader warms up meanwhile."""
    return max(1, math.ceil(total / 20))


def next_moves(
    counts: Mapping[Address, int],
    shares: Mapping[Address, int],
    joined: Collection[Address],
    limit: int,
    rng: random.Random,
) -> tuple[Move, ...]:
    """The moves that bring one process's connections nearer to their shares, `limit` of them at most.

    `counts` are the connections by where they are; those on instances without a share should leave them. A move is
    made only if it brings two readers nearer to each other, so there is an end to it, and nothing swings. What is
    left then is less than one connection for each reader.

    That is much where each of many processes has one connection: all of them would stay where they are for ever. So for
    a reader in `joined`, which was not there before, that rest is drawn by lot, once. Of 30 processes with
    a connection each and two readers, some 10 move to the third: see `is_due_still`.
    """
    if not sum(counts.values()) or not shares:
        return ()
    goals = sorted(shares, key=str)
    wanted = _wanted(counts, shares)
    excess = {address: counts.get(address, 0) - wanted[address] for address in sorted(wanted, key=str)}
    lots = [a for a in goals if a in joined and excess[a] < 0 and rng.random() < -excess[a] - math.floor(-excess[a])]
    moves: list[Move] = []

    def move(source: Address, goal: Address, by_lot: bool = False) -> None:
        excess[source] -= 1
        excess[goal] += 1
        moves.append(Move(source, goal, by_lot))

    def need(source: Address, goal: Address) -> float:
        """By how much the two are further from each other than they may be."""
        return excess[source] - excess[goal] - max(1 + _ALMOST, TOLERANCE * (wanted[source] + wanted[goal]))

    while len(moves) < limit:
        if leaving := [a for a in excess if a not in shares and excess[a] >= 1]:
            move(rng.choice(leaving), min(goals, key=lambda a: (excess[a], rng.random())))
            continue
        source, goal = max(itertools.product(goals, goals), key=lambda pair: (need(*pair), rng.random()))
        if need(source, goal) <= 0:
            break
        move(source, goal)
    for goal in lots[: limit - len(moves)]:
        source = max(excess, key=lambda a: (excess[a], rng.random()))
        if excess[source] > 0:
            move(source, goal, by_lot=True)
    return tuple(moves)


def is_due_still(move: Move, counts: Mapping[Address, int], shares: Mapping[Address, int]) -> bool:
    """Whether a move by lot, which is not drawn again, is still to be made: a connection may be idle for long."""
    if not move.by_lot or not shares:
        return False
    wanted = _wanted(counts, shares)
    too_many = counts.get(move.source, 0) > wanted.get(move.source, 0.0)
    return too_many and move.goal in shares and counts.get(move.goal, 0) < wanted[move.goal]


def _wanted(counts: Mapping[Address, int], shares: Mapping[Address, int]) -> dict[Address, float]:
    total, weight = sum(counts.values()), sum(shares.values())
    return {address: total * shares.get(address, 0) / weight for address in {*counts, *shares}}
