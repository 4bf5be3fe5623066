"""Pacing: pauses double, end at the longest, and are never all the same."""

from django_aurora_routing.core.pacing import Backoff


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
