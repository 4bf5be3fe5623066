"""What the lab's instances and endpoints tell a client that believes it talks to Aurora MySQL."""

import datetime
import itertools
import threading
import time

import mysql.connector
import pytest

from django_aurora_routing.lab import LocalCluster, LocalServer
from django_aurora_routing.lab.kinds.aurora import AURORA_VERSION
from tests.lab.clients import ask, connected, hang_up, who_answers
from tests.lab.clients import connect as open_connection

pytestmark = pytest.mark.lab


def test_an_instance_says_who_it_is(cluster: LocalCluster) -> None:
    for instance in cluster.instances:
        with connected(cluster, instance.host) as connection:
            answer = ask(connection, "SELECT @@aurora_version, @@aurora_server_id, @@innodb_read_only")

        assert answer == [(AURORA_VERSION, instance.id, int(instance.role == "reader"))]


def test_the_columns_are_named_as_aurora_names_them(cluster: LocalCluster) -> None:
    with connected(cluster, cluster.writer.host) as connection:
        cursor = connection.cursor()
        cursor.execute("SELECT @@aurora_version, @@aurora_server_id, @@innodb_read_only")
        cursor.fetchall()
        names = cursor.column_names
        cursor.close()

    assert names == ("@@aurora_version", "@@aurora_server_id", "@@innodb_read_only")


@pytest.mark.parametrize(
    ("question", "answer"),
    [
        ("SHOW VARIABLES LIKE 'aurora_version'", [("aurora_version", AURORA_VERSION)]),
        ("SHOW GLOBAL VARIABLES WHERE Variable_name = 'aurora_version'", [("aurora_version", AURORA_VERSION)]),
        ("SHOW VARIABLES LIKE 'innodb_read_only'", [("innodb_read_only", "OFF")]),
        (
            "SHOW VARIABLES WHERE Variable_name IN ('aurora_version', 'character_set_server')",
            [("aurora_version", AURORA_VERSION), ("character_set_server", "utf8mb4")],
        ),
    ],
)
def test_show_variables(cluster: LocalCluster, question: str, answer: list[tuple[str, str]]) -> None:
    with connected(cluster, cluster.writer.host) as connection:
        assert ask(connection, question) == answer


def test_the_topology_is_the_same_on_every_instance(cluster: LocalCluster) -> None:
    expected = {instance.id: instance.role == "writer" for instance in cluster.instances}

    for instance in cluster.instances:
        with connected(cluster, instance.host) as connection:
            rows = ask(
                connection,
                "SELECT SERVER_ID, SESSION_ID = 'MASTER_SESSION_ID', CPU, REPLICA_LAG_IN_MILLISECONDS,"
                " LAST_UPDATE_TIMESTAMP, TIMESTAMPDIFF(SECOND, LAST_UPDATE_TIMESTAMP, NOW(6)) AS age"
                " FROM information_schema.replica_host_status ORDER BY SERVER_ID",
            )

        assert {row[0]: bool(row[1]) for row in rows} == expected
        for _, _, cpu, lag, updated, age in rows:
            assert isinstance(cpu, float)
            assert isinstance(lag, float)
            assert isinstance(updated, datetime.datetime)
            assert age <= 1


def test_no_row_is_from_before_a_freeze_once_all_is_healed(cluster: LocalCluster) -> None:
    reader = cluster.readers[0]
    reader.freeze()
    time.sleep(2.5)  # longer than it takes until a thawed instance is looked at by itself
    cluster.heal()

    with connected(cluster, cluster.writer.host) as connection:
        ages = ask(
            connection,
            "SELECT TIMESTAMPDIFF(MICROSECOND, LAST_UPDATE_TIMESTAMP, NOW(6))"
            " FROM information_schema.replica_host_status",
        )

    assert max(age for (age,) in ages) < 2_000_000


def test_a_prepared_statement_is_answered_too(cluster: LocalCluster) -> None:
    with connected(cluster, cluster.writer.host) as connection:
        cursor = connection.cursor(prepared=True)
        cursor.execute("SELECT SERVER_ID FROM information_schema.replica_host_status WHERE SERVER_ID = %s", ("12",))
        rows = cursor.fetchall()
        cursor.close()

    assert rows == [("12",)]


def test_what_a_test_reports_is_in_the_topology(cluster: LocalCluster) -> None:
    cluster.instance("12").report(cpu=77.5, lag_ms=1234)

    with connected(cluster, cluster.writer.host) as connection:
        rows = ask(
            connection,
            "SELECT CPU, REPLICA_LAG_IN_MILLISECONDS FROM information_schema.replica_host_status"
            " WHERE SERVER_ID = '12'",
        )

    assert rows == [(77.5, 0.0 if cluster.writer.id == "12" else 1234.0)]


