"""Preferences: who is a candidate by lag, zone and list, and what is written wrong in the options about them."""

from __future__ import annotations

import math

import pytest

from django_aurora_routing.core.endpoints import Address
from django_aurora_routing.core.preferences import (
    Preferences,
    fit_readers,
    nearest_to_the_writer,
    parse_pairs,
    parse_weights,
    preferred_readers,
    settled,
)
from django_aurora_routing.core.selection import Weights
from django_aurora_routing.core.topology import Instance, Role


def reader(name: str, lag: float = 0.0, zone: str | None = None) -> Instance:
    return Instance(name, Address(f"{name}.example"), Role.READER, lag, zone=zone)


READERS = (reader("a", 0.02, "x"), reader("b", 0.08, "y"), reader("c", 3.0, "y"), reader("d", math.inf))
CEILING = Preferences(max_lag=0.1)


@pytest.mark.parametrize(
    ("preferences", "fit", "preferred", "goals"),
    [
        pytest.param(Preferences(), "abcd", "abcd", "abcd", id="anything goes"),
        pytest.param(CEILING, "ab", "ab", "a", id="above the ceiling, or unknown; b is near it"),
        pytest.param(Preferences(zone="y"), "abcd", "bc", "bc", id="its own zone"),
        pytest.param(Preferences(0.1, "y"), "ab", "b", "", id="the fit ones of its own zone"),
        pytest.param(Preferences(0.05, "y"), "a", "a", "a", id="others where there is none left"),
        pytest.param(Preferences(zone="z"), "abcd", "abcd", "abcd", id="or none at all"),
        pytest.param(Preferences(zone="z", zones=(("d", "z"),)), "abcd", "d", "d", id="zones told by the alias"),
        pytest.param(Preferences(zone="y", zones=(("b", "z"),)), "abcd", "c", "c", id="which knows better"),
        pytest.param(Preferences(0.1, allowed=frozenset("bcx")), "b", "b", "", id="of a list alone"),
        pytest.param(Preferences(allowed=frozenset()), "", "", "", id="which may be empty"),
    ],
)
def test_candidates(preferences: Preferences, fit: str, preferred: str, goals: str) -> None:
    assert [*"".join(i.id for i in fit_readers(READERS, preferences))] == [*fit]
    assert "".join(i.id for i in preferred_readers(READERS, preferences)) == preferred
    assert "".join(i.id for i in settled(READERS, preferences)) == goals


def test_who_is_least_behind() -> None:
    least = nearest_to_the_writer(READERS[1:], CEILING)
    assert least is not None
    assert least.id == "b"
    assert nearest_to_the_writer(READERS, Preferences(allowed=frozenset("z"))) is None


@pytest.mark.parametrize(
    ("value", "pairs"),
    [
        ("", ()),
        ({}, ()),
        ("a:3, b:1,", (("a", 3), ("b", 1))),
        ({"A.Example": 3, "b": "1"}, (("a.example", 3), ("b", 1))),
        ("a.example:3306:3", (("a.example:3306", 3),)),
    ],
)
def test_weights(value: object, pairs: tuple[tuple[str, int], ...]) -> None:
    assert parse_weights(value, 2) == Weights(pairs, 2)


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ("a", "'a' is no pair"),
        ("a:", "'a:' is no pair"),
        (":3", "':3' is no pair"),
        ("a:0", "the weight of 'a' must be a whole number from 1, not '0'"),
        ("a:-1", "not '-1'"),
        ("a:1.5", "not '1.5'"),
        ({"a": True}, "holds True or False"),
        ({"a": None}, "not 'None'"),
        ("a:1,A:2", "'a' is there twice"),
        (5, "must be pairs, not 5"),
        (["a:1"], "must be pairs"),
    ],
)
def test_weights_that_are_none(value: object, words: str) -> None:
    with pytest.raises(ValueError, match=words.replace("'", ".")):
        parse_weights(value, 1)


def test_pairs_of_names_and_zones() -> None:
    assert parse_pairs("One:eu-west-1a,two:eu-west-1b") == (("one", "eu-west-1a"), ("two", "eu-west-1b"))
