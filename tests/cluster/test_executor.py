"""The background thread: one at a time, woken at once, gone with its owner."""

from __future__ import annotations

import gc
import threading
import time
from collections.abc import Callable, Iterator

import pytest

from django_aurora_routing.cluster.executor import BackgroundThread


class Owner:
    def __init__(self, turn: Callable[[], float | None]) -> None:
        self.turn = turn
        self.thread = BackgroundThread("aurora-test", self, lambda owner: owner.turn())
        _threads.append(self.thread)


_threads: list[BackgroundThread[Owner]] = []


@pytest.fixture(autouse=True)
def _no_thread_of_another_test() -> Iterator[None]:
    """A thread ends a moment after its last turn, and a test that fails may leave one: the next is not to count it."""
    yield
    while _threads:
        _threads.pop().stop(5)
    assert named() == []


def eventually(condition: Callable[[], bool], seconds: float = 5.0) -> bool:
    deadline = time.monotonic() + seconds
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.005)
    return condition()


def named() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "aurora-test"]


def test_it_starts_at_first_use_as_a_daemon_and_ends_when_a_turn_says_so() -> None:
    turns: list[bool] = []

    def turn() -> None:
        turns.append(threading.current_thread().daemon)

    owner = Owner(turn)
    assert named() == []
    owner.thread.wake()
    assert eventually(lambda: turns == [True] and not named())
    owner.thread.wake()
    assert eventually(lambda: turns == [True, True])


def test_waking_ends_the_pause_and_starts_no_second_thread() -> None:
    turns: list[int] = []

    def turn() -> float:
        turns.append(len(named()))
        return 60.0

    owner = Owner(turn)
    for count in (1, 2, 3):
        owner.thread.wake()
        assert eventually(lambda count=count: len(turns) >= count)  # type: ignore[misc]
    assert set(turns) == {1}
    owner.thread.stop(5)
    assert named() == []
    owner.thread.wake()
    assert eventually(lambda: len(turns) == 4)
    owner.thread.stop(5)


def test_it_does_not_keep_its_owner_alive() -> None:
    owner = Owner(lambda: 0.01)
    owner.thread.wake()
    assert eventually(lambda: len(named()) == 1)
    del owner
    gc.collect()
    assert eventually(lambda: not named())


def test_a_turn_that_fails_is_logged_and_the_next_one_comes(caplog: pytest.LogCaptureFixture) -> None:
    turns: list[int] = []

    def turn() -> float | None:
        turns.append(1)
        if len(turns) == 1:
            raise ZeroDivisionError
        return None

    owner = Owner(turn)
    owner.thread.wake()
    assert eventually(lambda: len(turns) == 2)
    assert "a turn failed" in caplog.text
    assert eventually(lambda: not named())
