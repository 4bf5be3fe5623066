"""gunicorn and Celery as they are run: a master that has used the database forks workers, and all of them fail over."""

from __future__ import annotations

import contextlib
import importlib.util
import re
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from django_aurora_routing.lab import LocalCluster
from tests.backends.conftest import ON_MYSQLCLIENT
from tests.backends.test_failover import kill_and_promote, rows

from .conftest import program, running

WORKERS = 2
SITE = """
import logging, os, time
logging.basicConfig(level=logging.ERROR)
from django.core.wsgi import get_wsgi_application
from django.db import connection, transaction
from django.http import HttpResponse
from django.urls import path

def order(request, key):
    until = time.monotonic() + 0.03
    while time.monotonic() < until:
        pass  # so that no worker takes them all, not even one that would see to another request while this one sleeps
    insert(key, f"{ask('SELECT CONNECTION_ID()')[0][0]} {os.getpid()}")
    return HttpResponse(str(os.getpid()))

def order_in_a_transaction(request, key):
    with transaction.atomic():
        return order(request, key)

urlpatterns = [path("<int:key>", order), path("atomic/<int:key>", order_in_a_transaction)]
ask("SELECT 1")  # the master has met the cluster before it forks, and its children inherit the connection
application = get_wsgi_application()
"""


def needs(package: str) -> pytest.MarkDecorator:
    return pytest.mark.skipif(importlib.util.find_spec(package) is None, reason=f"{package} is not installed")


def master_and_workers(process: subprocess.Popen[str]) -> set[int]:
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
    return {process.pid, *map(int, children.read_text().split())} if children.exists() else {process.pid}


def eventually(is_so: Callable[[], bool], seconds: float = 30.0) -> bool:
    deadline = time.monotonic() + seconds
    while not is_so() and time.monotonic() < deadline:
        time.sleep(0.02)
    return is_so()


def is_alive(pid: int) -> bool:
    return Path(f"/proc/{pid}").exists()


@contextlib.contextmanager
def ended_by_sigterm(process: subprocess.Popen[str], code: int) -> Iterator[None]:
    """The block, then SIGTERM, and nothing is left."""
    yield
    everybody = master_and_workers(process)
    process.send_signal(signal.SIGTERM)
    assert process.wait(20) == code
    assert eventually(lambda: not any(map(is_alive, everybody)), 5)


class Visitors:
    """Those who ask a server at `url` for its pages, six at a time; each time an order is made."""

    def __init__(self, url: str, pool: ThreadPoolExecutor) -> None:
        self.orders = 0
        self._url = url
        self._pool = pool

    def workers(self, page: str = "") -> set[int]:
        """Visit until all workers have answered, and each connection of theirs has been used; who has answered."""
        seen: set[int] = set()
        for _ in range(20):
            numbers = range(self.orders, self.orders + 6)
            self.orders += 6
            seen.update(self._pool.map(self._visit, [f"{self._url}/{page}{number}" for number in numbers]))
            if len(seen) == WORKERS:
                break
        return seen

    def _visit(self, url: str) -> int:
        with urllib.request.urlopen(url, timeout=60) as response:
            return int(response.read())


def has_session_of_its_own(cluster: LocalCluster) -> bool:
    """Whether each worker has written in sessions that no other has written in."""
    pairs = {tuple(text.split()) for (text,) in cluster.writer.query("SELECT v FROM app.t")}
    return len(pairs) == len({session for session, _ in pairs}) > 0


@needs("gunicorn")
@pytest.mark.parametrize("workers", ["sync", "gthread", "gevent"])
def test_all_workers_of_gunicorn_preload_go_on(cluster: LocalCluster, tmp_path: Path, workers: str) -> None:
    if workers == "gevent" and (ON_MYSQLCLIENT or importlib.util.find_spec("gevent") is None):
        pytest.skip("needs gevent, of which mysqlclient knows nothing")
    (tmp_path / "site_of_test.py").write_text(program(cluster, SITE))
    if workers == "gevent":  # before Django is imported, whose connections would else be one for all greenlets
        (tmp_path / "gunicorn.conf.py").write_text("from gevent import monkey; monkey.patch_all()")
    server = ("-m", "gunicorn", "--preload", "--workers", str(WORKERS), "--worker-class", workers)
    options = ("--bind", "127.0.0.1:0", "--threads", "2", "site_of_test:application")
    log: list[str] = []
    with ThreadPoolExecutor(8) as pool, running(*server, *options, cwd=tmp_path, stderr=subprocess.PIPE) as process:
        assert process.stderr is not None
        while not (found := re.search(r"Listening at: (http://127\.0\.0\.1:\d+)", "".join(log[-1:]))):
            log.append(process.stderr.readline())
            assert log[-1], log
        drain = pool.submit(lambda: log.extend(process.stderr or ()))
        with ended_by_sigterm(process, 0):
            visitors = Visitors(found[1], pool)
            before = visitors.workers()
            assert len(before) == WORKERS, log
            assert has_session_of_its_own(cluster)
            kill_and_promote(cluster)
            assert visitors.workers() == before
            kill_and_promote(whole(cluster))
            assert visitors.workers("atomic/") == before
        drain.result(10)
    assert not [line for line in log if "Traceback" in line or "ERROR" in line], "".join(log)
    assert len(rows(cluster)) == visitors.orders


