"""Faults of machines and of the wire, as a client meets them."""

import os
import signal
import time
from collections.abc import Callable

import mysql.connector
import pytest

from django_aurora_routing.lab import LabError, LocalCluster, LocalServer
from tests.lab.clients import ask, connected, who_answers

pytestmark = pytest.mark.lab

# -1 is mysql.connector's own: its ping has failed.
LOST = {-1, 2006, 2013, 2055}


def failure(connection: object, sql: str = "SELECT 1") -> int:
    with pytest.raises(mysql.connector.Error) as caught:
        ask(connection, sql)
    return int(caught.value.errno)


def failure_to_connect(cluster: LocalCluster, host: str, **options: object) -> tuple[int, str, float]:
    started = time.monotonic()
    with pytest.raises(mysql.connector.Error) as caught, connected(cluster, host, **options):
        pass
    return int(caught.value.errno), str(caught.value), time.monotonic() - started


def test_kill_resets_the_connections_and_the_address_refuses(cluster: LocalCluster) -> None:
    writer = cluster.writer
    pid = writer.pid
    assert pid is not None
    with connected(cluster, writer.host) as connection:
        writer.kill()

        assert failure(connection) in LOST
    for host in (writer.host, cluster.writer_endpoint.host):
        errno, message, seconds = failure_to_connect(cluster, host)
        assert errno == 2003
        assert "refused" in message
        assert seconds < 1
    assert (writer.state, writer.role, writer.pid) == ("dead", "writer", None)
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


def test_a_server_killed_from_outside_is_dead_too(cluster: LocalCluster) -> None:
    reader = cluster.readers[0]
    pid = reader.pid
    assert pid is not None

    os.kill(pid, signal.SIGKILL)

    deadline = time.monotonic() + 5
    while reader.state != "dead":
        assert time.monotonic() < deadline
        time.sleep(0.01)
    assert failure_to_connect(cluster, reader.host)[0] == 2003


def test_freeze_is_silence_and_thaw_ends_it(cluster: LocalCluster) -> None:
    writer = cluster.writer
    with connected(cluster, writer.host, read_timeout=1) as connection:
        writer.freeze()
        assert writer.state == "frozen"
        started = time.monotonic()
        failure(connection)
        assert 0.9 < time.monotonic() - started < 3
        _, _, seconds = failure_to_connect(cluster, writer.host, connection_timeout=1)
        assert 0.9 < seconds < 3, "the kernel takes the connection, and nobody greets"

        writer.thaw()

    assert who_answers(cluster, writer.host) == writer.id
    with connected(cluster, writer.host) as connection:
        ask(connection, "CREATE TABLE IF NOT EXISTS thawed (id INT)")


def test_a_connection_survives_a_freeze(cluster: LocalCluster) -> None:
    reader = cluster.readers[0]
    with connected(cluster, reader.host) as connection:
        reader.freeze()
        reader.thaw()

        assert ask(connection, "SELECT @@aurora_server_id") == [(reader.id,)]


def test_the_cluster_takes_writes_without_its_readers(cluster: LocalCluster) -> None:
    """Aurora acknowledges by its storage, not by its readers: neither dead nor frozen ones hold the writer up."""
    cluster.writer.query("CREATE OR REPLACE TABLE alone (id INT)")
    dead, frozen = cluster.readers
    with connected(cluster, cluster.writer.host, read_timeout=3) as connection:
        dead.kill()
        frozen.freeze()
        ask(connection, "INSERT INTO alone VALUES (1)")
    cluster.heal()

    assert [reader.query("SELECT id FROM alone") for reader in cluster.readers] == [[(1,)], [(1,)]]


def test_a_dead_reader_comes_back_with_what_it_missed(cluster: LocalCluster) -> None:
    cluster.writer.query("CREATE OR REPLACE TABLE missed (id INT)")
    reader = cluster.readers[0]
    reader.kill()
    cluster.writer.query("INSERT INTO missed VALUES (7)")

    reader.revive()

    assert (reader.state, reader.role) == ("running", "reader")
    assert reader.query("SELECT id FROM missed") == [(7,)]
    assert who_answers(cluster, reader.host) == reader.id


