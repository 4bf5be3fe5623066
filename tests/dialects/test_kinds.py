"""The kinds of cluster besides Aurora: by what they are told apart, and what their rows say."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import pytest

from django_aurora_routing.core.endpoints import Address
from django_aurora_routing.core.rows import Rows
from django_aurora_routing.core.topology import Observation, Role
from django_aurora_routing.dialects.aurora_mysql import AuroraMySQL
from django_aurora_routing.dialects.global_aurora_mysql import GlobalAuroraMySQL
from django_aurora_routing.dialects.group_replication import GroupReplicationMySQL
from django_aurora_routing.dialects.multi_az import MultiAZMySQL
from django_aurora_routing.dialects.mysql import SingleMySQL
from django_aurora_routing.dialects.registry import find_dialect
from django_aurora_routing.dialects.replica_status import statement_for
from django_aurora_routing.dialects.replication import ReplicationMySQL

AT = Address("db1")


class Server:
    """Answers by what a statement contains, and counts what it was asked."""

    def __init__(self, answers: Mapping[str, Sequence[Mapping[str, Any]]]) -> None:
        self._answers = answers
        self.asked: list[str] = []

    def __call__(self, sql: str) -> Rows:
        self.asked.append(sql)
        rows = next((rows for part, rows in self._answers.items() if part in sql), ())
        return Rows((tuple(row.values()) for row in rows), rows[0] if rows else ())


def variables(**values: str) -> dict[str, Sequence[Mapping[str, Any]]]:
    return {"SHOW VARIABLES": [{"Variable_name": name, "Value": value} for name, value in values.items()]}


HAS_TABLE = {"information_schema.tables": [{"1": 1}]}


def topology(**columns: Any) -> dict[str, Sequence[Mapping[str, Any]]]:
    row = {"own_id": 7, "own_read_only": 0, "id": 7, "endpoint": "db1.x.eu-west-1.rds.amazonaws.com", "port": 3306}
    return {"mysql.rds_topology": [{**row, **columns}]}


@pytest.mark.parametrize(
    ("answers", "is_listed", "name", "questions"),
    [
        (variables(aurora_version="8.0.mysql_aurora.3.08.0", report_host="x"), False, "aurora-mysql", 2),
        (variables(group_replication_group_name="aaaa", report_host="x"), False, "group-replication-mysql", 1),
        (variables(group_replication_group_name="", report_host=""), False, "mysql", 1),
        (variables(group_replication_group_name="", report_host=""), True, "replication-mysql", 1),
        (variables(report_host="x"), True, "replication-mysql", 2),
        ({**variables(report_host="x"), **HAS_TABLE, **topology()}, False, "multi-az-mysql", 3),
        # A blue/green deployment of single instances has a table by the same name.
        (
            {**variables(report_host="x"), **HAS_TABLE, **topology(role="BLUE_GREEN_DEPLOYMENT_SOURCE")},
            False,
            "mysql",
            3,
        ),
        ({**variables(report_host="x"), **HAS_TABLE, **topology(id=8)}, False, "mysql", 3),
        ({}, False, "mysql", 1),
    ],
)
def test_a_kind_is_told_by_few_questions(answers: Any, is_listed: bool, name: str, questions: int) -> None:
    server = Server(answers)
    assert find_dialect(None, server, lists_instances=is_listed).name == name
    assert len(server.asked) == questions


@pytest.mark.parametrize(
    "name", ["aurora-mysql", "multi-az-mysql", "replication-mysql", "group-replication-mysql", "mysql"]
)
def test_a_kind_that_is_named_is_not_asked_for(name: str) -> None:
    server = Server(variables(aurora_version="3"))
    assert find_dialect(name, server).name == name
    assert server.asked == []


READ_ONLY = [
    (0, False),
    (1, True),
    ("0", False),
    ("1", True),
    ("OFF", False),
    (b"OFF", False),
    ("ON", True),
    (b"ON", True),
    ("NO_LOCK", True),
    ("NO_LOCK_NO_ADMIN", True),
]


@pytest.mark.parametrize(("value", "refuses"), READ_ONLY)
def test_read_only_is_a_number_or_a_word(value: object, refuses: bool) -> None:
    """MariaDB from 12.0.1 on says it in words."""
    for dialect in (ReplicationMySQL(), SingleMySQL(), MultiAZMySQL(), AuroraMySQL(), GlobalAuroraMySQL()):
        assert dialect.refuses_writes(Server({"read_only": [{"": value}]})) is refuses
    assert GroupReplicationMySQL().refuses_writes(Server({"read_only": [{"own": value, "group": 0}]})) is refuses
    assert GroupReplicationMySQL().refuses_writes(Server({"read_only": [{"own": value, "group": 1}]}))
    assert plain(value).refuses_writes is refuses
    assert multi_az(3, value, of_mysql()).refuses_writes is refuses
    assert group("a", A, B, C, read_only=value).refuses_writes is refuses


# -- a plain primary with replicas


@pytest.mark.parametrize(
    ("version", "statement"),
    [
        ("8.4.3", "SHOW REPLICA STATUS"),
        ("8.0.22", "SHOW REPLICA STATUS"),
        ("8.0.21-log", "SHOW SLAVE STATUS"),
        ("5.7.44", "SHOW SLAVE STATUS"),
        ("10.11.6-MariaDB-log", "SHOW REPLICA STATUS"),
        ("10.5.1-MariaDB", "SHOW REPLICA STATUS"),
        ("10.4.34-MariaDB", "SHOW SLAVE STATUS"),
        ("11.4.2-MariaDB-ubu2404", "SHOW REPLICA STATUS"),
    ],
)
def test_a_server_is_asked_in_words_that_it_knows(version: str, statement: str) -> None:
    assert statement_for(version) == statement


def of_mysql(io: str = "Yes", lag: int | None = 0, **more: Any) -> dict[str, Any]:
    """In MySQL's words, and in an order that is no version's."""
    return {"Seconds_Behind_Source": lag, "Source_Server_Id": 1, "Replica_IO_Running": io, **more}


def of_mariadb(io: str = "Yes", lag: int | None = 0) -> dict[str, Any]:
    return {"Slave_IO_Running": io, "Master_Server_Id": 1, "Seconds_Behind_Master": lag}


def plain(read_only: object, *sources: Mapping[str, Any]) -> Observation:
    own = {"@@server_id": 7, "@@read_only": read_only, "@@version": "8.0.36"}
    return ReplicationMySQL().observe(
        Server({"@@server_id": [own], "STATUS": sources, "gtid_executed": [{"": b"u:1-7"}]}), AT, None
    )


@pytest.mark.parametrize(
    ("observation", "role", "lag"),
    [
        (plain(0), Role.WRITER, 0.0),
        (plain(0, of_mysql("No", None)), Role.WRITER, 0.0),  # promoted; what it followed is still written down
        (plain(1, of_mysql(lag=3)), Role.READER, 3.0),
        (plain(1, of_mariadb(lag=3)), Role.READER, 3.0),
        (plain(1, of_mysql(lag=3), of_mysql(lag=8)), Role.READER, 8.0),
        (plain(1, of_mysql("Connecting", None)), Role.READER, math.inf),
        (plain(1, of_mariadb("No", None)), Role.READER, math.inf),
        (plain(1), Role.READER, math.inf),
    ],
)
def test_a_plain_server_tells_of_itself(observation: Observation, role: Role, lag: float) -> None:
    (instance,) = observation.instances
    assert (instance.id, instance.server, instance.address) == ("db1:3306", "7", AT)
    assert (instance.role, instance.lag) == (role, lag)
    assert observation.is_alone
    assert observation.is_from_writer is (role is Role.WRITER)
    assert observation.remark == ""
    assert instance.position == "u:1-7"


@pytest.mark.parametrize(("read_only", "variable"), [(0, "gtid_binlog_pos"), (1, "gtid_slave_pos")])
def test_mariadb_tells_its_position_in_its_own_words(read_only: int, variable: str) -> None:
    own = {"@@server_id": 7, "@@read_only": read_only, "@@version": "10.11.6-MariaDB"}
    server = Server({"@@server_id": [own], variable: [{"": "0-1-100"}]})
    (instance,) = ReplicationMySQL().observe(server, AT, None).instances
    assert instance.position == "0-1-100"


@pytest.mark.parametrize("io", ["Yes", "Connecting", "Preparing"])
def test_a_replica_that_takes_writes_is_neither(io: str) -> None:
    observation = plain(0, of_mysql(io))
    assert observation.instances == ()
    assert "Set read_only = 1" in observation.remark


# -- a Multi-AZ DB cluster

DOMAIN = "abc123.eu-west-1.rds.amazonaws.com"


def multi_az(own: int, read_only: object, *status: Mapping[str, Any]) -> Observation:
    rows = [
        {"own_id": own, "own_read_only": read_only, "id": n, "endpoint": f"db{n}.{DOMAIN}", "port": 3307}
        for n in (1, 2, 3)
    ]
    return MultiAZMySQL().observe(Server({"mysql.rds_topology": rows, "REPLICA STATUS": status}), AT, None)


def test_a_reader_of_a_multi_az_cluster_knows_all_and_its_own_lag() -> None:
    observation = multi_az(2, 1, of_mysql(lag=4))
    assert (observation.server_id, observation.refuses_writes, observation.lags_of_all) == ("db2", True, False)
    assert [(i.id, i.role, i.lag) for i in observation.instances] == [
        ("db1", Role.WRITER, 0.0),
        ("db2", Role.READER, 4.0),
        ("db3", Role.READER, math.inf),
    ]
    assert observation.instances[2].address == Address(f"db3.{DOMAIN}", 3307)


def test_a_writer_of_a_multi_az_cluster_is_its_own_witness() -> None:
    observation = multi_az(3, 0, of_mysql())  # whatever it followed before
    assert observation.claimed_writer is not None
    assert observation.claimed_writer.id == "db3"
    assert observation.is_from_writer


def test_a_reader_that_follows_nobody_knows_no_writer() -> None:
    assert multi_az(2, 1).claimed_writer is None


# -- a group


def group(own: str, *members: tuple[str, str, str, int], read_only: object = 0) -> Observation:
    rows = [
        {
            "@@server_uuid": own,
            "@@read_only": read_only,
            "MEMBER_ID": ident,
            "MEMBER_HOST": f"host-{ident}",
            "MEMBER_PORT": 3306,
            "MEMBER_STATE": state,
            "MEMBER_ROLE": role,
            "COUNT": waiting,
        }
        for ident, state, role, waiting in members
    ]
    return GroupReplicationMySQL().observe(Server({"replication_group_members": rows}), AT, None)


A, B, C = ("a", "ONLINE", "PRIMARY", 0), ("b", "ONLINE", "SECONDARY", 0), ("c", "ONLINE", "SECONDARY", 9)


def test_the_members_of_a_group() -> None:
    observation = group("b", A, B, C, read_only=1)
    assert [(i.id, i.role, i.lag, i.address.host) for i in observation.instances] == [
        ("a", Role.WRITER, 0.0, "host-a"),
        ("b", Role.READER, 0.0, "host-b"),
        ("c", Role.READER, math.inf, "host-c"),
    ]
    assert not observation.is_from_writer
    assert group("a", A, B, C).is_from_writer


@pytest.mark.parametrize("state", ["RECOVERING", "OFFLINE", "ERROR", "UNREACHABLE"])
def test_only_members_that_are_online_count(state: str) -> None:
    assert [i.id for i in group("b", A, B, ("c", state, "SECONDARY", 0)).instances] == ["a", "b"]


@pytest.mark.parametrize(
    "others",
    [
        pytest.param((("b", "UNREACHABLE", "SECONDARY", 0), ("c", "UNREACHABLE", "SECONDARY", 0)), id="one of three"),
        pytest.param((("b", "UNREACHABLE", "SECONDARY", 0),), id="one of two"),
    ],
)
def test_a_member_without_most_of_the_group_is_no_writer_and_knows_of_none(others: Any) -> None:
    observation = group("a", A, *others)
    assert observation.instances == ()
    assert observation.refuses_writes


def test_a_server_that_has_not_joined_knows_nothing() -> None:
    assert group("a", ("", "OFFLINE", "", 0)).instances == ()


def test_with_several_primaries_the_first_is_the_writer_whoever_is_asked() -> None:
    members = [("c", "ONLINE", "PRIMARY", 0), ("b", "ONLINE", "PRIMARY", 0), ("a", "RECOVERING", "PRIMARY", 0)]
    for own in "bc":
        observation = group(own, *members)
        assert observation.claimed_writer is not None
        assert observation.claimed_writer.id == "b"
        assert observation.is_from_writer is (own == "b")
        assert observation.refuses_writes is (own != "b")
