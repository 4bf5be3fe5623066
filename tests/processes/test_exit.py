"""Exit: a process ends when it is told to, with its own exit code, also while there is no writer to be had."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable

import pytest

from django_aurora_routing.lab import LocalCluster

from .conftest import program, running, said, tell

SOON = 8  # seconds, on a busy machine; who waits for a writer would wait for 60
MET = """
import atexit, os, signal, threading, time
ask("SELECT 1")
"""
READY = """
print("ready", flush=True)
sys.stdin.readline()
"""


def kill_all(cluster: LocalCluster) -> None:
    for instance in cluster.instances:
        instance.kill()


def freeze_all(cluster: LocalCluster) -> None:
    for instance in cluster.instances:
        instance.freeze()


ENDS = {
    "at rest": ("", 0),
    "at rest, by sys.exit()": ("sys.exit(3)", 3),
    "by an error": ("raise SystemError", 1),
    "while a thread waits": (
        "threading.Thread(target=insert, args=(1,), daemon=True).start(); time.sleep(1); sys.exit(3)",
        3,
    ),
    "sys.exit() in an exit handler": ("atexit.register(sys.exit, 5)", 0),
    "after release_resources()": (
        "from django_aurora_routing import release_resources; release_resources(); sys.exit(3)",
        3,
    ),
}


@pytest.mark.parametrize("fault", [kill_all, freeze_all])
@pytest.mark.parametrize("end", ENDS)
def test_a_process_ends_at_once_where_there_is_no_writer(
    cluster: LocalCluster, fault: Callable[[LocalCluster], None], end: str
) -> None:
    body, code = ENDS[end]
    source = program(cluster, MET + READY + body, failover_timeout_sec=60)
    with running("-c", source) as process:
        assert said(process) == "ready"
        fault(cluster)
        tell(process)
        began = time.monotonic()
        assert process.wait(30) == code
        assert time.monotonic() - began < SOON


HANDLER = "signal.signal(signal.SIGTERM, lambda *_: sys.exit(4))\n"


@pytest.mark.parametrize(
    ("handler", "number", "code"),
    [
        ("", signal.SIGTERM, -signal.SIGTERM),
        (HANDLER, signal.SIGTERM, 4),
        ("signal.signal(signal.SIGINT, signal.default_int_handler)\n", signal.SIGINT, -signal.SIGINT),
    ],
    ids=["SIGTERM", "SIGTERM that exits", "Ctrl-C"],
)
@pytest.mark.parametrize("body", ["insert(1)", "time.sleep(60)"], ids=["waiting", "at rest"])
def test_a_signal_ends_it(cluster: LocalCluster, body: str, handler: str, number: int, code: int) -> None:
    with running("-c", program(cluster, MET + handler + READY + body, failover_timeout_sec=60)) as process:
        assert said(process) == "ready"
        kill_all(cluster)
        tell(process)
        time.sleep(1)
        began = time.monotonic()
        process.send_signal(number)
        assert process.wait(30) == code
        assert time.monotonic() - began < SOON


def test_a_query_in_an_exit_handler_ends_with_its_timeout(cluster: LocalCluster) -> None:
    """From Python 3.12 on no thread can be started then, so that nobody looks for a writer."""
    source = program(cluster, MET + "atexit.register(insert, 1)\n" + READY, failover_timeout_sec=2)
    with running("-c", source) as process:
        assert said(process) == "ready"
        kill_all(cluster)
        tell(process)
        began = time.monotonic()
        assert process.wait(30) == 0
        assert time.monotonic() - began < 2 + SOON


def test_a_thread_that_python_waits_for_is_waited_for_no_longer_than_its_timeout(cluster: LocalCluster) -> None:
    """One that is no daemon, which Python itself waits for, as for any statement under way."""
    body = "threading.Thread(target=insert, args=(1,)).start()"
    with running("-c", program(cluster, MET + READY + body, failover_timeout_sec=2)) as process:
        assert said(process) == "ready"
        kill_all(cluster)
        tell(process)
        began = time.monotonic()
        assert process.wait(30) == 0
        assert time.monotonic() - began < 2 + SOON


def test_it_ends_as_well_where_it_never_met_anybody(cluster: LocalCluster) -> None:
    cluster.writer.black_hole()
    body = (
        "import threading, time; threading.Thread(target=ask, args=('SELECT 1',), daemon=True).start(); time.sleep(1)"
    )
    with running("-c", program(cluster, body, connect_timeout=60, hosts=["127.0.0.99"])) as process:
        began = time.monotonic()
        assert process.wait(40) == 0
        assert time.monotonic() - began < 2 + SOON


def test_a_first_query_in_an_exit_handler_asks_one_name_after_the_other(cluster: LocalCluster) -> None:
    """Also from Python 3.12 on, in the thread that wants the answer."""
    out, reader = cluster.readers
    out.black_hole()
    options = {"hosts": ["127.0.0.99", reader.host], "connect_timeout": 6}
    source = program(cluster, "import atexit; atexit.register(insert, 1)", **options)
    source = source.replace(cluster.writer_endpoint.host, out.host)
    with running("-c", source) as process:
        assert process.wait(30) == 0
    assert cluster.writer.query("SELECT id FROM app.t") == [(1,)]
