"""retry_on_failover on real servers that die at each moment of a transaction."""

from __future__ import annotations

import logging
import threading
import time
import uuid
from typing import Any

import pytest
from asgiref.sync import async_to_sync, sync_to_async
from django.core.exceptions import ImproperlyConfigured
from django.db import IntegrityError, OperationalError, connections, transaction

from django_aurora_routing import FailoverSuccessError, TransactionResolutionUnknownError, retry_on_failover
from django_aurora_routing.lab import LocalCluster
from django_aurora_routing.retries import tokens
from tests.backends.conftest import Aliases

from .conftest import TOKEN, Faults, execute, kill_and_promote, once_after, rows

pytestmark = pytest.mark.lab
BOTH = pytest.mark.parametrize("exactly_once", [False, True])


class Work:
    """Two inserts and a hook. Does what it is told at a chosen step of its first run."""

    def __init__(self, alias: str) -> None:
        self.alias = alias
        self.runs = 0
        self.hooks: list[int] = []
        self.acts: dict[int, Any] = {}

    def __call__(self, first: int = 1) -> int:
        self.runs += 1
        run = self.runs
        transaction.on_commit(lambda: self.hooks.append(run), using=self.alias)
        for step in range(3):
            if act := self.acts.pop(step, None):
                act()
            if step < 2:
                execute(self.alias, "INSERT INTO t (id) VALUES (%s)", [first + step])
        return run

    def is_clean(self) -> bool:
        c = connections[self.alias]
        return (c.in_atomic_block, c.needs_rollback, c.autocommit, c.run_on_commit) == (False, False, True, [])


@pytest.fixture
def work(writer: str) -> Work:
    return Work(writer)


def tokens_left(cluster: LocalCluster) -> list[int]:
    return sorted(claim for (claim,) in cluster.writer.query(f"SELECT is_claim FROM app.{tokens.TABLE}"))


@BOTH
def test_without_a_failover_it_runs_once(cluster: LocalCluster, work: Work, exactly_once: bool) -> None:
    assert retry_on_failover(work.alias, exactly_once=exactly_once)(work)() == 1
    assert rows(cluster) == [1, 2]
    assert work.hooks == [1]
    assert tokens_left(cluster) == [0] * exactly_once


@BOTH
@pytest.mark.parametrize("step", [1, 2], ids=["between", "before COMMIT"])
def test_what_a_kill_has_rolled_back_is_run_again(
    cluster: LocalCluster, work: Work, step: int, exactly_once: bool
) -> None:
    work.acts[step] = lambda: kill_and_promote(cluster)
    assert retry_on_failover(work.alias, exactly_once=exactly_once)(work)() == 2
    assert rows(cluster) == [1, 2]
    assert work.hooks == [2]
    assert work.is_clean()


@BOTH
def test_a_kill_before_anything_was_done_is_not_seen(cluster: LocalCluster, work: Work, exactly_once: bool) -> None:
    work.acts[0] = lambda: kill_and_promote(cluster)
    assert retry_on_failover(work.alias, exactly_once=exactly_once)(work)() == 1
    assert rows(cluster) == [1, 2]
    assert work.hooks == [1]
    assert work.is_clean()


def test_a_loss_that_the_function_swallows_is_met_again(cluster: LocalCluster, work: Work) -> None:
    @retry_on_failover(work.alias)
    def swallowing() -> int:
        try:
            return work()
        except OperationalError:
            return 0

    work.acts[1] = lambda: kill_and_promote(cluster)
    assert swallowing() == 2
    assert rows(cluster) == [1, 2]


def test_a_demotion_is_a_failover_too(cluster: LocalCluster, work: Work) -> None:
    work.acts[1] = cluster.promote
    assert retry_on_failover(work.alias)(work)() == 2
    assert rows(cluster) == [1, 2]


def test_attempts_are_counted(cluster: LocalCluster, work: Work) -> None:
    def dying() -> None:
        work.acts[1] = lambda: (kill_and_promote(cluster), old.revive())
        old = cluster.writer
        work()

    with pytest.raises(FailoverSuccessError):
        retry_on_failover(work.alias, attempts=2)(dying)()
    assert work.runs == 2
    assert rows(cluster) == []
    assert work.hooks == []
    assert work.is_clean()


