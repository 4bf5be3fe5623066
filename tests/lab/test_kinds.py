"""What the kinds of cluster answer, beside what their servers do: the text, and the answers of real servers."""

from collections.abc import Iterator

import pytest

from django_aurora_routing.lab import LabError, LocalCluster
from django_aurora_routing.lab.kinds import KINDS
from django_aurora_routing.lab.kinds.base import Member
from django_aurora_routing.lab.kinds.group_replication import GROUP_NAME, member_uuid
from tests.lab.clients import ask, connected

MEMBERS = (
    Member(id="11", is_writer=True, session_id="", host="127.0.0.11", port=3306, server_id=1),
    Member(id="12", is_writer=False, session_id="", host="127.0.0.12", port=3306, server_id=2, lag_ms=2000.0),
)


def rewrite(kind: str, statement: str, *members: Member) -> str:
    session = KINDS[kind].session
    assert session is not None
    return session("12", lambda: members or MEMBERS).rewrite(statement.encode()).decode()


@pytest.mark.parametrize(
    ("kind", "statement"),
    [
        ("multi-az", "SELECT 'mysql.rds_topology' /* mysql.rds_topology */"),
        ("multi-az", "SELECT * FROM rds_topology"),
        ("group-replication", 'SELECT "@@server_uuid", @@server_uuid_2'),
        ("group-replication", "SELECT 1 -- performance_schema.replication_group_members\n"),
    ],
)
def test_what_asks_nothing_is_left_alone(kind: str, statement: str) -> None:
    assert rewrite(kind, statement) == statement


def test_a_derived_table_takes_the_name_it_is_given() -> None:
    named = rewrite("multi-az", "SELECT t.id FROM mysql.rds_topology t")
    plain = rewrite("multi-az", "SELECT mysql.rds_topology.id FROM mysql.rds_topology")
    assert named.endswith(") t")
    assert plain.startswith("SELECT rds_topology.id FROM (SELECT 1 AS id, '127.0.0.11' AS endpoint, 3306 AS port")
    assert plain.endswith(") AS rds_topology")


def test_a_kind_that_nobody_knows_is_refused_before_anything_starts() -> None:
    with pytest.raises(LabError, match="No kind of cluster is named 'galera'; there are aurora, "):
        LocalCluster(kind="galera")


@pytest.fixture(scope="module", params=["multi-az", "group-replication", "replication"])
def of_kind(request: pytest.FixtureRequest) -> Iterator[LocalCluster]:
    with LocalCluster(readers=1, kind=request.param) as cluster:
        yield cluster


def answer(cluster: LocalCluster, host: str, sql: str) -> list[tuple[object, ...]]:
    with connected(cluster, host) as connection:
        return ask(connection, sql)


@pytest.mark.lab
def test_the_answers_of_real_servers(of_kind: LocalCluster) -> None:
    """And none that is not of their kind."""
    writer, (reader,) = of_kind.writer, of_kind.readers
    variables = dict(
        answer(
            of_kind,
            reader.host,
            "SHOW GLOBAL VARIABLES WHERE Variable_name IN ('aurora_version', 'group_replication_group_name')",
        )
    )
    assert variables == ({"group_replication_group_name": GROUP_NAME} if of_kind.kind == "group-replication" else {})
    tables = answer(of_kind, reader.host, "SELECT 1 FROM information_schema.tables WHERE table_name = 'rds_topology'")
    assert len(tables) == (of_kind.kind == "multi-az")
    with connected(of_kind, reader.host) as connection:
        cursor = connection.cursor(dictionary=True)
        cursor.execute("SHOW REPLICA STATUS")
        (status,) = cursor.fetchall()
        cursor.close()
    assert (status["Slave_IO_Running"], status["Slave_SQL_Running"]) == ("Yes", "Yes")
    ids = [answer(of_kind, i.host, "SELECT @@server_id")[0][0] for i in (writer, reader)]
    assert status["Master_Server_Id"] == ids[0]
    if of_kind.kind == "multi-az":
        rows = answer(of_kind, reader.host, "SELECT id, endpoint, port FROM mysql.rds_topology ORDER BY endpoint")
        assert rows == [(ids[0], writer.host, of_kind.port), (ids[1], reader.host, of_kind.port)]
    if of_kind.kind == "group-replication":
        sql = (
            "SELECT @@server_uuid, MEMBER_ID, MEMBER_HOST, MEMBER_PORT, MEMBER_STATE, MEMBER_ROLE,"
            " COUNT_TRANSACTIONS_REMOTE_IN_APPLIER_QUEUE FROM performance_schema.replication_group_members m"
            " JOIN performance_schema.replication_group_member_stats s USING (MEMBER_ID) ORDER BY MEMBER_HOST"
        )
        own = member_uuid(reader.id)
        assert answer(of_kind, reader.host, sql) == [
            (own, member_uuid(writer.id), writer.host, of_kind.port, "ONLINE", "PRIMARY", 0),
            (own, own, reader.host, of_kind.port, "ONLINE", "SECONDARY", 0),
        ]
        writer.report(is_cut_off=True)
        try:
            states = {row[2]: row[4] for row in answer(of_kind, reader.host, sql)}
            assert states == {writer.host: "UNREACHABLE", reader.host: "ONLINE"}
        finally:
            of_kind.heal()
