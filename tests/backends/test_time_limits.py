"""A `read_timeout` of the application's own that runs out: no server is taken for dead by it, and no row is doubled."""

from __future__ import annotations

import threading
import time

import pytest
from django.db import DatabaseError, OperationalError, connections, transaction

from django_aurora_routing import (
    FailoverError,
    FailoverSuccessError,
    TransactionResolutionUnknownError,
    retry_on_failover,
)
from django_aurora_routing.lab import LocalCluster

from .conftest import Aliases
from .test_failover import execute, insert, is_clean, promotion_after, rows, within
from .test_placement import server_of

pytestmark = pytest.mark.lab
# No SLEEP() in the statement itself, which counts as an effect.
SLOW_FUNCTION = (
    "CREATE OR REPLACE FUNCTION app.slowly(seconds DOUBLE) RETURNS INT NO SQL SQL SECURITY INVOKER "
    "BEGIN DO SLEEP(seconds); RETURN 1; END"
)


def slow_read(seconds: float) -> str:
    """A plain read that takes so long, on a database with SLOW_FUNCTION."""
    return f"SELECT slowly({seconds})"


SLOW_READ = slow_read(2)


@pytest.fixture
def limited(cluster: LocalCluster, aliases: Aliases, table: str) -> str:
    cluster.writer.query(SLOW_FUNCTION)
    cluster.catch_up()
    alias = aliases.add("w", read_timeout=1)
    execute(alias, "SELECT 1")
    return alias


def test_a_write_is_unknown_and_made_once(cluster: LocalCluster, limited: str) -> None:
    generation = connections[limited].known_cluster().generation
    with pytest.raises(TransactionResolutionUnknownError):
        execute(limited, "INSERT INTO t SELECT 1, SLEEP(2)")
    insert(limited, 2)
    deadline = time.monotonic() + 20
    while rows(cluster) != [1, 2] and time.monotonic() < deadline:
        time.sleep(0.05)
    assert rows(cluster) == [1, 2]
    assert connections[limited].known_cluster().generation == generation, "nothing has moved"


def test_a_read_is_not_made_again_on_a_living_server(cluster: LocalCluster, limited: str) -> None:
    began = time.monotonic()
    with pytest.raises(OperationalError) as slow:
        execute(limited, SLOW_READ)
    assert time.monotonic() - began < 5, "six reads would take six seconds"
    assert not isinstance(slow.value, FailoverError)
    assert isinstance(slow.value.__cause__, connections[limited].driver_errors)
    assert server_of(limited) == cluster.writer.id


def test_a_block_is_lost_as_a_whole_and_not_run_again(cluster: LocalCluster, limited: str) -> None:
    runs = []

    @retry_on_failover(limited)
    def work() -> None:
        runs.append(1)
        insert(limited, 1)
        execute(limited, SLOW_READ)

    with pytest.raises(OperationalError) as slow:
        work()
    assert not isinstance(slow.value, FailoverError)
    assert len(runs) == 1
    assert is_clean(limited)
    assert rows(cluster) == []


def test_a_block_that_swallows_it_fails_all_the_same(cluster: LocalCluster, limited: str) -> None:
    with pytest.raises(FailoverSuccessError), transaction.atomic(using=limited):
        insert(limited, 1)
        with pytest.raises(DatabaseError):
            execute(limited, SLOW_READ)
        with pytest.raises(FailoverSuccessError):
            insert(limited, 2)
    assert is_clean(limited)
    assert rows(cluster) == []


def test_a_commit_is_unknown(cluster: LocalCluster, limited: str) -> None:
    old = cluster.writer
    healer = threading.Timer(2, old.heal)
    with pytest.raises(TransactionResolutionUnknownError), transaction.atomic(using=limited):
        insert(limited, 1)
        old.black_hole()
        healer.start()
    healer.join()
    assert is_clean(limited)
    insert(limited, 2)
    assert 2 in rows(cluster)


@pytest.mark.parametrize("in_block", [False, True], ids=["autocommit", "atomic"])
def test_where_the_server_is_dead_indeed_it_is_a_failover(
    cluster: LocalCluster, aliases: Aliases, table: str, in_block: bool
) -> None:
    """Without host monitoring such a limit is the only thing that ends the wait for a frozen server."""
    alias = aliases.add("w", read_timeout=1, failure_detection_enabled=False)

    def work() -> None:
        execute(alias, "SELECT 1")
        cluster.writer.freeze()
        with promotion_after(cluster, 1.5):
            assert execute(alias, "SELECT COUNT(*) FROM t") == [(0,)]
            assert server_of(alias) == cluster.writer.id

    def work_in_a_block() -> None:
        with transaction.atomic(using=alias):
            insert(alias, 1)
            cluster.writer.freeze()
            with promotion_after(cluster, 1.5):
                execute(alias, "SELECT COUNT(*) FROM t")

    error = within(40, work_in_a_block if in_block else work)
    assert isinstance(error, FailoverSuccessError) if in_block else error is None
    assert rows(cluster) == []
