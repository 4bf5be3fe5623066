"""Connections that are kept move to a reader that has less than its share, and only where nobody notices."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.db import connections, transaction

from django_aurora_routing.lab import LocalCluster
from django_aurora_routing.lab.handles import Instance

from .conftest import Aliases
from .test_readers import Kept, server_of, wait_for
from .test_readers import kept as kept

pytestmark = pytest.mark.lab


@pytest.fixture(scope="module")
def growing() -> Iterator[LocalCluster]:
    """A cluster of one reader, to which another one comes."""
    with LocalCluster(readers=1) as made:
        yield made


def test_a_reader_that_is_added_gets_its_share(growing: LocalCluster, django_db_blocker: Any) -> None:
    aliases = Aliases(growing)
    with django_db_blocker.unblock():
        made = Kept(aliases.add("r", read_only=True, topology_refresh_ms=100), 4)
        pooled = Kept(aliases.add("p", read_only=True, pool=True, CONN_MAX_AGE=0), 4)
        try:
            (old,) = growing.readers
            assert made.wait_until(lambda found: set(found) == {old.id}) == {old.id: 4}
            assert pooled.servers() == {old.id: 4}
            new = growing.add_reader()
            assert made.wait_until(lambda found: found[new.id] == 2) == {old.id: 2, new.id: 2}
            pooled.close()
            assert pooled.servers() == {old.id: 2, new.id: 2}, "a pool has nothing to move: each use is a choice"
            generation = made.all[0].known_cluster().generation
            assert made.servers() == {old.id: 2, new.id: 2}
            assert made.all[0].known_cluster().generation == generation, "and then there is nothing to look at"
        finally:
            made.close()
            pooled.close()
            connections["p"].close_pool()
            aliases.remove_all()


@pytest.fixture
def crowded(cluster: LocalCluster, kept: Callable[..., Kept]) -> tuple[Kept, Instance, Instance]:
    """Two connections on one reader; the other one has been too far behind and is about to come back."""
    old, new = cluster.readers
    new.report(lag_ms=9000)
    made = kept(2, max_reader_lag_ms=1000)
    assert made.wait_until(lambda found: set(found) == {old.id}) == {old.id: 2}
    return made, old, new


def wait_for_a_grant(made: Kept, new: Instance) -> None:
    new.report()
    balance = made.all[0].known_cluster().balance
    wait_for(lambda: balance.is_moving)


def test_who_is_still_connecting_counts(
    cluster: LocalCluster, kept: Callable[..., Kept], caplog: pytest.LogCaptureFixture
) -> None:
    made = kept(4)
    used = server_of(made.all[0])
    (slow,) = (reader for reader in cluster.readers if reader.id != used)
    for connection in made.all:
        connection.inc_thread_sharing()
    slow.delay(0.2)
    caplog.set_level(logging.DEBUG, logger="django_aurora_routing.cluster.balance")
    threads = [threading.Thread(target=connection.ensure_connection) for connection in made.all[1:]]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert [record.getMessage() for record in caplog.records] == []
    slow.heal()
    assert made.servers() == {reader.id: 2 for reader in cluster.readers}


def test_a_transaction_is_left_alone(crowded: tuple[Kept, Instance, Instance]) -> None:
    made, old, new = crowded
    one, other = made.all
    connections["r"] = one
    with transaction.atomic(using="r"):
        assert server_of(one) == old.id
        wait_for_a_grant(made, new)
        assert [server_of(one) for _ in range(3)] == [old.id] * 3
    wait_for(lambda: new.id in (server_of(other), server_of(one)))
    assert made.servers() == {old.id: 1, new.id: 1}


def test_by_hand_too(crowded: tuple[Kept, Instance, Instance]) -> None:
    made, old, new = crowded
    one = made.all[0]
    one.set_autocommit(False)
    wait_for_a_grant(made, new)
    assert [server_of(one) for _ in range(3)] == [old.id] * 3
    one.rollback()
    one.set_autocommit(True)
    wait_for(lambda: server_of(one) == new.id)


def test_a_request_keeps_its_reader_and_moves_after_it(crowded: tuple[Kept, Instance, Instance]) -> None:
    made, old, new = crowded
    one = made.all[0]
    one.close_if_unusable_or_obsolete()  # as a request begins
    wait_for_a_grant(made, new)
    assert [server_of(one) for _ in range(3)] == [old.id] * 3
    wait_for(lambda: (one.close_if_unusable_or_obsolete(), server_of(one))[1] == new.id)


def test_so_does_the_first_request_of_a_thread(crowded: tuple[Kept, Instance, Instance]) -> None:
    """Its connection was not there yet as the request began, so nobody has told it of that."""
    made, old, new = crowded
    made.all.append(first := connections.create_connection("r"))
    assert server_of(first) == old.id
    wait_for_a_grant(made, new)
    assert [server_of(first) for _ in range(3)] == [old.id] * 3


def test_rows_that_are_being_read_are_not_lost(
    crowded: tuple[Kept, Instance, Instance], cluster: LocalCluster, table: str
) -> None:
    cluster.writer.query("INSERT INTO app.t SELECT seq, 'a' FROM seq_1_to_2000")
    cluster.catch_up()
    made, _, new = crowded
    one = made.all[0]
    with one.cursor() as cursor:
        cursor.execute("SELECT id FROM t ORDER BY id")
        first = cursor.fetchone()
        wait_for_a_grant(made, new)
        one.ensure_connection()
        assert [first, *cursor.fetchall()] == [(number,) for number in range(1, 2001)]
    wait_for(lambda: server_of(one) == new.id)