@needs("pyuwsgi")
@pytest.mark.parametrize(
    "told",
    [
        pytest.param((), id="python is not told"),
        pytest.param(
            ("--py-call-osafterfork",),
            id="python is told",
            marks=pytest.mark.skipif(sys.version_info >= (3, 13), reason="no worker of uWSGI 2.0.30 answers with it"),
        ),
    ],
)
def test_all_workers_of_uwsgi_go_on(cluster: LocalCluster, tmp_path: Path, told: tuple[str, ...]) -> None:
    (tmp_path / "site_of_test.py").write_text(program(cluster, SITE))
    server = ("-c", "import sys, pyuwsgi; pyuwsgi.run(sys.argv[1:])", "--master", "--processes", str(WORKERS))
    options = ("--enable-threads", "--http-socket", "127.0.0.1:0", "--die-on-term")
    with (
        (tmp_path / "log").open("w") as out,
        ThreadPoolExecutor(6) as pool,
        running(
            *server, *options, *told, "--wsgi-file", "site_of_test.py", cwd=tmp_path, stdout=out, stderr=out
        ) as process,
    ):
        log = tmp_path / "log"
        assert eventually(lambda: "spawned uWSGI worker 2" in log.read_text()), log.read_text()
        found = re.search(r"bound to TCP address (127\.0\.0\.1:\d+)", log.read_text())
        assert found is not None, log.read_text()
        with ended_by_sigterm(process, 0):
            visitors = Visitors(f"http://{found[1]}", pool)
            before = visitors.workers()
            assert len(before) == WORKERS
            assert has_session_of_its_own(cluster)
            assert process.pid not in before
            kill_and_promote(cluster)
            assert visitors.workers("atomic/") == before
    assert "Traceback" not in log.read_text()
    assert len(rows(cluster)) == visitors.orders


def whole(cluster: LocalCluster) -> LocalCluster:
    cluster.heal()
    return cluster


TASKS = """
import os, time
import celery
app = celery.Celery("tasks", broker="filesystem://")
app.conf.broker_transport_options = {
    "data_folder_in": "queue", "data_folder_out": "queue", "control_folder": "control", "polling_interval": 0.05,
}
app.conf.worker_prefetch_multiplier = 1

@app.task(name="order")
def order(key):
    time.sleep(0.05)
    insert(key, os.getpid())

urlpatterns = []  # Celery has Django look at the project
ask("SELECT 1")
"""


@needs("celery")
def test_all_children_of_a_celery_worker_go_on(cluster: LocalCluster, tmp_path: Path) -> None:
    import celery

    (tmp_path / "queue").mkdir()
    (tmp_path / "control").mkdir()
    (tmp_path / "tasks_of_test.py").write_text(program(cluster, TASKS))
    folders = {name: str(tmp_path / "queue") for name in ("data_folder_in", "data_folder_out")}
    app = celery.Celery("sender", broker="filesystem://", set_as_current=False)
    app.conf.broker_transport_options = {**folders, "control_folder": str(tmp_path / "control")}

    def send(start: int) -> None:
        for key in range(start, start + 20):
            app.send_task("order", (key,))

    def workers(process: subprocess.Popen[str], first: int) -> set[str]:
        """Queue orders and wait until all are there, until each child has had its share; who has made them."""
        seen: set[str] = set()
        for start in range(first, first + 200, 20):
            if start:
                # A reader of this broker may take a message that is still being written, and gives up then.
                process.send_signal(signal.SIGSTOP)
                send(start)
                process.send_signal(signal.SIGCONT)
            made = f"SELECT v FROM app.t WHERE id >= {start}"
            assert eventually(lambda made=made: len(cluster.writer.query(made)) == 20), log.read_text()  # type: ignore[misc]
            seen |= {str(pid) for (pid,) in cluster.writer.query(made)}
            if len(seen) >= WORKERS:
                break
        return seen

    send(0)
    log = tmp_path / "log"
    worker = ("-m", "celery", "-A", "tasks_of_test", "worker", "--pool", "prefork", "--concurrency", str(WORKERS))
    quiet = ("--without-gossip", "--without-mingle", "--without-heartbeat", "--loglevel", "WARNING")
    with (
        log.open("w") as out,
        running(*worker, *quiet, cwd=tmp_path, stdout=out, stderr=out) as process,
        ended_by_sigterm(process, 0),
    ):
        before = workers(process, 0)
        assert len(before) == WORKERS
        kill_and_promote(cluster)
        assert workers(process, 1000) == before
    assert "Traceback" not in log.read_text()
