"""Forks that come at a bad moment: from any thread, under load, amid a failover, while monitors hold their locks."""

from __future__ import annotations

import json

import pytest

from django_aurora_routing.lab import LocalCluster
from tests.backends.test_failover import kill_and_promote, rows

from .conftest import program, running, said, tell

FORKS, WRITERS = 50, 4
BUSY = f"""
import itertools, json, os, threading, time, traceback
from django.db import connection
from django_aurora_routing import FailoverSuccessError, TransactionResolutionUnknownError

keys, stop, done, surprises = itertools.count(), threading.Event(), [], []

def load():
    while not stop.is_set():
        try:
            insert(next(keys), "parent")
            done.append(1)
        except (FailoverSuccessError, TransactionResolutionUnknownError):
            pass
        except Exception:
            surprises.append(traceback.format_exc())

def child(number):
    try:
        insert(1_000_000 + number, "child")
        os._exit(0)
    except BaseException:
        traceback.print_exc()
        os._exit(1)

def ended(pid):
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        found, status = os.waitpid(pid, os.WNOHANG)
        if found:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.01)
    os.kill(pid, 9)
    os.waitpid(pid, 0)
    return "hangs"

def forks(numbers):
    ask("SELECT 1")  # so that each child inherits a connection from its parent's thread
    pids = []
    for number in numbers:
        if (pid := os.fork()) == 0:
            child(number)
        pids.append(pid)
        time.sleep(0.02)
    codes.extend(map(ended, pids))
    ask("SELECT 1")

def fork_here_or_there(numbers):
    if IN_A_THREAD:
        thread = threading.Thread(target=lambda: (forks(numbers), connection.close()))
        thread.start()
        thread.join()
    else:
        forks(numbers)

codes = []
threads = [threading.Thread(target=load) for _ in range({WRITERS})]
for thread in threads:
    thread.start()
while len(done) < 20:
    time.sleep(0.01)
fork_here_or_there(range({FORKS} // 2))
print("half", flush=True)
assert sys.stdin.readline() == "go\\n"
fork_here_or_there(range({FORKS} // 2, {FORKS}))
assert sys.stdin.readline() == "go\\n"  # the failover is over
count = len(done)
deadline = time.monotonic() + 30
while len(done) < count + 20 and time.monotonic() < deadline:
    time.sleep(0.01)
went_on = len(done) >= count + 20
stop.set()
for thread in threads:
    thread.join(30)
print(json.dumps([codes, surprises, went_on]), flush=True)
"""


@pytest.mark.slow
@pytest.mark.parametrize("in_a_thread", [False, True], ids=["main thread", "another thread"])
def test_fifty_forks_under_load_and_amid_a_failover(cluster: LocalCluster, in_a_thread: bool) -> None:
    body = BUSY.replace("IN_A_THREAD", str(in_a_thread))
    options = {"topology_refresh_ms": 1, "cluster_topology_high_refresh_rate_ms": 1}  # monitors that are never at rest
    with running("-c", program(cluster, body, **options)) as process:
        assert said(process) == "half"
        cluster.writer.kill()
        tell(process)  # children are made while there is no writer
        cluster.promote()
        tell(process)
        codes, surprises, went_on = json.loads(said(process))
        assert process.wait(20) == 0
    assert codes == [0] * FORKS
    assert surprises == []
    assert went_on
    children = cluster.writer.query("SELECT COUNT(*) FROM app.t WHERE v = 'child'")
    assert children == [(FORKS,)]


def test_a_child_of_a_process_that_has_met_the_cluster_needs_host_no_more(cluster: LocalCluster) -> None:
    """As with gunicorn --preload: the parent has used the database, and has closed its connection before it forks."""
    body = """
    import os
    ask("SELECT 1")
    connection.close()
    print("met", flush=True)
    sys.stdin.readline()
    if (pid := os.fork()) == 0:
        insert(1)
        os._exit(0)
    print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), flush=True)
    """
    with running("-c", program(cluster, body)) as process:
        assert said(process) == "met"
        cluster.hold_endpoint()
        kill_and_promote(cluster)
        tell(process)
        assert said(process) == "0"
    assert cluster.writer.query("SELECT id FROM app.t") == [(1,)]


KEPT_CURSOR = """
import os

cursor = connection.cursor()
cursor.execute("SELECT 1")
child = os.fork()
if child == 0:
    cursor.execute("INSERT INTO t VALUES (1, 'a')")
    os._exit(0)
assert os.waitpid(child, 0)[1] == 0
cursor.execute("INSERT INTO t VALUES (2, 'a')")
print("done", flush=True)
"""


def test_a_cursor_that_was_made_before_a_fork_leads_its_child_to_a_connection_of_its_own(cluster: LocalCluster) -> None:
    with running("-c", program(cluster, KEPT_CURSOR)) as process:
        assert said(process) == "done"
    assert rows(cluster) == [1, 2]
