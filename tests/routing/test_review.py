"""What a review of the routing found: reads that missed a write, pins without need, and readers kept for too long."""

from __future__ import annotations

import contextvars
import gc
import logging
import os
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from django.contrib.sessions.backends.db import SessionStore
from django.contrib.sessions.models import Session
from django.core.cache import caches
from django.core.management import call_command
from django.db import DatabaseError, OperationalError, connections, router, transaction
from django.test import override_settings

from django_aurora_routing.core.staleness import Lag
from django_aurora_routing.routers import ReadWriteRouter
from django_aurora_routing.routing import in_database, lag, readers
from django_aurora_routing.routing.blocks import in_reader
from django_aurora_routing.routing.scopes import Scope, current_scope, scope

from .conftest import BOTH_ROUTERS, CLUSTERS, names
from .models import Author

pytestmark = pytest.mark.usefixtures("both_routers")

READERS = {"reader1", "reader2"}


def reads() -> str:
    return router.db_for_read(Author)


def in_a_thread_of_this_scope(function: Callable[[], Any]) -> Any:
    result: list[Any] = []

    def run() -> None:
        try:
            result.append(function())
        finally:
            connections.close_all()

    thread = threading.Thread(target=contextvars.copy_context().run, args=[run])
    thread.start()
    thread.join()
    return result[0]


class ReadMeanwhile(dict[Any, Any]):
    """Has another thread of the scope read just before an item is set or taken."""

    def __setitem__(self, key: Any, value: Any) -> None:
        in_a_thread_of_this_scope(reads)
        super().__setitem__(key, value)

    def pop(self, *args: Any) -> Any:
        in_a_thread_of_this_scope(reads)
        return super().pop(*args)


def test_what_another_thread_of_the_scope_reads_meanwhile_does_not_undo_the_pin() -> None:
    with scope() as ours:
        ours._committed = ReadMeanwhile()
        Author.objects.create(name="new")
        assert reads() == "default"
    with scope() as ours:
        ours._committed = ReadMeanwhile()
        with transaction.atomic():
            Author.objects.create(name="other")
        assert reads() == "default"


def test_a_transaction_of_another_thread_does_not_end_ours() -> None:
    def elsewhere() -> None:
        with pytest.raises(KeyError), transaction.atomic():
            assert not Author.objects.filter(pk=0).delete()[0]
            with connections["default"].cursor() as cursor:
                cursor.execute("UPDATE routing_tests_author SET name = name WHERE id = 0")
            raise KeyError

    connections["default"].settings_dict["ATOMIC_REQUESTS"] = True
    with scope() as ours, transaction.atomic():
        ours.is_request = True
        mine = connections["default"]
        ours.wrote("default", mine)
        in_a_thread_of_this_scope(elsewhere)
        assert reads() == "default"


def test_a_transaction_that_ends_unseen_counts_as_committed() -> None:
    connection = connections["default"]
    with scope():
        transaction.set_autocommit(False)
        try:
            Author.objects.create(name="new")
            with connection.cursor() as cursor:
                cursor.execute("COMMIT")
        finally:
            transaction.set_autocommit(True)
        assert reads() == "default"
        assert "default" in current_scope().commits()


def test_a_commit_that_fails_counts_as_one(monkeypatch: pytest.MonkeyPatch) -> None:
    with scope():
        connection = connections["default"]
        with pytest.raises(OperationalError), transaction.atomic():
            Author.objects.create(name="new")

            def lost() -> None:
                type(connection)._commit(connection)
                raise OperationalError("the answer was lost")

            monkeypatch.setattr(connection, "_commit", lost)
        monkeypatch.undo()
        assert names() == ["default", "new"]


def test_one_transaction_with_many_scopes_keeps_none_of_them() -> None:
    """They were kept in a list until its end, which was looked through for each write."""
    kept = weakref.WeakSet[Scope]()
    with transaction.atomic():
        for _ in range(100):
            with scope() as ours:
                ours.wrote("default", connections["default"])
                kept.add(ours)
        gc.collect()
        assert len(kept) <= 1


class Source:
    def __init__(self) -> None:
        self.known: dict[str, float] = {}

    def lags(self, alias: str) -> tuple[Lag, ...]:
        return (Lag(alias, self.known[alias], time.monotonic()),) if alias in self.known else ()

    def request_newer(self, alias: str) -> None:
        pass


@pytest.fixture
def source() -> Iterator[Source]:
    source = Source()
    lag.add_source(source)
    yield source
    lag.remove_source(source)


def test_a_reader_that_falls_behind_during_a_scope_is_left(source: Source) -> None:
    source.known = dict.fromkeys(READERS, 0.0)
    with override_settings(AURORA_ROUTING={**CLUSTERS, "MAX_LAG": 1}), scope():
        first = reads()
        assert first in READERS
        source.known[first] = 5.0
        assert {reads()} == READERS - {first}
        source.known = dict.fromkeys(READERS, 5.0)
        assert reads() == "default"


def test_a_scope_whose_reader_fell_behind_keeps_to_the_next_one(source: Source) -> None:
    weights = {"reader1": 1, "reader2": 1, "external": 1}
    clusters = {"default": {"writer": "default", "readers": weights}}
    with override_settings(AURORA_ROUTING={"CLUSTERS": clusters, "MAX_LAG": 1}):
        for _ in range(5):
            source.known = dict.fromkeys(weights, 0.0)
            with scope():
                first = reads()
                source.known[first] = 5.0
                assert len({reads() for _ in range(20)}) == 1
        source.known = dict.fromkeys(weights, 0.0)
        with scope():
            first = reads()
            source.known[first] = 0.5
            with in_reader(max_lag=0.1):
                assert reads() != first
            assert reads() == first


