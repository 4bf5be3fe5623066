"""Random transactions with a loss at a random moment: what was asked for is there as a whole, or not at all."""

from __future__ import annotations

import contextlib
import random
import threading
from collections.abc import Callable
from typing import Any

import pytest
from django.db import DatabaseError, connections, models, transaction

from django_aurora_routing import FailoverError, FailoverFailedError, TransactionResolutionUnknownError
from django_aurora_routing.lab import LocalCluster

from .conftest import Aliases
from .test_failover import execute, insert, is_clean, kill_and_promote
from .test_placement import server_of

pytestmark = pytest.mark.lab


class Row(models.Model):
    id = models.IntegerField(primary_key=True)
    v = models.CharField(max_length=50)

    class Meta:
        app_label = "all_or_nothing"
        db_table = "t"
        managed = False

    def __str__(self) -> str:
        return self.v


class Boom(Exception):
    """The application's own error."""


class Program:
    """One transaction of random steps, and what should come of it if it is committed."""

    def __init__(self, alias: str, cluster: LocalCluster, seed: int) -> None:
        self.rng = random.Random(seed)
        self.alias = alias
        self.cluster = cluster
        self.first = self.key = seed * 1000
        self.kept: list[int] = []  # the rows that are there if it is committed
        self.hooks: list[int] = []
        self.ran: list[int] = []
        self.log: list[str] = []
        self.swallowed = False  # a loss
        self.is_doomed = False  # by a block without a savepoint that has failed
        self.asked_for_rollback = False
        self.by_hand = self.rng.random() < 0.2
        self.countdown = self.rng.randrange(1, 14)
        self.timer: threading.Timer | None = None

    # -- the loss

    def reset(self) -> None:
        self.cluster.writer.reset()

    def reset_in_a_statement(self) -> None:
        self.timer = threading.Timer(0.05, self.cluster.writer.reset)
        self.timer.start()
        key = self.next_key()
        execute(self.alias, "INSERT INTO t SELECT %s, SLEEP(0.3)", [key])
        self.kept.append(key)

    def kill(self) -> None:
        kill_and_promote(self.cluster)

    def demote(self) -> None:
        self.cluster.promote()

    def lose_at_commit(self) -> None:
        writer, fault = self.cluster.writer, self.rng.choice(["black_hole", "lose_answers"])
        self.log.append(f"{fault} at COMMIT")
        getattr(writer, fault)()
        self.timer = threading.Timer(0.15, lambda: (writer.reset(), writer.heal()))
        self.timer.start()

    def maybe_lose(self) -> None:
        self.countdown -= 1
        if self.countdown == 0:
            names = ["reset", "reset_in_a_statement", "kill", "demote"]
            (name,) = self.rng.choices(names, weights=[8, 4, 1, 1])
            self.log.append(name)
            getattr(self, name)()

    # -- steps

    def next_key(self) -> int:
        self.key += 1
        return self.key

    def insert(self) -> None:
        key = self.next_key()
        insert(self.alias, key)
        self.kept.append(key)

    def insert_by_the_cursor_kept(self) -> None:
        key = self.next_key()
        self.cursor.execute("INSERT INTO t VALUES (%s, 'a')", [key])
        self.kept.append(key)

    def create(self) -> None:
        key = self.next_key()
        Row.objects.using(self.alias).create(id=key, v="a")
        self.kept.append(key)

    def bulk_create(self) -> None:
        keys = [self.next_key(), self.next_key(), self.next_key()]
        Row.objects.using(self.alias).bulk_create([Row(id=key, v="a") for key in keys], batch_size=2)
        self.kept += keys

    def executemany(self) -> None:
        keys = [self.next_key(), self.next_key()]
        with connections[self.alias].cursor() as cursor:
            cursor.executemany("INSERT INTO t (id, v) SELECT %s, 'a'", [[key] for key in keys])
        self.kept += keys

    def delete(self) -> None:
        if self.kept:
            key = self.rng.choice(self.kept)
            Row.objects.using(self.alias).filter(id=key).delete()
            self.kept.remove(key)

    def read(self) -> None:
        rows = list(Row.objects.using(self.alias).filter(id__gt=self.first, id__lt=self.first + 999))
        assert sorted(row.id for row in rows) == sorted(self.kept)

    def lock(self) -> None:
        list(Row.objects.using(self.alias).select_for_update().filter(id__in=self.kept))

    def hook(self) -> None:
        number = self.next_key()
        robust = self.rng.random() < 0.5
        transaction.on_commit(lambda: self.ran.append(number), using=self.alias, robust=robust)
        self.hooks.append(number)

    def nested(self, depth: int) -> None:
        savepoint = self.rng.random() < 0.6
        before = list(self.kept), list(self.hooks)
        was_doomed, is_over = self.is_doomed, False
        try:
            with transaction.atomic(using=self.alias, savepoint=savepoint):
                self.steps(depth + 1)
                if self.rng.random() < 0.3:
                    self.log.append("boom")
                    raise Boom
            is_over = True
        finally:
            if savepoint and not was_doomed:
                if self.is_doomed or not is_over:  # back to the savepoint, and all is well again
                    self.kept, self.hooks = before
                    self.is_doomed = False
            elif not is_over:
                self.is_doomed = True

    def savepoint_by_hand(self, depth: int) -> None:
        kept = list(self.kept)
        sid = connections[self.alias].savepoint()
        try:
            self.steps(depth + 1)
        finally:
            if self.rng.random() < 0.5:
                transaction.savepoint_rollback(sid, using=self.alias)
                self.kept = kept
            elif self.rng.random() < 0.5:
                transaction.savepoint_commit(sid, using=self.alias)
            else:
                transaction.clean_savepoints(using=self.alias)

    # -- running

    def steps(self, depth: int = 0) -> None:
        for _ in range(self.rng.randrange(1, 5)):
            self.step(depth)

    def step(self, depth: int) -> None:
        simple = [self.insert, self.insert_by_the_cursor_kept, self.create, self.bulk_create, self.executemany]
        simple += [self.read, self.lock, self.hook, self.delete]
        names: list[Callable[[], Any]] = [*simple]
        if depth < 3:
            names += [lambda: self.nested(depth)] * 4 + [lambda: self.savepoint_by_hand(depth)] * 2
        chosen = self.rng.choice(names)
        self.log.append(f"{depth}:{getattr(chosen, '__name__', '')}")
        try:
            self.maybe_lose()
            chosen()
        except (DatabaseError, Boom) as exc:
            self.log.append(f"  {type(exc).__name__}")
            if self.rng.random() < 0.4:
                raise
            self.log.append("  swallowed")
            if isinstance(exc, FailoverError):
                self.swallowed = True
                self.after_a_loss()

    def after_a_loss(self) -> None:
        """What an application may do that thinks it knows better."""
        connection = connections[self.alias]
        chosen = self.rng.choice(["nothing", "set_rollback(False)", "close", "is_usable", "rollback"])
        self.log.append(f"  {chosen}")
        if chosen == "set_rollback(False)":
            transaction.set_rollback(False, using=self.alias)
        elif chosen == "close":
            connection.close()
        elif chosen == "is_usable":
            connection.is_usable()
        elif chosen == "rollback":
            with contextlib.suppress(DatabaseError):
                transaction.rollback(using=self.alias)  # forbidden inside of atomic()

    def run(self) -> BaseException | None:
        self.cursor = connections[self.alias].cursor()
        try:
            if self.by_hand:
                self.work_by_hand()
            else:
                with transaction.atomic(using=self.alias, durable=self.rng.random() < 0.5):
                    self.work()
        except (DatabaseError, Boom) as exc:
            return exc
        finally:
            if self.timer is not None:
                self.timer.join()
        return None

    def work(self) -> None:
        self.steps()
        self.steps()
        if self.countdown > 0 and self.rng.random() < 0.3:
            self.lose_at_commit()
        if self.rng.random() < 0.1:
            self.log.append("set_rollback(True)")
            transaction.set_rollback(True, using=self.alias)
            self.asked_for_rollback = True

    def work_by_hand(self) -> None:
        self.log.append("by hand")
        transaction.set_autocommit(False, using=self.alias)
        try:
            with transaction.atomic(using=self.alias):  # which begins with a savepoint here, and commits nothing
                self.steps()
            if self.is_doomed:
                self.kept, self.hooks, self.is_doomed = [], [], False
            self.insert()
            transaction.commit(using=self.alias)
        except BaseException:
            transaction.rollback(using=self.alias)
            raise
        finally:
            transaction.set_autocommit(True, using=self.alias)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(1, 6))