def test_a_dead_writer_that_nobody_replaced_comes_back_as_the_writer(cluster: LocalCluster) -> None:
    cluster.writer.query("CREATE OR REPLACE TABLE restarted (id INT)")
    writer = cluster.writer
    with connected(cluster, writer.host) as connection:
        ask(connection, "INSERT INTO restarted VALUES (1)")
    writer.kill()

    writer.revive()

    assert (writer.state, writer.role) == ("running", "writer")
    with connected(cluster, cluster.writer_endpoint.host) as connection:
        ask(connection, "INSERT INTO restarted VALUES (2)")
        assert ask(connection, "SELECT id FROM restarted ORDER BY id") == [(1,), (2,)]
    cluster.catch_up()
    assert [len(reader.query("SELECT id FROM restarted")) for reader in cluster.readers] == [2, 2]


def test_refuse_spares_those_inside(cluster: LocalCluster) -> None:
    reader = cluster.readers[0]
    with connected(cluster, reader.host) as connection:
        reader.refuse()

        assert failure_to_connect(cluster, reader.host)[0] == 2003
        assert ask(connection, "SELECT 1") == [(1,)]
        assert reader.state == "running"

    reader.heal()
    assert who_answers(cluster, reader.host) == reader.id


def test_reset_spares_the_newcomers(cluster: LocalCluster) -> None:
    writer = cluster.writer
    with connected(cluster, writer.host) as connection:
        writer.reset()

        assert failure(connection) in LOST
    assert who_answers(cluster, writer.host) == writer.id


def test_a_black_hole_swallows_and_gives_back(cluster: LocalCluster) -> None:
    writer = cluster.writer
    with connected(cluster, writer.host, read_timeout=1) as silent, connected(cluster, writer.host) as patient:
        writer.black_hole()
        started = time.monotonic()
        failure(silent)
        assert time.monotonic() - started > 0.9
        for host in (writer.host, cluster.writer_endpoint.host):
            errno, _, seconds = failure_to_connect(cluster, host, connection_timeout=1)
            assert errno == 2003
            assert 0.9 < seconds < 3

        writer.heal()

        assert ask(patient, "SELECT 1") == [(1,)]
    assert who_answers(cluster, writer.host) == writer.id


def test_a_statement_whose_answer_is_lost_is_done(cluster: LocalCluster) -> None:
    writer = cluster.writer
    writer.query("CREATE OR REPLACE TABLE app.unanswered (id INT)")
    with connected(cluster, writer.host, read_timeout=1, autocommit=True) as connection:
        cursor = connection.cursor()  # which pings
        writer.lose_answers()
        with pytest.raises(mysql.connector.Error):
            cursor.execute("INSERT INTO app.unanswered VALUES (1)")
    writer.heal()
    assert writer.query("SELECT id FROM app.unanswered") == [(1,)]
    assert who_answers(cluster, writer.host) == writer.id


def test_delay_lengthens_each_way(cluster: LocalCluster) -> None:
    writer = cluster.writer
    with connected(cluster, writer.host) as connection:
        writer.delay(0.2)
        started = time.monotonic()
        ask(connection, "SELECT 1")
        assert 0.2 <= time.monotonic() - started < 0.6

        writer.heal()

        ask(connection, "SELECT 1")
        started = time.monotonic()
        ask(connection, "SELECT 1")
        assert time.monotonic() - started < 0.15


