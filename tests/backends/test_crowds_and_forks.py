"""Crowds and forks: a thousand threads at a failover, tasks, and children that inherit a connected parent."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import textwrap
import threading
import time

import pytest
from asgiref.sync import sync_to_async
from django.db import OperationalError, connections

from django_aurora_routing.cluster.gate import MAX_CONNECTING
from django_aurora_routing.lab import LocalCluster

from .conftest import Aliases, where
from .test_failover import execute, insert, kill_and_promote, promotion_after, rows
from .test_placement import server_of


def test_a_thousand_threads_at_a_failover_all_get_a_connection_without_a_stampede(
    cluster: LocalCluster, aliases: Aliases, table: str
) -> None:
    alias = aliases.add("w", failover_timeout_sec=60)
    server_of(alias)
    connecting, most = 0, [0]
    lock = threading.Lock()
    outcomes: list[str] = []
    hold = threading.Event()

    driver = connections[alias].driver
    plain_connect = type(driver).connect

    def counted(self, *args, **kwargs):  # type: ignore[no-untyped-def]
        nonlocal connecting
        with lock:
            connecting += 1
            most[0] = max(most[0], connecting)
        try:
            return plain_connect(self, *args, **kwargs)
        finally:
            with lock:
                connecting -= 1

    def work() -> None:
        try:
            outcome = server_of(alias)
        except OperationalError as exc:
            outcome = type(exc).__name__
        outcomes.append(outcome)
        hold.wait(90)
        connections[alias].close()

    threads = [threading.Thread(target=work) for _ in range(1000)]
    cluster.writer.kill()
    type(driver).connect = counted  # type: ignore[method-assign]
    try:
        with promotion_after(cluster, 0.5):
            for thread in threads:
                thread.start()
        deadline = time.monotonic() + 90
        while len(outcomes) < 1000 and time.monotonic() < deadline:
            time.sleep(0.05)
    finally:
        type(driver).connect = plain_connect  # type: ignore[method-assign]
        hold.set()
        for thread in threads:
            thread.join(30)
    assert outcomes == [cluster.writer.id] * 1000
    assert most[0] <= MAX_CONNECTING + len(cluster.instances) + 2  # the monitors' own among them


def test_who_waits_for_a_writer_sleeps_until_there_is_news(cluster: LocalCluster, aliases: Aliases, table: str) -> None:
    alias = aliases.add("w")
    server_of(alias)
    known = connections[alias]._search.cluster
    cluster.writer.kill()
    thread = threading.Thread(target=lambda: (insert(alias, 1), connections[alias].close()))
    thread.start()
    time.sleep(1)
    before = known.view.version
    time.sleep(1)  # the readers have been asked about a hundred times by then
    assert known.view.version == before
    cluster.promote()
    thread.join(20)
    assert rows(cluster) == [1]


def test_a_thousand_tasks_at_a_failover(cluster: LocalCluster, aliases: Aliases, table: str) -> None:
    alias = aliases.add("w")

    async def work(key: int) -> None:
        await sync_to_async(insert)(alias, key)

    async def main() -> None:
        await work(0)
        await asyncio.to_thread(cluster.writer.kill)
        promotion = asyncio.create_task(asyncio.to_thread(cluster.promote))
        await asyncio.gather(*(work(key) for key in range(1, 1001)), promotion)
        await sync_to_async(lambda: connections[alias].close())()

    asyncio.run(main())
    assert len(rows(cluster)) == 1001


# A process of its own, since pytest's has threads that must not be forked over. It forks as gunicorn --preload does:
# after having used the database.
CHILD = """
import os, sys, time, threading
sys.path.insert(0, {root!r})
import django
from django.conf import settings
settings.configure(DATABASES={{"default": dict(
    ENGINE={engine!r}, NAME="app", USER={user!r}, PASSWORD={password!r},
    HOST={host!r}, PORT={port}, CONN_MAX_AGE=None,
    OPTIONS=dict(cluster_instance_host_pattern={pattern!r}, failover_timeout_sec=20))}})
django.setup()
from django.db import connection, connections

def use(key):
    with connection.cursor() as cursor:
        cursor.execute("INSERT INTO t VALUES (%s, 'a')", [key])

use(1)
parents = connection.connection
{before_fork}
pids = []
for number in range(3):
    pid = os.fork()
    if pid == 0:
        {in_child}
        began = time.monotonic()
        use(10 + number)
        first = time.monotonic() - began
        assert first < 5, first
        os.write(1, b"ready\\n")  # in one piece, unlike print()
        sys.stdin.readline()
        time.sleep(0.2 * number)
        use(20 + number)
        {exit}
    pids.append(pid)
