"""Interruptions: an exception that a signal handler raises (Ctrl-C, a task's time limit) in the middle of our work."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from django.db import OperationalError, transaction

from django_aurora_routing import FailoverError, FailoverSuccessError
from django_aurora_routing.lab import LocalCluster, LocalServer

from .conftest import Aliases
from .test_failover import execute, insert, is_clean, rows, writer  # noqa: F401


class TimeLimit(Exception):
    """What Celery and others raise in the middle of a task that takes too long."""


@contextmanager
def time_limit(seconds: float) -> Iterator[None]:
    def expired(*args: Any) -> None:
        raise TimeLimit

    before = signal.signal(signal.SIGALRM, expired)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def test_an_interrupted_failover_does_not_let_the_block_be_commited_by_halves(
    cluster: LocalCluster,
    writer: str,  # noqa: F811
) -> None:
    with pytest.raises(FailoverError), transaction.atomic(using=writer):
        insert(writer, 1)
        cluster.writer.kill()
        with pytest.raises(TimeLimit), time_limit(0.5):
            insert(writer, 2)
        cluster.promote()
        with pytest.raises(FailoverError):
            insert(writer, 3)
    assert is_clean(writer)
    assert rows(cluster) == []


def test_an_interrupted_failover_leaves_the_block_at_once(cluster: LocalCluster, writer: str) -> None:  # noqa: F811
    began = time.monotonic()
    with pytest.raises(TimeLimit), time_limit(0.5), transaction.atomic(using=writer):
        cluster.writer.kill()
        insert(writer, 1)
    assert time.monotonic() - began < 5
    assert is_clean(writer)


@pytest.mark.parametrize("statement", ["SELECT SLEEP(1), 'late'", "DO SLEEP(1)"])
def test_the_answer_to_an_interrupted_statement_is_not_taken_for_that_to_the_next(
    writer: str,  # noqa: F811
    statement: str,
) -> None:
    with pytest.raises(TimeLimit), time_limit(0.3):
        execute(writer, statement)
    assert execute(writer, "SELECT 1, 'right'") == [(1, "right")]
    assert execute(writer, "SELECT 2, 'right'") == [(2, "right")]


def test_a_block_whose_answers_are_out_of_step_is_rolled_back_as_a_whole(
    cluster: LocalCluster,
    writer: str,  # noqa: F811
) -> None:
    with pytest.raises(FailoverSuccessError), transaction.atomic(using=writer):
        insert(writer, 1)
        with pytest.raises(TimeLimit), time_limit(0.3):
            execute(writer, "SELECT SLEEP(1)")
        with pytest.raises(FailoverSuccessError):
            insert(writer, 2)
    assert is_clean(writer)
    assert rows(cluster) == []
    insert(writer, 3)
    assert rows(cluster) == [3]


def test_an_interrupted_statement_on_a_single_server(server: LocalServer, aliases: Aliases) -> None:
    alias = aliases.add("s", host=server.host, port=server.port, cluster_id=..., cluster_instance_host_pattern=...)
    with pytest.raises(TimeLimit), time_limit(0.3):
        execute(alias, "SELECT SLEEP(1), 'late'")
    assert execute(alias, "SELECT 1, 'right'") == [(1, "right")]


def test_an_error_found_before_anything_was_sent_keeps_the_connection(
    cluster: LocalCluster,
    writer: str,  # noqa: F811
) -> None:
    (ident,) = execute(writer, "SELECT CONNECTION_ID()")[0]
    for _ in range(2):
        with pytest.raises(UnicodeEncodeError):
            execute(writer, "SELECT %s", ["\ud800"])
        with pytest.raises(OperationalError):
            execute(writer, "SELECT nothing")
    assert execute(writer, "SELECT CONNECTION_ID()") == [(ident,)]