def test_delayed_replication_shows_in_reads_and_in_the_topology(cluster: LocalCluster) -> None:
    cluster.writer.query("CREATE OR REPLACE TABLE late (id INT)")
    cluster.catch_up()
    reader, other = cluster.readers
    reader.delay_replication(30)
    cluster.writer.query("INSERT INTO late VALUES (1)")

    wait_for(lambda: lag_of(cluster, reader.id) > 1500)
    wait_for(lambda: lag_of(cluster, other.id) < 1000)
    assert reader.query("SELECT id FROM late") == []
    time.sleep(1.0)
    assert lag_of(cluster, reader.id) > 2000
    wait_for(lambda: lag_of(cluster, other.id) < 1000)

    reader.delay_replication(0)
    wait_for(lambda: lag_of(cluster, reader.id) < 1000)
    assert reader.query("SELECT id FROM late") == [(1,)]


def lag_of(cluster: LocalCluster, reader: str) -> float:
    question = "SELECT REPLICA_LAG_IN_MILLISECONDS FROM information_schema.replica_host_status WHERE SERVER_ID = %s"
    with connected(cluster, cluster.writer.host) as connection:
        return float(ask(connection, question, (reader,))[0][0])


def wait_for(is_so: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20
    while not is_so():
        assert time.monotonic() < deadline
        time.sleep(0.01)


@pytest.mark.parametrize("is_killed", [True, False], ids=["dead", "demoted"])
def test_a_held_endpoint_leads_to_the_old_writer(cluster: LocalCluster, is_killed: bool) -> None:
    old, endpoint = cluster.writer, cluster.writer_endpoint.host
    cluster.hold_endpoint()
    if is_killed:
        old.kill()
    cluster.promote()

    if is_killed:
        assert failure_to_connect(cluster, endpoint)[0] == 2003
    else:
        assert who_answers(cluster, endpoint) == old.id

    cluster.release_endpoint()
    assert who_answers(cluster, endpoint) == cluster.writer.id != old.id
    cluster.hold_endpoint()
    cluster.heal()
    cluster.promote()
    assert who_answers(cluster, endpoint) == cluster.writer.id


def test_a_reader_that_is_added_has_everything(cluster: LocalCluster) -> None:
    with LocalCluster(readers=0) as small:
        small.writer.query("CREATE TABLE t (id INT)")
        small.writer.query("INSERT INTO t VALUES (1)")

        added = small.add_reader()

        assert (added.id, added.role, added.query("SELECT id FROM t")) == ("12", "reader", [(1,)])
        assert who_answers(small, small.reader_endpoint.host) == "12"


def test_the_single_server_has_the_same_faults(server: LocalServer) -> None:
    with connected(server, server.host) as connection:
        ask(connection, "CREATE TABLE IF NOT EXISTS t (id INT)")
        server.server.kill()
        assert failure(connection) in LOST

    server.server.revive()

    with connected(server, server.host) as connection:
        assert ask(connection, "SHOW TABLES LIKE 't'") == [("t",)]
        ask(connection, "INSERT INTO t VALUES (1)")
    with pytest.raises(LabError, match="single server"):
        server.ask("promote", instance_id=None)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (lambda cluster: cluster.instance("99"), r"No instance '99'; there are 11, 12, 13"),
        (lambda cluster: cluster.writer.revive(), r"is running, not dead"),
        (lambda cluster: cluster.writer.thaw(), r"is running, not frozen"),
        (lambda cluster: cluster.promote(cluster.writer), r"is the writer already"),
        (lambda cluster: cluster.writer.delay_replication(1), r"only a reader can lag"),
        (lambda cluster: cluster.readers[0].delay_replication(-1), r"A delay is 0 seconds or more, not -1"),
        (lambda cluster: cluster.writer.delay(-0.5), r"A delay is 0 seconds or more, not -0\.5"),
    ],
)
def test_what_cannot_be_done_is_said(cluster: LocalCluster, wrong: object, message: str) -> None:
    with pytest.raises(LabError, match=message):
        wrong(cluster)  # type: ignore[operator]


def test_no_promotion_without_a_running_reader(cluster: LocalCluster) -> None:
    for reader in cluster.readers:
        reader.kill()
    cluster.writer.kill()

    with pytest.raises(LabError, match="No reader is running"):
        cluster.promote()
