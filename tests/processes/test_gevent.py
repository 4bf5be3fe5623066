"""gevent: in a monkey-patched process our monitors are greenlets among others, and hold nobody up."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from pathlib import Path

import pytest

from django_aurora_routing.lab import LocalCluster
from tests.backends.conftest import ON_MYSQLCLIENT
from tests.backends.test_failover import FAST_DETECTION, kill_and_promote, rows

from .conftest import program, running, said, tell

pytestmark = [
    pytest.mark.skipif(importlib.util.find_spec("gevent") is None, reason="gevent is not installed"),
    # It waits inside its C library, where no greenlet can be switched: gevent's users take another driver.
    pytest.mark.skipif(ON_MYSQLCLIENT, reason="mysqlclient knows nothing of gevent"),
]

GREENLETS = 50
PATCHED = "from gevent import monkey; monkey.patch_all()\n"
CROWD = f"""
import json, os, sys, time
import gevent
from django.db import connection

gaps = [0.0]

def tick():
    last = time.monotonic()
    while True:
        gevent.sleep(0.01)
        now = time.monotonic()
        gaps.append(now - last - 0.01)
        last = now

def first(key):
    insert(key)

def second(key):
    try:
        USE
    except Exception as exc:
        outcomes.append(f"{{type(exc).__name__}}: {{exc}}")
    else:
        outcomes.append("done")

def work(key):
    first(key)
    met.append(key)
    go.wait()
    second(key)
    connection.close()

outcomes, met, go = [], [], gevent.event.Event()
ticker = gevent.spawn(tick)
workers = [gevent.spawn(work, key) for key in range({GREENLETS})]
while len(met) < {GREENLETS}:
    gevent.sleep(0.01)
assert not any(worker.dead for worker in workers)
del gaps[:]
print("ready", flush=True)
assert gevent.get_hub().threadpool.apply(sys.stdin.readline) == "go\\n"
go.set()
began = time.monotonic()
gevent.joinall(workers)
print(json.dumps([sorted(set(outcomes)), len(outcomes), max(gaps), time.monotonic() - began]), flush=True)
"""


@pytest.mark.parametrize("fault", ["kill", "freeze"])
def test_a_crowd_of_greenlets_goes_on_and_others_are_not_held_up(cluster: LocalCluster, fault: str) -> None:
    use = "insert(100 + key)" if fault == "kill" else "ask('SELECT COUNT(*) FROM t')"
    source = program(cluster, CROWD.replace("USE", use), before=PATCHED, **FAST_DETECTION)
    with running("-c", source) as process:
        assert said(process) == "ready"
        if fault == "kill":
            kill_and_promote(cluster)
        else:
            cluster.writer.freeze()
            cluster.promote()
        tell(process)
        outcomes, number, longest_gap, seconds = json.loads(said(process))
        assert process.wait(20) == 0
    assert (outcomes, number) == (["done"], GREENLETS)
    assert seconds < 20
    assert longest_gap < 1.0
    assert len(rows(cluster)) == (2 if fault == "kill" else 1) * GREENLETS
    print(
        f"{fault}: {GREENLETS} greenlets after {seconds:.2f} s; the longest time without a tick was {longest_gap:.3f} s"
    )


CARRIED = """
import os, time
from django_aurora_routing.cluster.executor import BackgroundThread
from django_aurora_routing.drivers.watchdog import WATCHDOG

class Owner:
    def turn(self):
        turns.append(os.getpid())
        return 0.05 if len(turns) < 5 else None

turns, owner = [], Owner()
thread = BackgroundThread("aurora-test", owner, Owner.turn)
thread.wake()
with WATCHDOG.after(60, print):
    pass
time.sleep(0.02)
child = os.fork()
if child == 0:
    time.sleep(2)  # longer than it takes both to come to their ends
    os._exit(os.getpid() in turns)
assert os.waitpid(child, 0)[1] == 0
print("done", flush=True)
"""


def test_a_fork_carries_no_working_monitor_along() -> None:
    """A greenlet is there in the child, too; nothing of it is to be seen, not even its end."""
    root = Path(__file__).resolve().parents[2]
    ran = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", PATCHED + CARRIED], cwd=root, capture_output=True, text=True, timeout=60
    )
    assert (ran.stdout, ran.stderr) == ("done\n", "")
