"""Planned switchovers under load: none is seen in autocommit; on a reader alias a refused write stays an error."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

import pytest
from django.core.exceptions import ObjectDoesNotExist
from django.db import DatabaseError, OperationalError, connections, models
from django.db.models import F

from django_aurora_routing import FailoverError, FailoverSuccessError
from django_aurora_routing.lab import LocalCluster

from .conftest import Aliases
from .test_failover import execute

pytestmark = [pytest.mark.lab, pytest.mark.slow]
SWITCHOVERS = 8


class Account(models.Model):
    name = models.CharField(max_length=20)
    changes = models.IntegerField(default=0)

    class Meta:
        app_label = "switchover"
        db_table = "accounts"
        managed = False

    def __str__(self) -> str:
        return self.name


class Load:
    """Threads that do their work over and over until they are told to stop; what went wrong is kept."""

    def __init__(self) -> None:
        self.errors: list[BaseException] = []
        self.done: dict[str, int] = {}
        self._stop = threading.Event()
        self._threads: list[threading.Thread] = []

    def add(self, name: str, work: Callable[[int], Any]) -> None:
        def run() -> None:
            self.done[name] = 0
            try:
                while not self._stop.is_set():
                    work(self.done[name])
                    self.done[name] += 1
            except (DatabaseError, ObjectDoesNotExist, AssertionError, pytest.fail.Exception) as exc:
                self.errors.append(exc)
            finally:
                connections.close_all()

        self._threads.append(threading.Thread(target=run, name=name))

    def __enter__(self) -> Load:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join(60)

    def wait_for_more(self, count: int) -> None:
        """Return when each thread has done so much more."""
        wanted = {name: done + count for name, done in dict(self.done).items()}
        deadline = time.monotonic() + 30
        while not self.errors and time.monotonic() < deadline:
            if len(wanted) == len(self._threads) and all(self.done[name] >= wanted[name] for name in wanted):
                return
            time.sleep(0.01)
            wanted = wanted or {name: done + count for name, done in dict(self.done).items()}
        assert self.errors == []
        raise AssertionError(f"no progress: {self.done}, wanted {wanted}")


def test_a_planned_switchover_under_load_is_not_seen(cluster: LocalCluster, aliases: Aliases) -> None:
    cluster.writer.query("DROP TABLE IF EXISTS app.accounts")
    cluster.writer.query(
        "CREATE TABLE app.accounts (id BIGINT AUTO_INCREMENT PRIMARY KEY, name VARCHAR(20), changes INT NOT NULL)"
    )
    cluster.catch_up()
    writer, reader = aliases.add("w"), aliases.add("r", read_only=True)
    execute(writer, "SELECT 1")
    execute(reader, "SELECT 1")
    ours = Account.objects.using(writer)
    load = Load()
    counters = [ours.create(name="counter").pk for _ in range(3)]
    saved = ours.create(name="saved")

    def insert_and_read(number: int) -> None:
        made = ours.create(name=f"row {number}")
        assert ours.get(pk=made.pk).name == f"row {number}"

    def count(pk: int) -> Callable[[int], None]:
        def work(number: int) -> None:
            assert ours.filter(pk=pk).update(changes=F("changes") + 1) == 1
            assert ours.values_list("changes", flat=True).get(pk=pk) == number + 1

        return work

    def save(number: int) -> None:
        saved.changes = number + 1
        saved.save(using=writer)

    rolled_back: list[str] = []

    def make_a_pair(number: int) -> None:
        """In a block of the ORM's own, which is rolled back if the writer is demoted before its COMMIT."""
        while True:
            try:
                ours.bulk_create([Account(name=f"pair {number}"), Account(name=f"pair {number}")])
            except FailoverSuccessError as exc:
                rolled_back.append(str(exc))
            else:
                return

    def read(number: int) -> None:
        assert ours.filter(name="counter").count() == 3

    def try_to_write_on_a_reader(number: int) -> None:
        with pytest.raises(OperationalError) as refused:
            Account.objects.using(reader).create(name="refused")
        assert not isinstance(refused.value, FailoverError)
        assert refused.value.args[0] in (1290, 1792)

    load.add("insert", insert_and_read)
    for number, pk in enumerate(counters):
        load.add(f"count {number}", count(pk))
    load.add("save", save)
    load.add("read", read)
    load.add("pairs", make_a_pair)
    load.add("reader", try_to_write_on_a_reader)
    with load:
        load.wait_for_more(20)
        for _ in range(SWITCHOVERS):
            cluster.promote()
            load.wait_for_more(10)
    cluster.catch_up()
    print(load.done, rolled_back)
    assert load.errors == []
    found = dict(cluster.writer.query("SELECT name, COUNT(*) FROM app.accounts GROUP BY name"))
    expected = {f"row {number}" for number in range(load.done["insert"])}
    assert {name for name in found if name.startswith("row ")} == expected
    assert all(found[name] == 1 for name in expected)
    assert found["counter"] == 3
    assert "refused" not in found
    pairs = {name: count for name, count in found.items() if name.startswith("pair ")}
    assert pairs == {f"pair {number}": 2 for number in range(load.done["pairs"])}
    assert len(rolled_back) <= SWITCHOVERS
    for number, pk in enumerate(counters):
        ((changes,),) = cluster.writer.query("SELECT changes FROM app.accounts WHERE id = %s", [pk])
        assert changes == load.done[f"count {number}"]
