"""A bank under random faults: each transfer that was acknowledged is there once, and none is there twice or by half."""

from __future__ import annotations

import random
import threading
import time
import uuid
from collections import Counter

import pytest
from django.db import connections

from django_aurora_routing import FailoverSuccessError, TransactionResolutionUnknownError, retry_on_failover
from django_aurora_routing.lab import LocalCluster

from .conftest import execute

pytestmark = [pytest.mark.lab, pytest.mark.slow]
THREADS, BALANCE = 4, 1000


class Bank:
    """Threads that transfer between two accounts, and what they were told of each transfer.

    Each has a pair of its own: while one waits for another's row, MariaDB cannot be made read-only, so nor promoted.
    """

    def __init__(self, cluster: LocalCluster, alias: str, *, exactly_once: bool) -> None:
        self.cluster, self.alias = cluster, alias
        self.transfer = retry_on_failover(alias, exactly_once=exactly_once)(self._transfer)
        self.acknowledged: set[str] = set()
        self.failed: set[str] = set()
        self.unknown: set[str] = set()
        self.surprises: list[BaseException] = []
        self.runs = 0
        self._stop = threading.Event()
        writer = cluster.writer
        for sql in (
            "CREATE OR REPLACE TABLE app.account (id INT PRIMARY KEY, balance INT NOT NULL)",
            "CREATE OR REPLACE TABLE app.transfer (id BIGINT AUTO_INCREMENT PRIMARY KEY, name CHAR(32))",
            f"INSERT INTO app.account VALUES {', '.join(f'({n}, {BALANCE})' for n in range(2 * THREADS))}",
        ):
            writer.query(sql)
        cluster.catch_up()

    def _transfer(self, name: str, amounts: dict[int, int]) -> str:
        self.runs += 1
        for account, amount in amounts.items():
            execute(self.alias, "UPDATE account SET balance = balance + %s WHERE id = %s", [amount, account])
        execute(self.alias, "INSERT INTO transfer (name) VALUES (%s)", [name])
        return name

    def _work(self, number: int) -> None:
        try:
            while not self._stop.is_set():
                name = uuid.uuid4().hex
                try:
                    assert self.transfer(name, {2 * number: 1, 2 * number + 1: -1}) == name
                    self.acknowledged.add(name)
                except FailoverSuccessError:
                    self.failed.add(name)
                except TransactionResolutionUnknownError:
                    self.unknown.add(name)
        except Exception as exc:
            self.surprises.append(exc)
            raise
        finally:
            connections[self.alias].close()

    def open_while(self, rounds: int, rng: random.Random) -> None:
        threads = [threading.Thread(target=self._work, args=[number]) for number in range(THREADS)]
        for thread in threads:
            thread.start()
        try:
            for _ in range(rounds):
                self._hit(rng)
        finally:
            self._stop.set()
            for thread in threads:
                thread.join(60)
        assert not any(thread.is_alive() for thread in threads)

    def _hit(self, rng: random.Random) -> None:
        """One fault at a random moment, then wait until there is work done again."""
        old = self.cluster.writer
        time.sleep(rng.uniform(0.0, 0.3))
        fault = rng.choice(["kill", "black_hole", "lose_answers", "lose_answers", "reset", "switch over"])
        if fault == "reset":
            old.lose_answers()
            time.sleep(rng.uniform(0.0, 0.1))
            old.reset()
            old.heal()
        elif fault == "switch over":
            self.cluster.promote()
        else:
            if fault != "kill":
                getattr(old, fault)()
                time.sleep(rng.uniform(0.0, 0.2))
            old.kill()
            self.cluster.promote()
        count, deadline = len(self.acknowledged), time.monotonic() + 30
        while len(self.acknowledged) < count + 5 and not self.surprises and time.monotonic() < deadline:
            time.sleep(0.01)
        old.heal()
        if fault not in ("reset", "switch over"):
            old.revive()


@pytest.mark.parametrize(("exactly_once", "rounds"), [(True, 30), (False, 15)])
def test_random_faults_lose_and_double_no_transfer(
    cluster: LocalCluster, writer: str, exactly_once: bool, rounds: int
) -> None:
    execute(writer, "SELECT 1")
    bank = Bank(cluster, writer, exactly_once=exactly_once)
    seed = random.randrange(1_000_000)
    bank.open_while(rounds, random.Random(seed))
    stored = Counter(name for (name,) in cluster.writer.query("SELECT name FROM app.transfer"))
    ((total,),) = cluster.writer.query("SELECT SUM(balance) FROM app.account")
    print(
        f"seed {seed}: {len(bank.acknowledged)} acknowledged, {len(bank.failed)} failed, {len(bank.unknown)} unknown, "
        f"{bank.runs} runs"
    )
    assert bank.surprises == []
    assert total == 2 * THREADS * BALANCE
    assert set(stored.values()) == {1}, "doubled"
    assert bank.acknowledged - set(stored) == set(), "lost"
    assert bank.failed & set(stored) == set(), "was said not to have happened"
    assert set(stored) <= bank.acknowledged | bank.unknown
    assert len(bank.acknowledged) > 5 * rounds
    if exactly_once:
        assert bank.unknown == set()
    else:
        assert bank.unknown != set(), "these faults hit no COMMIT, so they show nothing of exactly_once either"
