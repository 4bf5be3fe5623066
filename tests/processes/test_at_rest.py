"""At rest a process has one thread and one session of its own for a cluster, however many connections there are."""

from __future__ import annotations

import json
import time

import pytest

from django_aurora_routing.lab import LocalCluster

from .conftest import program, running, said, tell

pytestmark = pytest.mark.slow
USER = "rested"  # who nobody else is, so that its sessions can be counted
THREADS = 3

USE = f"""
import json, threading
from django.db import connections

default = connections.settings["default"]
connections.settings["reader"] = {{**default, "OPTIONS": {{**default["OPTIONS"], "read_only": True}}}}
connected, ended = threading.Barrier({THREADS + 1}), threading.Event()

def use():
    for alias in ALIASES:
        with connections[alias].cursor() as cursor:
            cursor.execute("SELECT 1")
    connected.wait()
    ended.wait()

threads = [threading.Thread(target=use, daemon=True) for _ in range({THREADS})]
for thread in threads:
    thread.start()
connected.wait()
for line in sys.stdin:
    others = {{*threading.enumerate()}} - {{*threads, threading.main_thread()}}
    print(json.dumps(sorted(thread.name for thread in others)), flush=True)
"""


def sessions(cluster: LocalCluster) -> int:
    count = "SELECT COUNT(*) FROM information_schema.processlist WHERE user = %s"
    return sum(int(instance.query(count, [USER])[0][0]) for instance in cluster.instances)


@pytest.mark.parametrize(
    ("options", "aliases", "at_rest"),
    [({}, ["default", "reader"], ["aurora-topology"]), ({"plugins": ""}, ["default", "reader"], [])],
    ids=["everything on", "no plugins"],
)
def test_what_there_is_at_rest(
    cluster: LocalCluster, options: dict[str, str], aliases: list[str], at_rest: list[str]
) -> None:
    cluster.writer.query(f"CREATE OR REPLACE USER {USER} IDENTIFIED BY 'at rest'")
    cluster.writer.query(f"GRANT ALL ON *.* TO {USER}")
    cluster.catch_up()
    source = program(cluster, f"ALIASES = {aliases!r}" + USE, user=USER, password="at rest", **options)
    with running("-c", source) as process:
        deadline = time.monotonic() + 30  # the host monitor looks for ten seconds after the last statement
        while True:
            tell(process)
            there = [name.split()[0] for name in json.loads(said(process))]
            if there == at_rest or time.monotonic() > deadline:
                break
            time.sleep(0.1)
        assert there == at_rest
        assert sessions(cluster) == THREADS * len(aliases) + len(at_rest)
