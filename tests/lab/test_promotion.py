"""A promotion loses no row that a client was told is there, whatever happened to the old writer."""

import time

import mysql.connector
import pytest

from django_aurora_routing.lab import LocalCluster
from tests.lab.clients import WriteLoad, ask, connected

pytestmark = pytest.mark.lab


def nothing_lost(cluster: LocalCluster, load: WriteLoad) -> None:
    assert load.surprises == []
    assert load.missing_and_doubled() == (set(), set())
    cluster.heal()
    counts = {
        instance.query("SELECT COUNT(*), COUNT(DISTINCT token) FROM acknowledged")[0] for instance in cluster.instances
    }
    assert len(counts) == 1, counts


@pytest.mark.slow
def test_planned_switches_under_load(cluster: LocalCluster) -> None:
    with WriteLoad(cluster) as load:
        for _ in range(6):
            load.wait_for_more()
            promotion = cluster.promote()
            assert cluster.writer.id == promotion.new
            assert cluster.instance(promotion.old).role == "reader"
        load.wait_for_more()

    nothing_lost(cluster, load)
    assert {error.errno for error in load.errors} <= {1290}, "nobody is disconnected by a planned switch"


@pytest.mark.slow
def test_kills_under_load(cluster: LocalCluster) -> None:
    with WriteLoad(cluster) as load:
        for _ in range(6):
            load.wait_for_more()
            old = cluster.writer
            old.kill()
            promotion = cluster.promote()
            assert promotion.started <= promotion.writable <= promotion.finished
            assert promotion.seconds < 5
            load.wait_for_more()
            old.revive()

    nothing_lost(cluster, load)


def test_what_nobody_was_told_of_is_gone_with_the_old_writer(cluster: LocalCluster) -> None:
    """The old writer's log has a transaction that no reader received; it comes back without it."""
    cluster.writer.query("CREATE OR REPLACE TABLE untold (id INT)")
    cluster.catch_up()
    old = cluster.writer
    for reader in cluster.readers:
        reader.query("STOP SLAVE IO_THREAD")
    with connected(cluster, old.host, read_timeout=1) as connection, pytest.raises(mysql.connector.Error):
        ask(connection, "INSERT INTO untold VALUES (1)")  # waits for a reader's acknowledgement
    old.kill()
    cluster.promote()

    old.revive()

    with connected(cluster, cluster.writer_endpoint.host) as connection:
        ask(connection, "INSERT INTO untold VALUES (2)")
    cluster.catch_up()
    assert [instance.query("SELECT id FROM untold") for instance in cluster.instances] == [[(2,)]] * 3


@pytest.mark.slow
def test_a_chosen_reader_gets_what_only_the_other_has(cluster: LocalCluster) -> None:
    """Semi-sync promises that one reader has a row, not which: the promoted one must fetch it from there."""
    cluster.writer.query("CREATE OR REPLACE TABLE fetched (id INT)")
    cluster.catch_up()
    behind, ahead = cluster.readers
    behind.query("STOP SLAVE")
    with connected(cluster, cluster.writer.host) as connection:
        for number in range(50):
            ask(connection, "INSERT INTO fetched VALUES (%s)", (number,))
    cluster.writer.kill()

    cluster.promote(behind)

    assert cluster.writer == behind
    assert behind.query("SELECT COUNT(*) FROM fetched") == [(50,)]
    assert ahead.role == "reader"


@pytest.mark.slow
def test_a_reader_and_the_writer_die_one_after_the_other_under_load(cluster: LocalCluster) -> None:
    with WriteLoad(cluster) as load:
        for order in ("reader first", "writer first"):
            load.wait_for_more()
            writer, reader = cluster.writer, cluster.readers[0]
            first, second = (reader, writer) if order == "reader first" else (writer, reader)
            first.kill()
            second.kill()
            cluster.promote()
            load.wait_for_more()
            cluster.heal()

    nothing_lost(cluster, load)