codes = [os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for pid in pids]
use(2)
print("codes", codes, "same", {same}, flush=True)
"""


@pytest.mark.parametrize(
    ("before_fork", "in_child"),
    [("", "pass"), ("", "connections.close_all()"), ("connection.close()", "pass")],
    ids=["inherits", "closes what it inherits", "parent has closed"],
)
def test_failover_works_in_a_forked_child_as_in_its_parent(
    cluster: LocalCluster, table: str, before_fork: str, in_child: str
) -> None:
    source = CHILD.format(
        **where(cluster),
        before_fork=before_fork,
        exit="os._exit(0)",
        in_child=in_child,
        same="True" if before_fork else "connection.connection is not None",
    )
    process = subprocess.Popen(
        [sys.executable, "-W", "ignore::DeprecationWarning", "-c", textwrap.dedent(source)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        for _ in range(3):
            assert process.stdout.readline() == "ready\n"
        kill_and_promote(cluster)
        process.stdin.write("go\n" * 30)
        process.stdin.close()
        assert process.stdout.readline() == "codes [0, 0, 0] same True\n"
        assert process.wait(20) == 0
    finally:
        process.kill()
        process.wait()
        process.stdout.close()
    assert rows(cluster) == [1, 2, 10, 11, 12, 20, 21, 22]


@pytest.mark.parametrize("way_out", ["os._exit(0)", "sys.exit(0)"])
def test_a_childs_end_leaves_the_parents_session_alone(cluster: LocalCluster, table: str, way_out: str) -> None:
    """Closing an inherited connection says goodbye to the server in the parent's name; we let go of it instead."""
    source = CHILD.format(
        **where(cluster),
        before_fork="",
        exit=way_out,
        in_child="connections.close_all()",
        same="connection.connection is parents",
    )
    done = subprocess.run(
        [sys.executable, "-W", "ignore::DeprecationWarning", "-c", textwrap.dedent(source)],
        input="go\n" * 30,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.stdout.endswith("codes [0, 0, 0] same True\n"), done.stderr


AMID = (
    CHILD[: CHILD.index("use(1)")]
    + """
def sleep():
    with connection.cursor() as cursor:
        cursor.execute("SELECT SLEEP(600)")

use(1)
cluster = connection.known_cluster()
threading.Thread(target=sleep, daemon=True).start()
while not any(activity.busy for activity in cluster.watched()):
    time.sleep(0.01)
if (pid := os.fork()) == 0:
    connections.close_all()
    use(2)
    threads = [thread.name for thread in threading.enumerate()]
    watched = [(activity.busy, activity.inherited) for activity in cluster.watched()]
    print(watched, any(name.startswith("aurora-topology") for name in threads), flush=True)
    os._exit(0)
os.waitpid(pid, 0)
os._exit(0)
"""
)


def test_a_child_has_a_monitor_of_its_own_and_watches_nothing_of_its_parents_threads(
    cluster: LocalCluster, table: str
) -> None:
    source = AMID.format(
        **where(cluster),
    )
    command = [sys.executable, "-W", "ignore::DeprecationWarning", "-c", textwrap.dedent(source)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=30)
    assert done.stdout == "[(False, False)] True\n", done.stderr


AT_EXIT = CHILD[: CHILD.index("use(1)")] + "import atexit; atexit.register(lambda: use(1))"


def test_the_first_query_of_a_process_may_be_its_last(cluster: LocalCluster, table: str) -> None:
    """Python 3.12 starts no thread any more while it ends, so that nobody but the caller can ask what HOST is."""
    source = AT_EXIT.format(
        **where(cluster),
    )
    subprocess.run([sys.executable, "-c", textwrap.dedent(source)], timeout=8, check=True, capture_output=True)
    assert rows(cluster) == [1]


def test_nothing_runs_before_the_first_connection_and_nothing_after_release(
    cluster: LocalCluster, aliases: Aliases
) -> None:
    from django_aurora_routing import release_resources

    def ours() -> list[str]:
        names = [thread.name for thread in threading.enumerate()]
        return [name for name in names if name.startswith("aurora-") and not name.startswith("aurora-lab-")]

    def left_after(seconds: float) -> list[str]:
        deadline = time.monotonic() + seconds
        while ours() and time.monotonic() < deadline:
            time.sleep(0.02)
        return ours()

    assert left_after(5) == []
    alias = aliases.add("w")
    assert connections[alias].connection is None
    assert ours() == []
    execute(alias, "SELECT 1")
    assert any(name.startswith("aurora-topology") for name in ours())
    release_resources()
    assert left_after(5) == []
    assert server_of(alias) == cluster.writer.id


def test_a_search_goes_on_when_the_monitors_are_released_meanwhile(
    cluster: LocalCluster, aliases: Aliases, table: str
) -> None:
    from django_aurora_routing import release_resources

    alias = aliases.add("w")
    server_of(alias)
    cluster.writer.kill()
    thread = threading.Thread(target=lambda: (insert(alias, 1), connections[alias].close()))
    thread.start()
    time.sleep(0.5)
    release_resources()
    cluster.promote()
    thread.join(10)
    assert not thread.is_alive()
    assert rows(cluster) == [1]
