"""Timings: what many calls come to."""

from __future__ import annotations

import math

from hypothesis import given
from hypothesis import strategies as st

from django_aurora_routing.core.timings import BOUNDS, Timing, added

NONE = Timing("connect", "default", "a:3306")


def test_nothing_has_a_mean_of_zero() -> None:
    assert (NONE.mean, NONE.maximum, sum(NONE.histogram)) == (0.0, 0.0, 0)


def test_a_bound_belongs_to_the_column_below() -> None:
    assert [added(NONE, bound).histogram.index(1) for bound in BOUNDS] == list(range(len(BOUNDS)))
    assert added(NONE, BOUNDS[-1] + 1).histogram[-1] == 1


@given(st.lists(st.tuples(st.floats(0, 100), st.booleans())))
def test_calls_are_counted_added_up_and_sorted_in(calls: list[tuple[float, bool]]) -> None:
    timing = NONE
    for seconds, failed in calls:
        timing = added(timing, seconds, failed=failed)
    assert timing.count == sum(timing.histogram) == len(calls)
    assert timing.failed == sum(failed for _, failed in calls)
    assert math.isclose(timing.total, sum(seconds for seconds, _ in calls), abs_tol=1e-9)
    assert timing.maximum == max([0.0, *(seconds for seconds, _ in calls)])
    for number, bound in enumerate(BOUNDS):
        assert sum(timing.histogram[: number + 1]) == sum(seconds <= bound for seconds, _ in calls)