@pytest.mark.slow
def test_a_frozen_writer_is_fenced(cluster: LocalCluster) -> None:
    cluster.writer.query("CREATE OR REPLACE TABLE fenced (id INT)")
    old = cluster.writer
    with connected(cluster, old.host, read_timeout=1) as connection:
        old.freeze()
        with pytest.raises(mysql.connector.Error):
            ask(connection, "INSERT INTO fenced VALUES (1)")  # it waits in the frozen server's socket
        promotion = cluster.promote()
        assert (old.state, old.role) == ("frozen", "reader")
        assert promotion.old == old.id

        old.thaw()

    assert (old.state, old.role) == ("running", "reader")
    cluster.catch_up()
    assert [instance.query("SELECT id FROM fenced") for instance in cluster.instances] == [[], [], []]
    with connected(cluster, old.host) as connection, pytest.raises(mysql.connector.Error) as caught:
        ask(connection, "INSERT INTO fenced VALUES (2)")
    assert caught.value.errno == 1290


def test_clients_of_a_fenced_writer_hear_nothing_until_it_is_thawed(cluster: LocalCluster) -> None:
    old = cluster.writer
    with connected(cluster, old.host, read_timeout=1) as connection, connected(cluster, old.host) as waiting:
        old.freeze()
        cluster.promote()
        started = time.monotonic()
        with pytest.raises(mysql.connector.Error):
            ask(connection, "SELECT 1")
        assert time.monotonic() - started > 0.9
        with pytest.raises(mysql.connector.Error), connected(cluster, old.host, connection_timeout=1):
            pass

        old.thaw()

        started = time.monotonic()
        with pytest.raises(mysql.connector.Error):
            ask(waiting, "SELECT 1")
        assert time.monotonic() - started < 0.5


def test_freezes_under_load(cluster: LocalCluster) -> None:
    with WriteLoad(cluster, threads=2) as load:
        load.wait_for_more()
        old = cluster.writer
        old.freeze()
        cluster.promote()
        old.thaw()  # resets those who waited for it
        load.wait_for_more()

    nothing_lost(cluster, load)


@pytest.mark.slow
def test_a_reader_frozen_across_a_promotion_follows_the_new_writer(cluster: LocalCluster) -> None:
    with WriteLoad(cluster) as load:
        load.wait_for_more()
        sleeper = cluster.readers[0]
        sleeper.freeze()
        load.wait_for_more()
        cluster.writer.kill()
        cluster.promote()
        load.wait_for_more()
        sleeper.thaw()
        load.wait_for_more()

    nothing_lost(cluster, load)


def test_clients_of_the_old_writer_stay_and_hear_1290(cluster: LocalCluster) -> None:
    cluster.writer.query("CREATE TABLE IF NOT EXISTS stayed (id INT)")
    old = cluster.writer
    with connected(cluster, old.host) as connection:
        cluster.promote()

        assert ask(connection, "SELECT @@aurora_server_id, @@innodb_read_only") == [(old.id, 1)]
        with pytest.raises(mysql.connector.Error) as caught:
            ask(connection, "INSERT INTO stayed VALUES (1)")

    assert caught.value.errno == 1290


def test_an_open_transaction_does_not_outlive_the_switch(cluster: LocalCluster) -> None:
    cluster.writer.query("CREATE OR REPLACE TABLE unfinished (id INT)")
    with connected(cluster, cluster.writer.host) as connection:
        ask(connection, "BEGIN")
        ask(connection, "INSERT INTO unfinished VALUES (1)")
        cluster.promote()

        with pytest.raises(mysql.connector.Error) as caught:
            ask(connection, "COMMIT")

    assert caught.value.errno == 1290
    cluster.catch_up()
    assert [instance.query("SELECT id FROM unfinished") for instance in cluster.instances] == [[], [], []]


def test_schema_changes_and_large_rows_are_promoted_too(cluster: LocalCluster) -> None:
    cluster.writer.query("CREATE OR REPLACE TABLE promoted (id INT PRIMARY KEY AUTO_INCREMENT, body LONGTEXT)")
    cluster.writer.query("INSERT INTO promoted (body) VALUES (REPEAT('x', 5000000))")
    old = cluster.writer
    old.kill()

    cluster.promote()
    old.revive()

    assert [i.query("SELECT LENGTH(body) FROM promoted") for i in cluster.instances] == [[(5000000,)]] * 3