def test_the_topology_after_a_death_and_after_the_promotion(cluster: LocalCluster) -> None:
    question = (
        "SELECT SERVER_ID, SESSION_ID = 'MASTER_SESSION_ID', LAST_UPDATE_TIMESTAMP"
        " FROM information_schema.replica_host_status"
    )
    old, reader = cluster.writer, cluster.readers[0]
    with connected(cluster, reader.host) as connection:
        old.kill()
        ask(connection, question)  # from now on it is measured anew all the time
        time.sleep(0.1)
        before = {server: (writer, at) for server, writer, at in ask(connection, question)}
        time.sleep(0.1)
        later = {server: at for server, _, at in ask(connection, question)}
        cluster.promote(reader)
        after = {server: writer for server, writer, _ in ask(connection, question)}

    assert before[old.id][0] == 1, "until another is promoted the dead one is the writer"
    assert abs(later[old.id] - before[old.id][1]) < datetime.timedelta(milliseconds=5), "and its row ages"
    assert before[reader.id][0] == 0
    assert later[reader.id] - before[reader.id][1] > datetime.timedelta(milliseconds=50)
    assert after[reader.id] == 1
    assert list(after.values()).count(1) == 1


def test_a_row_proves_what_its_reader_has(cluster: LocalCluster) -> None:
    """Its lag and its age are measured: once a row says that a commit is applied, it can be read."""
    cluster.writer.query("CREATE OR REPLACE TABLE proved (id INT)")
    cluster.catch_up()
    question = (
        "SELECT SERVER_ID, REPLICA_LAG_IN_MILLISECONDS / 1000"
        " + TIMESTAMPDIFF(MICROSECOND, LAST_UPDATE_TIMESTAMP, NOW(6)) / 1e6 FROM information_schema.replica_host_status"
    )
    took = []
    readers = cluster.readers
    with (
        connected(cluster, cluster.writer.host) as writer,
        connected(cluster, readers[0].host) as first,
        connected(cluster, readers[1].host) as second,
    ):
        for number in range(40):
            ask(writer, "INSERT INTO proved VALUES (%s)", (number,))
            committed_at = time.monotonic()
            missing = {readers[0].id: first, readers[1].id: second}
            while missing:
                assert time.monotonic() < committed_at + 10
                asked_at = time.monotonic()
                for server, behind in ask(writer, question):
                    if server in missing and asked_at - float(behind) > committed_at:
                        assert ask(missing.pop(server), "SELECT MAX(id) FROM proved") == [(number,)]
            took.append(time.monotonic() - committed_at)

    took.sort()
    print(f"proved after {took[20] * 1000:.1f} ms (median), {took[-1] * 1000:.1f} ms (longest)")


def test_a_session_can_ask_a_reader_for_all_that_was_committed(cluster: LocalCluster) -> None:
    cluster.writer.query("CREATE OR REPLACE TABLE consistent (id INT)")
    cluster.catch_up()
    reader = cluster.readers[0]
    with connected(cluster, cluster.writer.host) as writer, connected(cluster, reader.host) as session:
        assert ask(session, "SELECT @@aurora_replica_read_consistency") == [("",)]
        reader.delay_replication(30)
        ask(writer, "INSERT INTO consistent VALUES (1)")
        assert ask(session, "SELECT id FROM consistent") == []
        ask(session, "SET SESSION aurora_replica_read_consistency = 'global'")
        end = threading.Timer(1.0, reader.delay_replication, [0])
        end.start()
        began = time.monotonic()
        assert ask(session, "SELECT id FROM consistent") == [(1,)]
        assert time.monotonic() - began > 0.9, "it has waited"
        end.join()
        assert ask(session, "SELECT @@aurora_replica_read_consistency") == [("GLOBAL",)]

        reader.delay_replication(30)
        ask(writer, "INSERT INTO consistent VALUES (2)")
        ask(session, "SET SESSION aurora_replica_read_consistency = DEFAULT")
        assert ask(session, "SELECT id FROM consistent") == [(1,)]
        with pytest.raises(mysql.connector.Error) as caught:
            ask(session, "SET aurora_replica_read_consistency = 'later'")
    reader.delay_replication(0)

    assert caught.value.errno == 1231


