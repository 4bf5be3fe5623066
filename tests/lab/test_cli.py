"""The command line, from `up` to `down`, in processes of its own as a user runs it."""

import json
import subprocess
import sys
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from django_aurora_routing.lab import LocalCluster, places
from tests.lab.clients import who_answers

pytestmark = pytest.mark.lab

ROOT = Path(__file__).resolve().parents[2]


def lab(*arguments: str) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-m", "django_aurora_routing.lab", *arguments]
    return subprocess.run(command, capture_output=True, text=True, cwd=ROOT, timeout=60)


@pytest.fixture(scope="module")
def name() -> Iterator[str]:
    """A cluster that `up` has started."""
    name = f"cli-{uuid.uuid4().hex[:8]}"
    done = lab("up", "--name", name, "--readers", "2")
    assert done.returncode == 0, done.stderr
    assert "writer endpoint" in done.stdout
    assert '"HOST": "127.0.0.10"' in done.stdout
    assert f"down --name {name}" in done.stdout
    yield name
    done = lab("down", "--name", name)
    assert done.returncode == 0, done.stderr
    assert not places.directory(name).exists()
    assert lab("down", "--name", name).returncode == 1


def test_settings_for_a_plain_primary_list_its_servers() -> None:
    name = f"cli-{uuid.uuid4().hex[:8]}"
    done = lab("up", "--name", name, "--readers", "0", "--kind", "replication")
    try:
        assert '"OPTIONS": {"plugins": "failover", "hosts": ["127.0.0.11"]}' in done.stdout
    finally:
        assert lab("down", "--name", name).returncode == 0


def test_it_lives_on_and_is_found_by_name(name: str) -> None:
    cluster = LocalCluster.attach(name)

    assert who_answers(cluster, cluster.writer_endpoint.host) == cluster.writer.id
    assert name in lab("list").stdout.split()
    assert lab("up", "--name", name).returncode == 1


def test_status(name: str) -> None:
    text = lab("status", "--name", name)
    status = json.loads(lab("status", "--name", name, "--json").stdout)

    assert text.returncode == 0
    for instance in status["instances"]:
        assert f"{instance['id']}  {instance['host']}:{status['port']}" in text.stdout
    assert [instance["role"] for instance in status["instances"]].count("writer") == 1


def test_kill_promote_revive(name: str) -> None:
    cluster = LocalCluster.attach(name)
    old = cluster.writer

    assert lab("kill", "writer", "--name", name).stdout == f"{old.id} is dead.\n"
    assert old.state == "dead"
    assert f"is the writer in place of {old.id}" in lab("promote", "--name", name).stdout
    assert old != cluster.writer
    assert lab("revive", old.id, "--name", name).stdout == f"{old.id} is back as reader.\n"
    assert old.state == "running"


@pytest.mark.parametrize(
    ("fault", "end", "state", "shown"),
    [
        (("freeze", "12"), ("thaw", "12"), "frozen", []),
        (("refuse", "12"), ("heal", "12"), "running", ["refuse"]),
        (("black-hole", "12"), ("heal", "12"), "running", ["black hole"]),
        (("delay", "12", "0.5"), ("heal", "12"), "running", ["delay 0.5 s"]),
    ],
)
def test_faults_and_their_end(
    name: str, fault: tuple[str, ...], end: tuple[str, ...], state: str, shown: list[str]
) -> None:
    def told() -> tuple[str, list[str]]:
        instances = json.loads(lab("status", "--json", "--name", name).stdout)["instances"]
        return next((i["state"], i["faults"]) for i in instances if i["id"] == "12")

    assert lab(*fault, "--name", name).returncode == 0
    assert told() == (state, shown)
    assert lab(*end, "--name", name).returncode == 0
    assert told() == ("running", [])


def test_lag_and_a_reader_more(name: str) -> None:
    assert lab("lag", "reader", "1", "--name", name).returncode == 0
    assert lab("lag", "reader", "0", "--name", name).returncode == 0
    assert "14 is a reader at 127.0.0.14:" in lab("add-reader", "--name", name).stdout
    assert lab("reset", "14", "--name", name).returncode == 0


def test_an_endpoint_that_lags_behind(name: str) -> None:
    cluster = LocalCluster.attach(name)
    old = cluster.writer
    assert "until `release-endpoint`" in lab("hold-endpoint", "--name", name).stdout
    cluster.promote()
    assert who_answers(cluster, cluster.writer_endpoint.host) == old.id
    assert lab("release-endpoint", "--name", name).returncode == 0
    assert who_answers(cluster, cluster.writer_endpoint.host) == cluster.writer.id


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("kill", "99"), "No instance '99'"),
        (("thaw", "writer"), "is running, not frozen"),
        (("promote", "writer"), "is the writer already"),
    ],
)
def test_errors_are_one_line(name: str, arguments: tuple[str, ...], message: str) -> None:
    done = lab(*arguments, "--name", name)

    assert done.returncode == 1
    assert message in done.stderr
    assert done.stderr.count("\n") == 1


def test_a_cluster_that_is_not_there(name: str) -> None:
    done = lab("status", "--name", "nobody")

    assert done.returncode == 1
    assert "No cluster named 'nobody' is running." in done.stderr
    assert name in done.stderr


def test_a_name_that_is_none() -> None:
    done = lab("up", "--name", "../elsewhere")

    assert done.returncode == 1
    assert "is no name for a cluster" in done.stderr
