"""Accounts and the table of tokens on a real cluster, and faults that come at a chosen moment."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.core.management import call_command
from django.db import connections
from django.test import override_settings

from django_aurora_routing.lab import LocalCluster
from django_aurora_routing.retries import tokens
from tests.backends.conftest import Aliases
from tests.backends.conftest import aliases as aliases

TOKEN = f"INSERT INTO {tokens.TABLE}"


def execute(alias: str, sql: str, params: list[Any] | None = None) -> list[tuple[Any, ...]]:
    with connections[alias].cursor() as cursor:
        cursor.execute(sql, params)
        return list(cursor.fetchall()) if cursor.description else []


def rows(cluster: LocalCluster) -> list[int]:
    return [key for (key,) in cluster.writer.query("SELECT id FROM app.t ORDER BY id")]


def kill_and_promote(cluster: LocalCluster) -> None:
    cluster.writer.kill()
    cluster.promote()


@contextlib.contextmanager
def once_after(alias: str, beginning: str, act: Callable[[], object]) -> Iterator[None]:
    """Do something right after the first statement that begins so."""
    done: list[object] = []

    def watch(run: Callable[..., Any], sql: str, params: Any, many: bool, context: dict[str, Any]) -> Any:
        result = run(sql, params, many, context)
        if sql.startswith(beginning) and not done:
            done.append(None)
            act()
        return result

    with connections[alias].execute_wrapper(watch):
        yield


class Faults:
    """What happens to a COMMIT, begun right before it is sent."""

    def __init__(self, cluster: LocalCluster) -> None:
        self.cluster = cluster
        self._threads: list[threading.Thread] = []

    def lose_commit(self) -> None:
        """COMMIT does not reach the writer, which dies."""
        self.cluster.writer.black_hole()
        self.in_background(lambda: (time.sleep(0.3), kill_and_promote(self.cluster)))

    def lose_answer(self) -> None:
        """The writer commits, and dies before the answer has reached the client."""
        self._after_commit(lambda: kill_and_promote(self.cluster))

    def lose_answer_only(self) -> None:
        """The same, and the writer lives on; the client's connection does not."""
        writer = self.cluster.writer
        self._after_commit(lambda: (writer.reset(), writer.heal()))

    def _after_commit(self, act: Callable[[], object]) -> None:
        writer = self.cluster.writer
        count = len(rows(self.cluster))
        writer.lose_answers()

        def wait() -> None:
            deadline = time.monotonic() + 20
            while len(rows(self.cluster)) == count and time.monotonic() < deadline:
                time.sleep(0.01)
            act()

        self.in_background(wait)

    def in_background(self, act: Callable[[], object]) -> None:
        thread = threading.Thread(target=act)
        self._threads.append(thread)
        thread.start()

    def join(self) -> None:
        while self._threads:
            self._threads.pop().join()


@pytest.fixture
def faults(cluster: LocalCluster) -> Iterator[Faults]:
    made = Faults(cluster)
    yield made
    made.join()


@pytest.fixture
def writer(cluster: LocalCluster, aliases: Aliases) -> Iterator[str]:
    """An alias on the cluster's writer, with an empty table `t` and, by its migration, the table of tokens."""
    cluster.writer.query("DROP TABLE IF EXISTS app.t")
    cluster.writer.query("CREATE TABLE app.t (id INT PRIMARY KEY, v INT NOT NULL DEFAULT 0)")
    alias = aliases.add("w")
    with override_settings(DATABASE_ROUTERS=[]):
        call_command("migrate", "aurora_routing", database=alias, verbosity=0, skip_checks=True)
    cluster.catch_up()
    tokens._pruned_at.clear()
    yield alias
    cluster.heal()
    cluster.writer.query(f"DROP TABLE IF EXISTS app.t, app.{tokens.TABLE}, app.django_migrations")
