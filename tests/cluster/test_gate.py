"""The gate: connects that succeed are held up by the number alone, those that fail are few, whoever makes them."""

from __future__ import annotations

import contextlib
import threading
import time
from typing import Any

from django_aurora_routing.backends.wiring import cluster_settings_of
from django_aurora_routing.cluster.cluster import Cluster
from django_aurora_routing.cluster.gate import FIRST_PAUSE, LONGEST_PAUSE, MAX_CONNECTING, Failed, Gate
from django_aurora_routing.core.endpoints import Address
from django_aurora_routing.core.failures import Failure
from django_aurora_routing.core.options import Options

DEAD, ALIVE = Address("dead", 1), Address("alive", 1)
UNREACHABLE, BUSY = (Failed(failure, OSError(failure.value), "why") for failure in (Failure.UNREACHABLE, Failure.BUSY))


def test_a_crowd_that_fails_knocks_now_and_then() -> None:
    gate, began = Gate(), time.monotonic()
    knocks: list[float] = []

    def work() -> None:
        while True:
            with gate.turn(DEAD, began + 2) as has_turn:
                if not has_turn:
                    return
                knocks.append(time.monotonic() - began)
                time.sleep(0.002)
                gate.note(DEAD, UNREACHABLE)

    threads = [threading.Thread(target=work) for _ in range(60)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    assert 3 <= len(knocks) <= MAX_CONNECTING + 5 + 2
    assert len([at for at in knocks if at > 1]) <= 3


def test_nobody_else_is_held_up_by_that_and_the_first_success_lets_all_go_on() -> None:
    gate = Gate()
    for _ in range(6):
        with gate.turn(DEAD, time.monotonic() + 5):
            gate.note(DEAD, UNREACHABLE)
    began = time.monotonic()
    with gate.turn(ALIVE, began + 5) as has_turn:
        gate.note(ALIVE)
    assert has_turn
    assert time.monotonic() - began < FIRST_PAUSE / 2
    waits: list[float] = []

    def work() -> None:
        with gate.turn(DEAD, began + 10):
            gate.note(DEAD)
            waits.append(time.monotonic() - began)

    threads = [threading.Thread(target=work) for _ in range(10)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert max(waits) - min(waits) < LONGEST_PAUSE / 2


def test_who_gets_no_turn_in_time_is_told_so() -> None:
    gate = Gate()
    with gate.turn(DEAD, time.monotonic() + 5):
        gate.note(DEAD, UNREACHABLE)
    with gate.turn(DEAD, time.monotonic() + FIRST_PAUSE / 10) as has_turn:
        assert not has_turn


def test_a_place_that_gets_free_is_for_one_who_can_use_it() -> None:
    """Those who wait for a failing instance wait at the same gate, and are no use to those who wait for a place."""
    gate, until = Gate(), time.monotonic() + 8
    for _ in range(6):
        with gate.turn(DEAD, until):
            gate.note(DEAD, UNREACHABLE)
    got: list[float] = []

    def work(address: Address, seconds: float) -> None:
        with gate.turn(address, until) as has_turn:
            if has_turn and address is ALIVE:
                got.append(time.monotonic())
            time.sleep(seconds)

    began = time.monotonic()
    full = [threading.Thread(target=work, args=(ALIVE, 0.3)) for _ in range(MAX_CONNECTING)]
    others = [threading.Thread(target=work, args=(address, 0.0)) for address in (DEAD, ALIVE) * 20]
    for thread in (*full, *others):
        thread.start()
    for thread in (*full, *others):
        thread.join(20)
    assert len(got) == MAX_CONNECTING + 20
    assert max(got) - began < 3


def test_who_wants_to_go_elsewhere_leaves_at_once_and_takes_no_turn_with_him() -> None:
    """The writer dies under a crowd that is connecting to it; whoever waits for it then has to hear of the next one."""
    gate, until = Gate(), time.monotonic() + 30
    view, left = [1], []
    lock = threading.Lock()

    def work() -> None:
        with gate.turn(DEAD, until, is_current=lambda: view[0] == 1) as has_turn:
            if has_turn:
                time.sleep(0.2)
                gate.note(DEAD, UNREACHABLE)
        if not has_turn:
            with lock:
                left.append(time.monotonic())

    threads = [threading.Thread(target=work) for _ in range(200)]
    for thread in threads:
        thread.start()
    time.sleep(0.5)  # the first have failed, and the others wait until one more may try
    view[0] = 2
    gate.look_again()
    began = time.monotonic()
    for thread in threads:
        thread.join(20)
    assert len(left) > 200 - MAX_CONNECTING - 5
    assert max(left) - began < 2
    with gate.turn(DEAD, time.monotonic() + LONGEST_PAUSE) as has_turn:  # the pause is no longer for those who left
        assert has_turn


def test_who_waits_for_a_place_leaves_as_well() -> None:
    gate, is_current = Gate(), True
    over = threading.Event()
    threads = []

    def work() -> None:
        with gate.turn(ALIVE, time.monotonic() + 30):
            over.wait(30)

    threads = [threading.Thread(target=work) for _ in range(MAX_CONNECTING)]
    gave: list[bool] = []

    def wait() -> None:
        with gate.turn(ALIVE, time.monotonic() + 30, is_current=lambda: is_current) as has_turn:
            gave.append(has_turn)

    threads += [threading.Thread(target=wait)]
    for thread in threads:
        thread.start()
    time.sleep(0.2)
    assert gave == []
    is_current = False
    gate.look_again()
    threads[-1].join(5)
    over.set()
    for thread in threads:
        thread.join(5)
    assert gave == [False]


def test_who_waits_at_a_busy_server_waits_no_longer_than_for_that_and_can_tell_why() -> None:
    gate, now = Gate(), time.monotonic()
    for _ in range(6):
        with gate.turn(DEAD, now + 30):
            gate.note(DEAD, BUSY)
    began = time.monotonic()
    with gate.turn(DEAD, began + 30, until_if_busy=began + 0.05) as has_turn:
        assert not has_turn
    assert time.monotonic() - began < LONGEST_PAUSE / 2
    first, second = gate.last_failure(DEAD), gate.last_failure(DEAD)
    assert first is not None
    assert second is not None
    assert (first.failure, first.reason, str(first.error)) == (Failure.BUSY, "why", Failure.BUSY.value)
    assert first.error is not second.error  # each may be raised, and gathers a traceback
    gate.note(DEAD)
    assert gate.last_failure(DEAD) is None


def test_a_time_that_is_over_for_busy_servers_still_leaves_one_connect_where_nobody_has_just_failed() -> None:
    gate, now = Gate(), time.monotonic()
    with gate.turn(DEAD, now + 30):
        gate.note(DEAD, BUSY)
    time.sleep(FIRST_PAUSE)
    with gate.turn(DEAD, now + 30, until_if_busy=now) as has_turn:
        assert has_turn


def test_each_change_of_the_view_is_heard_at_the_gate() -> None:
    links: Any = None  # nobody connects
    settings = cluster_settings_of({"HOST": ALIVE.host}, Options())
    cluster = Cluster("heard", settings, links)
    gate, until = cluster.gate, time.monotonic() + 30
    gave: list[bool] = []

    def wait(version: int) -> None:
        with gate.turn(ALIVE, until, is_current=lambda: cluster.is_at(version)) as has_turn:
            gave.append(has_turn)

    with contextlib.ExitStack() as full:
        for _ in range(MAX_CONNECTING):
            full.enter_context(gate.turn(ALIVE, until))
        thread = threading.Thread(target=wait, args=(cluster.view.version,))
        thread.start()
        time.sleep(0.2)
        assert gave == []
        cluster.fail_to_start(links, OSError("nobody is there"))
        thread.join(5)
        assert gave == [False]