# -- what ALWAYS_WRITER names


@pytest.fixture
def database_cache() -> Iterator[Any]:
    config = {"default": {"BACKEND": "django.core.cache.backends.db.DatabaseCache", "LOCATION": "cached"}}
    with override_settings(CACHES=config):
        yield caches["default"]


def test_the_cache_in_the_database_is_made_and_used(database_cache: Any) -> None:
    call_command("createcachetable")
    tables = {alias: connections[alias].introspection.table_names() for alias in ("default", "reader1")}
    assert "cached" in tables["default"]
    assert "cached" not in tables["reader1"]
    with scope():
        database_cache.set("key", 1)
        assert database_cache.get("key") == 1
        assert reads() in READERS


def test_the_cache_in_the_database_while_decisions_are_logged(database_cache: Any, caplog: Any) -> None:
    call_command("createcachetable")
    with caplog.at_level(logging.DEBUG, "django_aurora_routing.routing.decision"), scope():
        database_cache.set("key", 1)
        assert database_cache.get("key") == 1
        with in_database("default", write=True, models=[Author]):
            assert database_cache.get("key") == 1
        with in_database("external"), pytest.raises(DatabaseError, match="cached"):
            database_cache.get("key")
    assert "django_cache.CacheEntry" in caplog.text


def test_the_cache_in_the_database_with_apps_that_have_their_own(database_cache: Any) -> None:
    routers = [BOTH_ROUTERS[0], "django_aurora_routing.routers.AppLabelRouter", BOTH_ROUTERS[1]]
    with override_settings(
        DATABASE_ROUTERS=routers, AURORA_ROUTING={**CLUSTERS, "APP_LABELS": {"routing_tests": "external"}}
    ):
        call_command("createcachetable")
        database_cache.set("key", 1)
        assert database_cache.get("key") == 1


def test_what_is_always_read_from_the_writer_pins_nothing_else() -> None:
    with connections["default"].schema_editor() as editor:
        editor.create_model(Session)
    with scope():
        session = SessionStore()
        session["seen"] = 1
        session.save()
        assert SessionStore(session.session_key)["seen"] == 1
        session.save()
        session.delete()
        assert reads() in READERS


# -- scopes that live for long


def test_a_reader_that_dies_between_two_connections_is_left(tmp_path: Path) -> None:
    try:
        with scope():
            first = names()[0]
            connections[first].close()  # as close_old_connections() does
            connections[first].settings_dict["NAME"] = str(tmp_path / "no" / "such" / "file")
            other = (READERS - {first}).pop()
            assert names() == [other]
            connections[other].close()
            connections[other].settings_dict["NAME"] = str(tmp_path / "no" / "such" / "file")
            assert names() == ["default"]
    finally:
        readers.forget_failures()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork")
@pytest.mark.filterwarnings("ignore:This process.*is multi-threaded:DeprecationWarning")
def test_a_child_chooses_readers_although_a_thread_of_its_parent_was_about_to() -> None:
    with readers._lock:
        child = os.fork()
        if not child:
            alarm = threading.Timer(10, os._exit, [1])
            alarm.daemon = True
            alarm.start()
            try:
                readers.set_aside("reader1")
                os._exit(0)
            finally:
                os._exit(1)
    assert os.waitpid(child, 0)[1] == 0


def test_one_scope_object_in_several_threads_leaves_nothing() -> None:
    shared, first_is_in, second_is_in = scope("shared"), threading.Event(), threading.Event()
    left: list[Scope] = []

    def first() -> None:
        with shared:
            first_is_in.set()
            second_is_in.wait(10)
        left.append(current_scope())

    def second() -> None:
        first_is_in.wait(10)
        with shared as entered:
            assert current_scope() is entered
            second_is_in.set()
            thread.join(10)
        left.append(current_scope())

    thread = threading.Thread(target=first)
    thread.start()
    second()
    assert [one.name for one in left] == ["", "test"]


def test_a_writers_connection_that_took_the_place_of_another() -> None:
    with scope():
        assert reads() in READERS
        connections["default"].close()
        del connections["default"]  # as LiveServerTestCase and our own fixtures do
        with transaction.atomic():
            assert reads() == "default"


# -- several clusters


class OfA(ReadWriteRouter):
    cluster = "a"

    def db_for_read(self, model: Any, **hints: Any) -> str | None:
        return super().db_for_read(model, **hints) if tenant.get() == self.cluster else None

    def db_for_write(self, model: Any, **hints: Any) -> str | None:
        return super().db_for_write(model, **hints) if tenant.get() == self.cluster else None


class OfB(OfA):
    cluster = "b"


tenant = contextvars.ContextVar("tenant", default="a")


class OfTheTenant(ReadWriteRouter):
    @property
    def cluster(self) -> str:  # type: ignore[override]
        return tenant.get()


@pytest.mark.parametrize("routers", [["OfA", "OfB"], ["OfTheTenant"]])
def test_two_clusters_that_take_turns_with_a_model(routers: list[str]) -> None:
    clusters = {
        "a": {"writer": "default", "readers": ["reader1"]},
        "b": {"writer": "external", "readers": ["reader2"]},
    }
    routers = [BOTH_ROUTERS[0], *(f"{__name__}.{name}" for name in routers)]
    with override_settings(DATABASE_ROUTERS=routers, AURORA_ROUTING={"CLUSTERS": clusters}), scope():
        for _ in range(2):
            for name, reader in (("a", "reader1"), ("b", "reader2")):
                token = tenant.set(name)
                assert names() == [reader]
                tenant.reset(token)
