"""The bound: whatever the options, the monitor's clockwork takes well under the second that it is allowed."""

import itertools
import random

import pytest

from django_aurora_routing.core.detection import Detection
from django_aurora_routing.core.options import parse_options

SETTINGS = [
    Detection(time, interval, count)
    for time, interval, count in itertools.product((0.001, 0.3, 1.0, 5.0, 6.0, 30.0), (0.001, 0.3, 1.0, 5.0), (1, 2, 3))
]


def ended_after(detection: Detection, *, first_look: float, last_answer: float | None) -> float:
    """Play the monitor's clockwork: when a call that begins at 0 is ended. The host is silent from the last answer on,
    which it gave because of a call that was overdue before; None: it has been silent all the time.
    """
    look, seen = first_look, None
    due = float("-inf") if last_answer is None else last_answer + detection.pause
    while True:
        if seen is None:
            seen = look
        elif look - seen >= detection.time and look >= due:
            return look + detection.interval * detection.count
        look += detection.tick


@pytest.mark.parametrize("detection", SETTINGS, ids=str)
def test_a_call_that_began_on_a_silent_host_is_ended_within_the_bound(detection: Detection) -> None:
    rng = random.Random(1)
    for _ in range(20):
        ended = ended_after(detection, first_look=rng.uniform(0, detection.tick), last_answer=None)
        assert detection.limit <= ended <= detection.limit + 0.51


@pytest.mark.parametrize("detection", SETTINGS, ids=str)
def test_so_is_a_call_whose_host_falls_silent_later(detection: Detection) -> None:
    rng = random.Random(1)
    for _ in range(20):
        answer = rng.uniform(0, 3 * detection.time + 0.5)
        ended = ended_after(detection, first_look=rng.uniform(0, detection.tick), last_answer=answer)
        assert ended - answer <= detection.limit + 0.51


def test_a_connect_takes_no_longer_than_a_silent_host_is_borne_with() -> None:
    def limit(**raw: object) -> float:
        return parse_options(raw, driver_names=()).options.connect_limit

    assert limit() == 8
    assert limit(failure_detection_time_ms=6000, failure_detection_count=1) == 7
    assert limit(failure_detection_time_ms=30000, failure_detection_interval_ms=5000) == 10
    assert limit(connect_timeout=3) == 3
    assert limit(failure_detection_enabled=False) == 10
    assert limit(plugins="initial_connection") == 10