@pytest.mark.parametrize("fault", ["lose_commit", "lose_answer", "lose_answer_only"])
def test_without_exactly_once_a_lost_commit_is_unknown(
    cluster: LocalCluster, work: Work, faults: Faults, fault: str
) -> None:
    work.acts[2] = getattr(faults, fault)
    with pytest.raises(TransactionResolutionUnknownError):
        retry_on_failover(work.alias)(work)()
    faults.join()
    assert rows(cluster) == ([] if fault == "lose_commit" else [1, 2])
    assert work.runs == 1
    assert work.hooks == []


@pytest.mark.parametrize("fault", ["lose_answer", "lose_answer_only"])
def test_a_commit_whose_answer_was_lost_is_found(
    cluster: LocalCluster, work: Work, faults: Faults, fault: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    with once_after(work.alias, TOKEN, getattr(faults, fault)):
        assert retry_on_failover(work.alias, exactly_once=True)(work)() == 1
    assert "a COMMIT whose answer was lost has taken place" in caplog.text
    assert work.runs == 1
    assert work.hooks == [1], "of the run that was committed"
    assert rows(cluster) == [1, 2]
    assert tokens_left(cluster) == [0]
    assert work.is_clean()


def test_a_commit_that_never_arrived_is_run_again(cluster: LocalCluster, work: Work, faults: Faults) -> None:
    with once_after(work.alias, TOKEN, faults.lose_commit):
        assert retry_on_failover(work.alias, exactly_once=True)(work)() == 2
    assert work.hooks == [2]
    assert rows(cluster) == [1, 2]
    assert tokens_left(cluster) == [0, 1]
    assert work.is_clean()


def test_a_commit_that_never_arrived_in_the_last_attempt_is_known_to_be_rolled_back(
    cluster: LocalCluster, work: Work, faults: Faults
) -> None:
    with once_after(work.alias, TOKEN, faults.lose_commit), pytest.raises(FailoverSuccessError, match="not happened"):
        retry_on_failover(work.alias, attempts=1, exactly_once=True)(work)()
    assert rows(cluster) == []
    assert work.hooks == []


@pytest.mark.parametrize("claim", ["black_hole", "lose_answers"], ids=["claim lost", "claim's answer lost"])
@pytest.mark.parametrize("fault", ["lose_commit", "lose_answer"])
def test_a_second_failover_while_asking_changes_nothing(
    cluster: LocalCluster, work: Work, faults: Faults, fault: str, claim: str
) -> None:
    """Asking again tells a claim of our own from a commit, whichever of the two has found the key taken."""

    def before_claim() -> None:
        faults.join()
        getattr(cluster.writer, claim)()
        faults.in_background(lambda: (time.sleep(0.3), kill_and_promote(cluster)))

    turns = iter([lambda: None, before_claim])

    def watch(run: Any, sql: str, *args: Any) -> Any:
        if sql.startswith(TOKEN):
            next(turns, lambda: None)()
        return run(sql, *args)

    expected = 2 if fault == "lose_commit" else 1
    with once_after(work.alias, TOKEN, getattr(faults, fault)), connections[work.alias].execute_wrapper(watch):
        assert retry_on_failover(work.alias, exactly_once=True)(work)() == expected
    assert next(turns, None) is None, "nothing was asked"
    assert rows(cluster) == [1, 2]
    assert work.hooks == [expected]


def test_when_nobody_can_be_asked_it_stays_unknown(cluster: LocalCluster, work: Work, faults: Faults) -> None:
    connections[work.alias].settings_dict["OPTIONS"]["failover_timeout_sec"] = 2

    def end_of_all() -> None:
        cluster.writer.black_hole()
        faults.in_background(lambda: [instance.kill() for instance in cluster.instances])

    connections[work.alias].close()
    with (
        once_after(work.alias, TOKEN, end_of_all),
        pytest.raises(TransactionResolutionUnknownError, match="Nor could it be looked up"),
    ):
        retry_on_failover(work.alias, exactly_once=True)(work)()
    assert work.hooks == []


def test_what_is_unknown_of_another_database_is_not_asked_here(
    cluster: LocalCluster, work: Work, aliases: Aliases, faults: Faults
) -> None:
    def elsewhere() -> None:
        faults.in_background(lambda: (time.sleep(0.3), kill_and_promote(cluster)))
        execute(other, "INSERT INTO t SELECT 50, SLEEP(2)")

    other = aliases.add("other")
    work.acts[2] = elsewhere
    with pytest.raises(TransactionResolutionUnknownError, match="'other'"):
        retry_on_failover(work.alias, exactly_once=True)(work)()
    faults.join()
    assert work.runs == 1
    assert tokens_left(cluster) == []
    assert work.is_clean()


def test_other_errors_are_not_repeated(cluster: LocalCluster, work: Work) -> None:
    @retry_on_failover(work.alias, exactly_once=True)
    def twice() -> None:
        work()
        work()

    with pytest.raises(IntegrityError):
        twice()
    assert work.runs == 2
    assert rows(cluster) == []
    assert work.is_clean()


def test_inside_another_transaction_it_is_that_ones_to_run_again(cluster: LocalCluster, work: Work) -> None:
    inner = retry_on_failover(work.alias)(work)
    work.acts[1] = lambda: kill_and_promote(cluster)
    with pytest.raises(FailoverSuccessError), transaction.atomic(using=work.alias):
        inner()
    assert work.runs == 1
    work.acts[1] = lambda: kill_and_promote(cluster)
    cluster.heal()
    assert retry_on_failover(work.alias)(lambda: inner())() == 3
    assert rows(cluster) == [1, 2]


def test_the_table_is_missed_with_a_clear_error(cluster: LocalCluster, work: Work) -> None:
    execute(work.alias, f"DROP TABLE {tokens.TABLE}")
    with pytest.raises(ImproperlyConfigured, match="migrate aurora_routing --database w"):
        retry_on_failover(work.alias, exactly_once=True)(work)()
    assert rows(cluster) == []


def test_an_asynchronous_function_is_run_again(cluster: LocalCluster, work: Work) -> None:
    @retry_on_failover(work.alias, exactly_once=True)
    async def awork() -> int:
        try:
            return await sync_to_async(work)()
        finally:
            assert await sync_to_async(lambda: connections[work.alias].in_atomic_block)()

    work.acts[1] = lambda: kill_and_promote(cluster)
    assert async_to_sync(awork)() == 2
    assert rows(cluster) == [1, 2]
    assert work.hooks == [2]


# -- tokens


def test_a_token_that_was_claimed_can_never_be_committed(writer: str) -> None:
    token = uuid.uuid4().hex
    assert tokens.is_committed(connections[writer], token, 1) is False
    assert tokens.is_committed(connections[writer], token, 1) is False, "a claim is told from a commit"
    with pytest.raises(IntegrityError), transaction.atomic(using=writer):
        tokens.write(connections[writer], token)


@pytest.mark.parametrize("end", ["COMMIT", "ROLLBACK"])
def test_who_asks_waits_for_a_transaction_that_is_still_open(
    cluster: LocalCluster, writer: str, aliases: Aliases, end: str
) -> None:
    token = uuid.uuid4().hex
    transaction.set_autocommit(False, using=writer)
    tokens.write(connections[writer], token)
    answers: list[bool] = []

    def ask() -> None:
        try:
            answers.append(tokens.is_committed(connections[other], token, 1))
        finally:
            connections[other].close()

    other = aliases.add("other")
    thread = threading.Thread(target=ask)
    thread.start()
    thread.join(0.7)
    assert answers == []
    (connections[writer].commit if end == "COMMIT" else connections[writer].rollback)()
    thread.join(20)
    assert answers == [end == "COMMIT"]
    transaction.set_autocommit(True, using=writer)


def test_old_tokens_are_removed_now_and_then(
    cluster: LocalCluster, work: Work, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tokens, "BATCH", 3)
    old = int(time.time()) - tokens.KEEP_SECONDS - 1
    for number in range(5):
        execute(work.alias, f"INSERT INTO {tokens.TABLE} VALUES (%s, %s, 0)", [str(number), old])
    run = retry_on_failover(work.alias, exactly_once=True)(work)
    left = []
    for number in range(3):
        run(number * 10)
        left.append(len(tokens_left(cluster)))
    assert left == [5 - 3 + 1, 0 + 2, 3]
    execute(work.alias, f"INSERT INTO {tokens.TABLE} VALUES ('x', %s, 0)", [old])
    run(100)
    assert len(tokens_left(cluster)) == 5, "not again so soon"