def test_a_session_with_all_that_was_committed_never_reads_less(cluster: LocalCluster) -> None:
    cluster.writer.query("CREATE OR REPLACE TABLE always (id INT)")
    cluster.catch_up()
    took = []
    with (
        connected(cluster, cluster.writer.host) as writer,
        connected(cluster, cluster.readers[0].host) as session,
    ):
        ask(session, "SET aurora_replica_read_consistency = 'GLOBAL'")
        for number in range(100):
            ask(writer, "INSERT INTO always VALUES (%s)", (number,))
            began = time.monotonic()
            assert ask(session, "SELECT MAX(id) FROM always") == [(number,)]
            took.append(time.monotonic() - began)

    took.sort()
    print(f"a consistent read took {took[50] * 1000:.1f} ms (median), {took[-1] * 1000:.1f} ms (longest)")


def test_the_endpoints_lead_to_their_roles(cluster: LocalCluster) -> None:
    writer, readers = cluster.writer.id, {reader.id for reader in cluster.readers}

    assert {who_answers(cluster, cluster.writer_endpoint.host) for _ in range(3)} == {writer}
    assert {who_answers(cluster, cluster.reader_endpoint.host) for _ in range(4)} == readers

    promoted = cluster.promote().new

    assert who_answers(cluster, cluster.writer_endpoint.host) == promoted
    assert promoted not in {who_answers(cluster, cluster.reader_endpoint.host) for _ in range(4)}


def test_the_reader_endpoint_leads_to_the_writer_where_no_reader_is(cluster: LocalCluster) -> None:
    for reader in cluster.readers:
        reader.kill()

    assert who_answers(cluster, cluster.reader_endpoint.host) == cluster.writer.id


def test_a_reader_refuses_writes_with_1290(cluster: LocalCluster) -> None:
    cluster.writer.query("CREATE TABLE IF NOT EXISTS refused (id INT)")
    cluster.catch_up()

    with connected(cluster, cluster.readers[0].host) as connection, pytest.raises(mysql.connector.Error) as caught:
        ask(connection, "INSERT INTO refused VALUES (1)")

    assert caught.value.errno == 1290


def test_large_statements_and_results_pass_unharmed(cluster: LocalCluster) -> None:
    data = bytes(itertools.islice(itertools.cycle(range(251)), 20_000_000))  # more than one packet of 16 MB
    cluster.writer.query("CREATE TABLE IF NOT EXISTS large (data LONGBLOB)")

    with connected(cluster, cluster.writer.host, read_timeout=60) as connection:
        ask(connection, "INSERT INTO large VALUES (%s)", (data,))
        stored = ask(connection, "SELECT data FROM large")

    cluster.writer.query("DROP TABLE large")
    assert stored[0][0] == data


def test_a_client_that_insists_on_compression_is_told_why_not(cluster: LocalCluster) -> None:
    """mysql.connector does so, whatever the server's greeting offers; other drivers ask first."""
    with pytest.raises(mysql.connector.Error, match="compress") as caught:
        open_connection(cluster, cluster.writer.host, compress=True)

    assert caught.value.errno == 1235


@pytest.mark.slow
def test_a_thousand_clients_at_once(cluster: LocalCluster) -> None:
    connections = []
    try:
        for _ in range(1000):
            connections.append(open_connection(cluster, cluster.writer_endpoint.host))
        answers = {ask(connection, "SELECT @@aurora_server_id")[0][0] for connection in connections}
        assert cluster.writer.connections >= 1000
    finally:
        for connection in connections:
            hang_up(connection)

    assert answers == {cluster.writer.id}


def test_two_clusters_and_a_server_at_once(cluster: LocalCluster, server: LocalServer) -> None:
    with LocalCluster(readers=1, databases=("app", "second")) as other:
        assert other.port != cluster.port
        other.writer.query("CREATE TABLE second.only_here (id INT)")
        with connected(other, other.writer_endpoint.host, database="second") as connection:
            assert ask(connection, "SHOW TABLES LIKE 'only_here'") == [("only_here",)]
        with connected(cluster, cluster.writer_endpoint.host) as connection:
            assert len(ask(connection, "SELECT SERVER_ID FROM information_schema.replica_host_status")) == 3

    assert cluster.writer.state == "running"
    assert server.server.state == "running"


def test_the_single_server_is_no_aurora(server: LocalServer) -> None:
    with connected(server, server.host) as connection:
        assert ask(connection, "SHOW VARIABLES LIKE 'aurora_version'") == []
        with pytest.raises(mysql.connector.Error) as caught:
            ask(connection, "SELECT @@aurora_server_id")

    assert caught.value.errno == 1193
