"""Who waits for news hears of it, a few at a time."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable

from django_aurora_routing.cluster.gate import MAX_CONNECTING
from django_aurora_routing.cluster.news import News, Waiting

CROWD = 2 * MAX_CONNECTING + 5
LONG = 30.0


def wait_until(is_so: Callable[[], bool]) -> None:
    deadline = time.monotonic() + LONG / 3
    while not is_so() and time.monotonic() < deadline:
        time.sleep(0.005)
    assert is_so()


class Crowd:
    """Threads that wait for news to connect, each of which then does something before it leaves."""

    def __init__(self, then: Callable[[Waiting], None]) -> None:
        self.lock = threading.RLock()
        self.news = News(self.lock)
        self.is_there = False
        self.woken: list[float] = []
        self._then = then
        self._threads = [threading.Thread(target=self._wait, daemon=True) for _ in range(CROWD)]
        for thread in self._threads:
            thread.start()
        wait_until(lambda: len(self.news._to_connect._waiters) == CROWD)  # type: ignore[attr-defined]

    def _wait(self) -> None:
        with contextlib.suppress(RuntimeError), self.news.waiting() as waiting:
            waiting.wait(lambda: self.is_there, time.monotonic() + LONG)
            self.woken.append(time.monotonic())
            self._then(waiting)

    def tell(self) -> None:
        with self.lock:
            self.is_there = True
            self.news.tell()

    def settle(self, number: int) -> None:
        """Return when so many are awake, and nobody else has woken for a while."""
        wait_until(lambda: len(self.woken) >= number)
        time.sleep(0.1)
        assert len(self.woken) == number

    def join(self) -> None:
        wait_until(lambda: not any(thread.is_alive() for thread in self._threads))
        assert len(self.woken) == CROWD


def test_as_many_are_awake_as_may_connect_and_each_that_leaves_wakes_one() -> None:
    may_leave = threading.Semaphore(0)

    def stay(waiting: Waiting) -> None:
        may_leave.acquire()

    crowd = Crowd(stay)
    crowd.tell()
    crowd.settle(MAX_CONNECTING)
    may_leave.release(3)
    crowd.settle(MAX_CONNECTING + 3)
    may_leave.release(CROWD)
    crowd.join()


def test_who_waits_again_wakes_the_next_first() -> None:
    nothing_new = threading.Event()

    def wait_again(waiting: Waiting) -> None:
        waiting.wait(nothing_new.is_set, time.monotonic() + 0.5)

    crowd = Crowd(wait_again)
    crowd.tell()
    crowd.join()


def test_who_fails_wakes_the_next_as_well() -> None:
    def fail(waiting: Waiting) -> None:
        raise RuntimeError

    crowd = Crowd(fail)
    crowd.tell()
    crowd.join()


def test_who_expects_to_be_held_up_wakes_the_next_before() -> None:
    may_leave = threading.Event()

    def be_held_up(waiting: Waiting) -> None:
        waiting.pass_on()
        may_leave.wait(LONG)

    crowd = Crowd(be_held_up)
    crowd.tell()
    crowd.settle(CROWD)
    may_leave.set()
    crowd.join()


def test_who_only_has_to_know_does_not_wait_for_those_that_connect() -> None:
    may_leave, knows = threading.Event(), threading.Event()

    def stay(waiting: Waiting) -> None:
        may_leave.wait(LONG)

    crowd = Crowd(stay)

    def know() -> None:
        crowd.news.wait(lambda: crowd.is_there, time.monotonic() + LONG)
        knows.set()

    threading.Thread(target=know, daemon=True).start()
    crowd.tell()
    assert knows.wait(LONG / 3)
    may_leave.set()
    crowd.join()


def test_an_exception_that_ends_a_wait_does_not_end_the_waking() -> None:
    class Interrupted(Exception):
        pass

    def interrupt() -> bool:
        if waiting_since:  # asked again: it has been woken, and something else comes in between
            raise Interrupted
        waiting_since.append(time.monotonic())
        return False

    waiting_since: list[float] = []
    news = News(threading.RLock())
    woken, woken_by = threading.Event(), threading.Event()

    def be_interrupted() -> None:
        with contextlib.suppress(Interrupted), news.waiting() as waiting:
            waiting.wait(interrupt, time.monotonic() + LONG)

    def wait() -> None:
        with news.waiting() as waiting:
            waiting.wait(woken_by.is_set, time.monotonic() + LONG)
        woken.set()

    waiters = news._to_connect._waiters  # type: ignore[attr-defined]
    for number, target in enumerate((be_interrupted, wait), 1):
        threading.Thread(target=target, daemon=True).start()
        wait_until(lambda number=number: len(waiters) == number)  # type: ignore[misc]
    woken_by.set()
    with news._to_connect:
        news._to_connect.notify()  # the last of those that are woken at first
    assert woken.wait(LONG / 3)


def test_nobody_waits_for_longer_than_he_says() -> None:
    news = News(threading.RLock())
    began = time.monotonic()
    news.wait(lambda: False, began + 0.05)
    assert time.monotonic() - began >= 0.05


def test_news_that_is_there_is_not_waited_for() -> None:
    news = News(threading.RLock())
    news.wait(lambda: True, time.monotonic() + LONG)
    began = time.monotonic()
    news.wait(lambda: False, began)
    assert time.monotonic() - began < LONG / 2