def test_a_transaction_is_there_as_a_whole_or_not_at_all(
    cluster: LocalCluster, aliases: Aliases, table: str, seed: int
) -> None:
    alias = aliases.add("w")
    outcomes: dict[str, int] = {}
    for number in range(seed * 100, seed * 100 + 50):
        program = Program(alias, cluster, number)
        error = program.run()
        where = f"seed {number}, {error!r}, " + "\n".join(program.log)
        outcomes[type(error).__name__] = outcomes.get(type(error).__name__, 0) + 1
        assert is_clean(alias), where
        insert(alias, program.first + 999)
        assert server_of(alias) == cluster.writer.id, where
        found = cluster.writer.query(
            "SELECT id FROM app.t WHERE id BETWEEN %s AND %s ORDER BY id", [program.first, program.first + 998]
        )
        there = [key for (key,) in found]
        if error is None and not program.is_doomed and not program.asked_for_rollback:
            assert not program.swallowed, where
            assert there == sorted(program.kept), where
            assert program.ran == program.hooks, where
        elif isinstance(error, TransactionResolutionUnknownError):
            assert there in ([], sorted(program.kept)), where
        else:
            assert not isinstance(error, FailoverFailedError), where
            assert there == [], where
            assert program.ran == [], where
        if any("kill" in line or "demote" in line for line in program.log):
            cluster.heal()
    print(outcomes)
