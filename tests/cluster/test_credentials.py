"""Credentials that age: one fetch for all, nobody waits for a renewal, and an outage of the source is none of ours."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import pytest

from django_aurora_routing.cluster.credentials import CREDENTIALS, Credentials, Held, Kept, log_in
from django_aurora_routing.core.endpoints import Address
from django_aurora_routing.core.failures import ErrorFacts
from django_aurora_routing.core.logins import Issued, Rejected, Unavailable
from django_aurora_routing.core.secret import Secret
from django_aurora_routing.errors import LoginError

HERE = Address("127.0.0.1", 3306)


@dataclass
class Source:
    """Issues passwords "1", "2", ...; can be slow, or out."""

    lifetime: float = 600.0
    seconds: float = 0.0
    is_out: bool = False
    repeats: bool = False
    fetches: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)

    def __call__(self) -> Issued:
        with self.lock:
            self.fetches += 1
            number = 1 if self.repeats else self.fetches
        time.sleep(self.seconds)
        if self.is_out:
            raise Unavailable("the source is out")
        return Issued("u", Secret(number), self.lifetime)


def soon() -> float:
    return time.monotonic() + 10


def password(held: Held[Any] | None) -> str | None:
    return None if held is None else str.__str__(held.value.password)


def eventually(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 10
    while not holds():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.005)


def test_a_thousand_threads_that_start_at_once_cause_one_fetch() -> None:
    source = Source(seconds=0.2)
    kept = Kept("it", source)
    barrier = threading.Barrier(1000)
    seen: list[str | None] = []

    def ask() -> None:
        barrier.wait()
        seen.append(password(kept.get(time.monotonic() + 60)))

    threads = [threading.Thread(target=ask) for _ in range(1000)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert source.fetches == 1
    assert seen == ["1"] * 1000


def test_a_renewal_ahead_of_the_end_keeps_nobody_waiting() -> None:
    source = Source(lifetime=9.0)
    kept = Kept("it", source)
    assert password(kept.get(soon())) == "1"
    time.sleep(6.1)
    source.seconds = 3
    began = time.monotonic()
    assert password(kept.get(soon())) == "1"
    assert time.monotonic() - began < 2
    eventually(lambda: password(kept.get(soon())) == "2")
    assert source.fetches == 2


def test_what_has_ended_is_not_given_out() -> None:
    source = Source(lifetime=0.2)
    kept = Kept("it", source)
    kept.get(soon())
    time.sleep(0.3)
    assert password(kept.get(soon())) == "2"
    time.sleep(0.3)
    source.is_out = True
    with pytest.raises(Unavailable, match="the source is out"):
        kept.get(soon())


def test_what_outlives_its_end_is_used_for_as_long_as_the_source_is_out() -> None:
    source = Source(lifetime=0.1)
    kept = Kept("it", source, outlives=True)
    kept.get(soon())
    source.is_out = True
    deadline = time.monotonic() + 1.5
    while time.monotonic() < deadline:
        assert password(kept.get(soon())) == "1"
        time.sleep(0.01)
    assert source.fetches < 6  # and the source is not stormed meanwhile
    source.is_out = False
    eventually(lambda: password(kept.get(soon())) != "1")


def test_a_source_that_does_not_answer_is_waited_for_no_longer_than_asked() -> None:
    kept = Kept("it", Source(seconds=2))
    began = time.monotonic()
    with pytest.raises(Unavailable, match="no answer in time"):
        kept.get(time.monotonic() + 0.2)
    assert time.monotonic() - began < 1.5
    assert password(kept.get(soon())) == "1"  # of the same fetch


def test_a_source_that_failed_is_left_alone_for_a_moment() -> None:
    source = Source(is_out=True)
    kept = Kept("it", source)
    for _ in range(50):
        with pytest.raises(Unavailable, match="the source is out"):
            kept.get(soon())
    assert source.fetches < 5


def test_a_source_that_says_no_is_left_alone_for_minutes_in_forked_children_too() -> None:
    asked: list[float] = []

    def fetch() -> Issued:
        asked.append(time.monotonic())
        raise Rejected("wrong password")

    kept = Kept("it", fetch)
    for _ in range(3):
        with pytest.raises(Unavailable, match="wrong password"):
            kept.get(soon())
    kept.after_fork()
    with pytest.raises(Unavailable, match=r"wrong password .*not asked again for 5 min"):
        kept.get(soon())
    assert len(asked) == 1
    pauses = [kept._rejections.due_at - asked[0]]
    for _ in range(5):
        kept._rejections = replace(kept._rejections, due_at=0.0)
        began = time.monotonic()
        with pytest.raises(Unavailable):
            kept.get(soon())
        pauses.append(kept._rejections.due_at - began)
    assert [round(pause / 60) for pause in pauses] == [5, 10, 20, 40, 60, 60]


def test_a_mistake_in_a_fetch_is_told_without_its_words() -> None:
    def fetch() -> Issued:
        raise ValueError("secret-in-the-message")

    with pytest.raises(Unavailable, match="ValueError") as failed:
        Kept("it", fetch).get(soon())
    assert "secret-in" not in str(failed.value)


def test_a_forked_child_fetches_for_itself_while_the_parent_does() -> None:
    source = Source(seconds=0.5)
    kept = Kept("it", source)
    thread = threading.Thread(target=lambda: kept.get(soon()))
    thread.start()
    time.sleep(0.1)
    with kept._lock:  # the worst moment
        child = os.fork()
        if child == 0:
            os._exit(0 if password(kept.get(soon())) == "2" else 1)
    thread.join()
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


# -- logging in with them


class DeniedError(Exception):
    pass


class Door:
    """A driver to a server that takes some passwords."""

    def __init__(self, *takes: str) -> None:
        self.takes = set(takes)
        self.given: list[dict[str, Any]] = []

    def connect(self, address: Address, params: Mapping[str, Any], timeout: float) -> str:
        self.given.append(dict(params))
        if params["password"] not in self.takes:
            raise DeniedError
        return "a session"

    def facts(self, error: BaseException) -> ErrorFacts | None:
        return ErrorFacts(1045, "Access denied") if isinstance(error, DeniedError) else None


def params_with(source: Source, *, outlives: bool = False) -> dict[str, Any]:
    credentials = Credentials(
        "the lab's", lambda address: source(), key=lambda address: None, arguments={"x": 1}, outlives=outlives
    )
    return {"user": "settings", "password": "settings", "database": "app", CREDENTIALS: credentials}


def enter(door: Door, params: Mapping[str, Any]) -> Any:
    return log_in(door, HERE, params, 5)  # type: ignore[arg-type]


def test_credentials_take_the_place_of_all_others() -> None:
    door = Door("1")
    enter(door, params_with(Source()))
    assert door.given == [{"database": "app", "x": 1, "user": "u", "password": "1"}]
    assert enter(door, {"user": "a", "password": "1"}) == "a session"


def test_a_rotated_password_costs_one_refusal_and_one_fetch() -> None:
    source, door = Source(), Door("1")
    params = params_with(source)
    enter(door, params)
    door.takes = {"2"}
    enter(door, params)
    enter(door, params)
    assert [given["password"] for given in door.given] == ["1", "1", "2", "2"]
    assert source.fetches == 2


def test_many_that_are_refused_at_once_cause_one_fetch() -> None:
    source, door = Source(), Door("1")
    params = params_with(source)
    enter(door, params)
    door.takes, source.seconds = {"2"}, 0.2
    threads = [threading.Thread(target=enter, args=(door, params)) for _ in range(50)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert source.fetches == 2
    assert [given["password"] for given in door.given].count("2") == 50


def test_a_password_that_is_still_the_same_is_not_tried_again() -> None:
    source, door = Source(repeats=True), Door("1")
    params = params_with(source)
    enter(door, params)
    door.takes = set()
    for _ in range(20):
        with pytest.raises(LoginError, match="Access denied"):
            enter(door, params)
    assert len(door.given) == 21
    assert source.fetches <= 3  # about one a second, however many are refused


def test_an_outage_while_the_old_password_is_refused() -> None:
    source, door = Source(), Door("1")
    params = params_with(source, outlives=True)
    enter(door, params)
    source.is_out = True
    assert enter(door, params) == "a session"
    door.takes = set()
    with pytest.raises(LoginError) as refused:
        enter(door, params)
    assert refused.value.args[0] == 1045
    assert refused.value.__context__ is None


def test_what_a_token_was_made_with_is_replaced_when_it_is_refused_and_kept_when_there_is_no_other() -> None:
    keys = Source()
    kept = Kept("the keys", keys)
    assert password(kept.get(soon())) == "1"
    kept.replace_if_older(60, soon())
    assert keys.fetches == 1
    kept.replace_if_older(-1, soon())
    assert password(kept.get(soon())) == "2"
    keys.is_out = True
    kept.replace_if_older(-1, soon())
    assert password(kept.get(soon())) == "2"


def test_no_credentials_is_an_error_of_django_without_frames_of_the_fetch() -> None:
    with pytest.raises(LoginError, match="the source is out") as failed:
        enter(Door(), params_with(Source(is_out=True)))
    assert failed.value.__context__ is None


def test_errors_that_no_password_would_mend_are_the_drivers_own() -> None:
    class Broken(Door):
        def connect(self, address: Address, params: Mapping[str, Any], timeout: float) -> str:
            raise OSError("cut")

    with pytest.raises(OSError, match="cut"):
        enter(Broken(), params_with(Source()))


def test_nothing_of_it_shows_a_password() -> None:
    source = Source()
    params = params_with(source)
    kept = params[CREDENTIALS].at(HERE)
    held = kept.get(soon())
    assert held.value.password == "1"
    assert "'1'" not in f"{params} {kept} {held} {held.value} {params[CREDENTIALS].given({}, held.value)}"
