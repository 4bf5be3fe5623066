"""A cluster leaves nothing behind, whoever ends it and however."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from django_aurora_routing.lab import LabError, LocalCluster, places

pytestmark = pytest.mark.lab

ROOT = Path(__file__).resolve().parents[2]
OWNER = """
import sys, time
from django_aurora_routing.lab import LocalCluster
with LocalCluster(readers=1) as cluster:
    pids = [cluster.supervisor_pid, *(instance.pid for instance in cluster.instances)]
    print(cluster.name, *pids, flush=True)
    {then}
"""


class Owner:
    """A process that owns a cluster, and what to look for when it has gone."""

    def __init__(self, then: str = "time.sleep(600)") -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", OWNER.format(then=then)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            cwd=ROOT,
            start_new_session=True,
        )
        assert self.process.stdout is not None
        name, *pids = self.process.stdout.readline().split()
        self.place = places.directory(name)
        self.pids = [int(pid) for pid in pids]

    def has_left_nothing(self, *, seconds: float = 5) -> bool:
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            if not self.place.exists() and not any(is_running(pid) for pid in self.pids):
                return True
            time.sleep(0.02)
        return False

    def end(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.communicate()


def is_running(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    stat = Path(f"/proc/{pid}/stat")
    return not stat.exists() or ") Z" not in stat.read_text()  # in a container nobody may reap a dead one


@pytest.fixture
def owner() -> Iterator[Owner]:
    owner = Owner()
    yield owner
    owner.end()


def test_the_owner_ends() -> None:
    owner = Owner(then="pass")

    assert owner.process.wait(10) == 0
    assert owner.has_left_nothing(seconds=1), "it is gone when the owner is"
    owner.end()


def test_the_owner_fails() -> None:
    owner = Owner(then="raise SystemExit(3)")

    assert owner.process.wait(10) == 3
    assert owner.has_left_nothing(seconds=1)
    owner.end()


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_the_owner_is_ended(owner: Owner, number: signal.Signals) -> None:
    os.kill(owner.process.pid, number)

    owner.process.wait(10)
    assert owner.has_left_nothing()


def test_ctrl_c_on_the_terminal(owner: Owner) -> None:
    """It goes to the whole process group of the owner, which the servers are not in."""
    os.killpg(owner.process.pid, signal.SIGINT)

    owner.process.wait(10)
    assert owner.has_left_nothing()


def test_the_supervisor_is_killed(owner: Owner) -> None:
    os.kill(owner.pids[0], signal.SIGKILL)

    assert owner.has_left_nothing()
    assert owner.process.poll() is None


def test_a_frozen_server_ends_too(owner: Owner) -> None:
    os.kill(owner.pids[1], signal.SIGSTOP)
    os.kill(owner.process.pid, signal.SIGKILL)

    assert owner.has_left_nothing()


def test_a_forked_child_of_the_owner_neither_ends_nor_keeps_it() -> None:
    owner = Owner(then="import os; child = os.fork(); child or time.sleep(1); child and time.sleep(600)")
    try:
        time.sleep(1.5)  # the child has run through the owner's `with` and its exit handlers
        assert is_running(owner.pids[0])
        assert owner.process.poll() is None
    finally:
        os.kill(owner.process.pid, signal.SIGKILL)
        owner.end()
    assert owner.has_left_nothing()


def test_the_owner_is_killed_while_its_child_lives_on() -> None:
    owner = Owner(then="import os; os.fork(); time.sleep(6)")  # the child holds a copy of the life line
    os.kill(owner.process.pid, signal.SIGKILL)

    assert owner.has_left_nothing()
    owner.end()


def test_the_owner_is_killed_during_the_start() -> None:
    place = places.directory(f"start-{os.getpid()}")
    process = subprocess.Popen(
        [sys.executable, "-c", OWNER.format(then="pass").replace("readers=1", f"name={place.name!r}")],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        cwd=ROOT,
    )
    deadline = time.monotonic() + 10
    while not (place / "12").exists():
        assert time.monotonic() < deadline
        time.sleep(0.005)
    process.kill()
    process.wait()

    deadline = time.monotonic() + 5
    while place.exists():
        assert time.monotonic() < deadline
        time.sleep(0.02)
    time.sleep(0.5)  # for a server that was just being started
    assert list(places.servers_in(place)) == []


def test_what_a_dead_cluster_left_is_swept_at_the_next_start(monkeypatch: pytest.MonkeyPatch) -> None:
    left = places.directory(f"left-{os.getpid()}")
    lock = places.claim(left)
    (left / "11").mkdir()
    with subprocess.Popen(
        [sys.executable, "-c", "import time; time.sleep(60)", f"--datadir={left}/11/data"]
    ) as sleeper:
        while sleeper.pid not in places.servers_in(left):  # Popen returns before the kernel shows the new command line
            assert sleeper.poll() is None
        os.close(lock)

        places.sweep()

        try:
            assert sleeper.wait(5) == -signal.SIGKILL
        finally:
            sleeper.kill()
    assert left.name not in places.living()


def test_stop_and_start_again() -> None:
    cluster = LocalCluster(readers=0)
    cluster.start()
    cluster.stop()
    assert not cluster.directory.exists()
    with pytest.raises(LabError, match="not running"):
        cluster.writer  # noqa: B018
    cluster.stop()  # a second time is no error

    with cluster:
        assert cluster.writer.state == "running"
        with pytest.raises(LabError, match="running already"):
            cluster.start()
    assert not cluster.directory.exists()


def test_a_port_that_is_taken_is_named(cluster: LocalCluster) -> None:
    second = LocalCluster(readers=0, port=cluster.port)

    with pytest.raises(LabError, match=f"Port {cluster.port} cannot be had"):
        second.start()
    assert not second.directory.exists()


def test_a_name_that_is_taken_is_named(cluster: LocalCluster) -> None:
    with pytest.raises(LabError, match="is there already"):
        LocalCluster(name=cluster.name).start()

    assert cluster.writer.state == "running"


def test_without_a_server_program_the_packages_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    from django_aurora_routing.lab import binaries

    monkeypatch.setenv("PATH", "/nowhere")
    monkeypatch.setattr(binaries, "_DIRECTORIES", ())

    with pytest.raises(LabError, match=r"mariadb-server-core.*brew install mariadb"):
        binaries.find_program()


def test_a_program_that_is_not_mariadb_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from django_aurora_routing.lab import binaries

    program = tmp_path / "mysqld"
    program.write_text("#!/bin/sh\necho 'mysqld  Ver 8.4.0 for Linux on x86_64 (MySQL Community Server)'\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(binaries, "_DIRECTORIES", ())

    with pytest.raises(LabError, match=r"needs MariaDB and found only .*MySQL Community"):
        binaries.find_program()


def test_an_address_this_machine_has_not_is_named_with_the_command() -> None:
    from django_aurora_routing.lab.servers import check_addresses

    with pytest.raises(LabError, match=r"sudo ifconfig lo0 alias 192\.0\.2\.1"):
        check_addresses(["127.0.0.1", "192.0.2.1"])
