"""Absences: when a reader is tried again that failed, or failed again soon after it had come back."""

from __future__ import annotations

from django_aurora_routing.core.absence import PROBATION, Absences
from django_aurora_routing.core.endpoints import Address
from django_aurora_routing.core.pacing import Backoff

A, B = Address("a.example"), Address("b.example")
NONE = Absences()


def test_who_is_new_is_tried_at_once_then_after_longer_and_longer_pauses() -> None:
    away, times, now = NONE.updated({A}, 100.0, 0.0), [], 100.0
    for _ in range(8):
        assert away.due(now) == (A,)
        away = away.failed(A, now, 0.0)
        assert away.due(now) == ()
        times.append(away.next_at() - now)
        now = away.next_at()
        away = away.updated({A}, now, 0.0)
    assert times == [1, 2, 4, 8, 16, 30, 30, 30]


def test_who_is_not_set_aside_any_more_is_forgotten() -> None:
    away = NONE.updated({A, B}, 100.0, 0.0).failed(A, 100.0, 0.0)
    assert away.updated({B}, 100.0, 0.0).due(100.0) == (B,)
    assert NONE.next_at() == away.updated((), 100.0, 0.0).next_at() == float("inf")


def test_who_fails_again_on_probation_is_not_tried_at_once() -> None:
    """A reader that takes connections and ends them would come and go every second, for ever."""
    absences, now, pauses = NONE, 100.0, []
    for _ in range(5):
        absences = absences.updated({A}, now, 0.0)
        pauses.append(max(0.0, absences.next_at() - now))
        now = max(now, absences.next_at())
        absences = absences.returned(A, now).updated((), now + 1, 0.0)
        now += 2
    assert pauses == [0, 1, 2, 4, 8]


def test_who_has_done_well_for_long_is_new_again() -> None:
    absences = NONE.updated({A}, 100.0, 0.0).failed(A, 100.0, 0.0).returned(A, 110.0)
    later = 110.0 + PROBATION + 1
    assert absences.updated((), later, 0.0).updated({A}, later, 0.0).due(later) == (A,)
    assert absences.updated({A}, 111.0, 0.0).due(111.0) == ()


def test_with_pauses_of_their_own_the_first_comes_before_the_first_try() -> None:
    away, times, now = Absences(Backoff(30.0, 120.0), at_once=False), [], 100.0
    for _ in range(5):
        away = away.updated({A}, now, 0.0)
        assert away.due(now) == (() if not times else (A,))
        away = away.failed(A, now, 0.0) if times else away
        times.append(away.next_at() - now)
        now = away.next_at()
    assert times == [30, 60, 120, 120, 120]
