"""Units of work: one reader each, their own writes, and when a pin ends; on SQLite files that never replicate."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from asgiref.sync import sync_to_async
from django.contrib.sessions.models import Session
from django.core.exceptions import ImproperlyConfigured
from django.core.management import call_command
from django.core.signals import request_finished, request_started
from django.db import connections, router, transaction
from django.db.models.signals import pre_migrate
from django.test import override_settings

from django_aurora_routing.conf import routing_settings
from django_aurora_routing.core.staleness import Lag
from django_aurora_routing.routing import lag, readers
from django_aurora_routing.routing.blocks import in_reader, in_writer
from django_aurora_routing.routing.databases import in_database
from django_aurora_routing.routing.errors import NoReaderAvailable
from django_aurora_routing.routing.scopes import current_scope, mark_written, note_write, scope, set_aside, unpin

from .conftest import CLUSTERS, names
from .models import Author

pytestmark = pytest.mark.usefixtures("both_routers")

READERS = {"reader1", "reader2"}


def reads(**hints: Any) -> str:
    return router.db_for_read(Author, **hints)


def with_settings(**more: Any) -> Any:
    return override_settings(AURORA_ROUTING={**CLUSTERS, **more})


def wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.005)


# -- one reader for one unit of work


def test_trap_36_a_scope_keeps_to_one_reader() -> None:
    chosen = set()
    for _ in range(60):
        with scope():
            served = {reads() for _ in range(5)}
            assert len(served) == 1
            chosen |= served
    assert chosen == READERS


def test_trap_36_a_reader_that_failed_is_replaced_for_the_rest_of_the_scope() -> None:
    try:
        with scope():
            first = reads()
            set_aside("default", first)
            assert {reads() for _ in range(5)} == READERS - {first}
        with scope():
            assert reads() in READERS - {first}
    finally:
        readers.forget_failures()


def test_round_robin_gives_each_scope_the_next_reader() -> None:
    with with_settings(READER_STRATEGY="round_robin"):
        served = []
        for _ in range(6):
            with scope():
                served.append(reads())
        assert served in (["reader1", "reader2"] * 3, ["reader2", "reader1"] * 3)


def test_weights_decide_how_often_a_reader_is_chosen() -> None:
    weighted = {"default": {"writer": "default", "readers": {"reader1": 9, "reader2": 1}}}
    with override_settings(AURORA_ROUTING={"CLUSTERS": weighted}):
        served = []
        for _ in range(400):
            with scope():
                served.append(reads())
    assert 310 <= served.count("reader1") <= 395  # five standard deviations around 360


def test_a_reader_without_weight_is_for_when_no_other_is_left() -> None:
    weighted = {"default": {"writer": "default", "readers": {"reader1": 1, "reader2": 0}}}
    try:
        with override_settings(AURORA_ROUTING={"CLUSTERS": weighted}):
            for _ in range(20):
                with scope():
                    assert reads() == "reader1"
            readers.set_aside("reader1")
            with scope():
                assert reads() == "reader2"
    finally:
        readers.forget_failures()


@pytest.mark.parametrize(
    ("given", "message"),
    [({"reader1": -1}, "0 or more"), ({"reader1": 0}, "at least one"), ({"reader1": "2"}, "not '2'")],
)
def test_weights_that_are_refused(given: dict[str, Any], message: str) -> None:
    wrong = {"default": {"writer": "default", "readers": given}}
    with override_settings(AURORA_ROUTING={"CLUSTERS": wrong}), pytest.raises(ImproperlyConfigured, match=message):
        reads()


def test_threads_have_scopes_of_their_own_and_tasks_that_of_their_parent() -> None:
    mine = current_scope()
    seen: list[object] = []
    thread = threading.Thread(target=lambda: seen.append(current_scope()))
    thread.start()
    thread.join()
    assert seen[0] is not mine

    async def main() -> None:
        assert current_scope() is mine
        assert await asyncio.create_task(asyncio.sleep(0, current_scope())) is mine
        assert await sync_to_async(current_scope)() is mine
        async with scope() as other:
            assert await sync_to_async(current_scope)() is other
            assert await asyncio.gather(*(sync_to_async(current_scope)() for _ in range(5))) == [other] * 5
        assert current_scope() is mine

    asyncio.run(main())


def test_a_scope_leaves_the_blocks_around_it_in_force() -> None:
    with in_database("external"), scope("inner"):
        assert reads() == "external"
        with in_database("reader1"):
            assert reads() == "reader1"
    assert reads() in READERS


# -- reading one's own writes


def test_after_a_write_a_scope_reads_from_the_writer_and_others_do_not() -> None:
    with scope():
        assert reads() in READERS
        Author.objects.create(name="new")
        note_write("default", connections["default"])
        assert names() == ["default", "new"]
        assert current_scope().is_pinned("default")
        with ThreadPoolExecutor(1) as pool:
            assert pool.submit(reads).result() in READERS
            pool.submit(connections.close_all).result()
    with scope():
        assert reads() in READERS


def test_the_window_ends() -> None:
    with with_settings(PIN_SECONDS=0.2), scope():
        began = time.monotonic()
        mark_written()
        assert reads() == "default"
        wait_until(lambda: reads() in READERS)
        assert time.monotonic() - began >= 0.2


def test_trap_29_the_window_starts_at_commit() -> None:
    with with_settings(PIN_SECONDS=0.3), scope():
        with transaction.atomic():
            note_write("default", connections["default"])
            time.sleep(0.4)
            assert reads() == "default"
        committed = time.time()
        assert current_scope().commits()["default"] == pytest.approx(committed, abs=0.2)
        assert reads() == "default"
        wait_until(lambda: reads() in READERS)


def test_what_was_rolled_back_does_not_pin() -> None:
    with scope():
        with pytest.raises(KeyError), transaction.atomic():
            note_write("default", connections["default"])
            raise KeyError
        assert reads() in READERS
        with transaction.atomic():
            pass  # nor does the next commit
        assert reads() in READERS


def test_on_commit_hooks_read_what_was_written_and_are_not_joined_by_ours() -> None:
    seen: list[str] = []
    with scope(), transaction.atomic():
        transaction.on_commit(lambda: seen.append(reads()))
        note_write("default", connections["default"])
        assert len(connections["default"].run_on_commit) == 1
    assert seen == ["default"]


def test_a_write_is_seen_after_set_autocommit_false() -> None:
    connections["default"].ensure_connection()
    with scope():
        transaction.set_autocommit(False)
        try:
            note_write("default", connections["default"])
            transaction.commit()
            assert "default" in current_scope().commits()
        finally:
            transaction.set_autocommit(True)
        assert reads() == "default"


def test_unpin_and_mark_written_name_a_cluster_that_exists() -> None:
    with scope():
        mark_written("default")
        assert reads() == "default"
        unpin("default")
        assert reads() in READERS
        with pytest.raises(ImproperlyConfigured, match="Did you mean 'default'"):
            mark_written("defualt")


def test_commits_are_handed_on_to_another_scope() -> None:
    with scope() as first:
        mark_written()
    with scope() as second:
        assert reads() in READERS
        second.adopt(first.commits())
        assert reads() == "default"
        assert second.commits() == pytest.approx(first.commits(), abs=0.05)
    with scope() as third:
        third.adopt({"default": time.time() + 3600})  # a clock ahead of ours
        assert third.commits()["default"] <= time.time()
        third.adopt({"default": time.time() - 3600})
        assert reads() == "default"


class Source:
    """Lags that a test sets."""

    def __init__(self) -> None:
        self.known: dict[str, float] = {}
        self.wanted = 0

    def lags(self, alias: str) -> tuple[Lag, ...]:
        return (Lag(alias, self.known[alias], time.monotonic()),) if alias in self.known else ()

    def request_newer(self, alias: str) -> None:
        self.wanted += 1


@pytest.fixture
def source() -> Iterator[Source]:
    source = Source()
    lag.add_source(source)
    yield source
    lag._sources.remove(source)


def test_trap_40_the_pin_ends_when_every_reader_has_caught_up(source: Source) -> None:
    with with_settings(PIN_POLICY="lag", PIN_SECONDS=30), scope():
        mark_written()
        source.known = {"reader1": 0.0}
        time.sleep(0.001)
        assert reads() == "default"
        assert source.wanted
        source.known = {"reader1": 0.0, "reader2": 10.0}
        assert reads() == "default"
        source.known = {"reader1": 0.0, "reader2": 0.0}
        time.sleep(0.001)
        assert reads() in READERS


def test_the_floor_and_the_cap_of_the_lag_policy(source: Source) -> None:
    source.known = {"reader1": 0.0, "reader2": 0.0}
    with with_settings(PIN_POLICY="lag", PIN_SECONDS=30, PIN_FLOOR_SECONDS=0.2), scope():
        mark_written()
        began = time.monotonic()
        assert reads() == "default"
        wait_until(lambda: reads() in READERS)
        assert time.monotonic() - began >= 0.2
    source.known = {"reader1": 60.0, "reader2": 60.0}
    with with_settings(PIN_POLICY="lag", PIN_SECONDS=0.2), scope():
        mark_written()
        assert reads() == "default"
        wait_until(lambda: reads() in READERS)


# -- readers that are too far behind, or not there


def test_max_lag_passes_over_readers_that_are_behind(source: Source) -> None:
    source.known = {"reader1": 5.0, "reader2": 0.0}
    with with_settings(MAX_LAG=1):
        for _ in range(20):
            with scope():
                assert reads() == "reader2"
    for _ in range(20):
        with scope(), in_reader(max_lag=1):
            assert reads() == "reader2"
    source.known = {"reader1": 5.0, "reader2": 5.0}
    with scope(), in_reader(max_lag=1):
        assert reads() == "default"
    with scope(), in_reader():
        assert reads() in READERS


def test_unknown_lag_is_too_much() -> None:
    with (
        with_settings(ON_NO_READER="error"),
        in_reader(max_lag=1),
        pytest.raises(NoReaderAvailable, match="within 1 s"),
    ):
        reads()


def test_trap_45_a_reader_that_cannot_be_connected_to_is_passed_over(databases: dict[str, Any], tmp_path: Any) -> None:
    for alias in READERS:
        connections[alias].close()
    try:
        connections["reader1"].settings_dict["NAME"] = str(tmp_path / "no" / "such" / "file")
        for _ in range(20):
            with scope():
                assert names() == ["reader2"]
        connections["reader2"].close()
        connections["reader2"].settings_dict["NAME"] = str(tmp_path / "no" / "such" / "file")
        with scope():
            assert names() == ["default"]
        with with_settings(ON_NO_READER="error"), scope(), pytest.raises(NoReaderAvailable, match="reader1, reader2"):
            names()
    finally:
        readers.forget_failures()


def test_a_reader_comes_back_by_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(readers, "ASIDE_SECONDS", 0.1)
    try:
        readers.set_aside("reader1")
        with scope():
            assert reads() == "reader2"

        def read_of_a_new_scope() -> str:
            with scope():
                return reads()

        wait_until(lambda: read_of_a_new_scope() == "reader1")
    finally:
        readers.forget_failures()


# -- in_writer, in_reader


def test_trap_23_in_writer_nests_and_ends() -> None:
    with in_writer():
        assert reads() == "default"
        with in_writer():
            assert reads() == "default"
        assert reads() == "default"
        with in_reader():
            assert reads() in READERS
        with in_database("external"):
            assert reads() == "external"
    assert reads() in READERS


def test_in_writer_goes_before_the_block_around_it() -> None:
    with in_database("external", write=True):
        with in_writer():
            assert (reads(), router.db_for_write(Author)) == ("default", "default")
        with in_reader():
            assert reads() in READERS
            assert router.db_for_write(Author) == "external"


def test_in_writer_decorates() -> None:
    @in_writer()
    def function() -> str:
        return reads()

    @in_reader()
    async def coroutine() -> str:
        return await sync_to_async(reads)()

    assert function() == "default"
    with in_writer():
        assert asyncio.run(coroutine()) in READERS


def test_in_reader_goes_before_pins_and_transactions() -> None:
    with scope(), transaction.atomic():
        mark_written()
        assert reads() == "default"
        with in_reader():
            assert reads() in READERS


def test_a_cluster_that_does_not_exist_is_refused_at_once() -> None:
    with pytest.raises(ImproperlyConfigured, match=r"no cluster 'defualt'\. Did you mean 'default'"):
        in_writer("defualt")


def test_in_writer_without_clusters_changes_nothing() -> None:
    with override_settings(AURORA_ROUTING={}), in_writer(), in_reader():
        assert reads() == "default"
        with pytest.raises(ImproperlyConfigured, match="There is no cluster 'analytics'"):
            in_writer("analytics")


# -- where reads always go


def test_trap_34_sessions_are_read_from_the_writer() -> None:
    assert router.db_for_read(Session) == "default"
    for label in ("routing_tests.Author", "routing_tests.author"):
        with with_settings(ALWAYS_WRITER=[label]):
            assert router.db_for_read(Session) in READERS
            assert reads() == "default"


def test_trap_16_a_lazy_queryset_that_a_decorated_function_returns_stays_on_its_database() -> None:
    @in_database("external")
    def authors() -> Any:
        return Author.objects.order_by("pk")

    found = authors()
    assert found._result_cache is None
    assert [author.name for author in found.filter(name__gt="")] == ["external"]

    @in_database("external")
    def evaluated() -> Any:
        found = authors()
        list(found)
        return found

    assert evaluated()._result_cache is not None


def test_migrating_reads_from_the_writer() -> None:
    seen: list[str] = []

    def look(**_: Any) -> None:
        seen.append(reads())

    pre_migrate.connect(look)
    try:
        call_command("migrate", database="default", verbosity=0)
    finally:
        pre_migrate.disconnect(look)
    assert set(seen) == {"default"}
    unpin()
    assert reads() in READERS


# -- requests


def test_every_request_has_a_scope_and_leaves_nothing_on_its_thread() -> None:
    outer = current_scope()
    seen = []
    for _ in range(3):
        request_started.send(sender=None)
        assert current_scope() is not outer
        assert current_scope().is_request
        seen.append(current_scope())
        assert reads() in READERS
        mark_written()
        assert reads() == "default"
    assert len(set(seen)) == 3
    request_finished.send(sender=None)
    assert current_scope() is outer
    assert reads() == "default"  # a test that made the request sees what it wrote
    unpin()


def test_trap_31_a_requests_own_transaction_does_not_send_its_reads_to_the_writer() -> None:
    connection = connections["default"]
    connection.settings_dict["ATOMIC_REQUESTS"] = True
    request_started.send(sender=None)
    with transaction.atomic():
        assert reads() in READERS
        with transaction.atomic():
            assert reads() == "default"
        assert reads() in READERS
        note_write("default", connection)
        assert reads() == "default"
    assert reads() == "default"
    unpin()
    with with_settings(READS_IN_ATOMIC="any"), transaction.atomic():
        assert reads() == "default"
    current_scope().non_atomic = frozenset({"default"})
    with transaction.atomic():
        assert reads() == "default"
    request_finished.send(sender=None)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"CLUSTER": {}}, "no 'CLUSTER'. Did you mean 'CLUSTERS'"),
        ({"PIN_POLICY": "windw"}, "Did you mean 'window'"),
        ({"PIN_SECONDS": "5"}, "a number of seconds"),
        ({"MAX_LAG": -1}, "0 or more"),
        ({"PIN_SECONDS": float("inf")}, "a number of seconds"),
        ({"pin_seconds": 5}, "Did you mean 'PIN_SECONDS'"),
        ({"ALWAYS_WRITER": "sessions"}, "must be a list"),
        ({"ALWAYS_WRITER": None}, "must be a list"),
        ({"PREVENT_WRITES_ON_READERS": "no"}, "True or False"),
        ([], "must be a dict"),
    ],
)
def test_settings_that_are_refused(given: Any, message: str) -> None:
    with override_settings(AURORA_ROUTING=given), pytest.raises(ImproperlyConfigured, match=message):
        routing_settings()
