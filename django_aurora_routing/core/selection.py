"""Picks a reader: small functions from candidates to one of them."""

from __future__ import annotations

import random
from collections.abc import Sequence

from .topology import Instance


def pick_random(candidates: Sequence[Instance], rng: random.Random, turn: int) -> Instance:
    return rng.choice(candidates)


def pick_round_robin(candidates: Sequence[Instance], rng: random.Random, turn: int) -> Instance:
    """By turns in the order of ids; `turn` counts the picks made before."""
    return sorted(candidates, key=lambda i: i.id)[turn % len(candidates)]


STRATEGIES = {"random": pick_random, "round_robin": pick_round_robin}
