"""The 17 faults that were measured in the AWS wrapper, each with what is right; docs/faults.rst lists them.

Where there is more to a fault than one test says, the list names the others.
"""

from __future__ import annotations

import contextlib
import logging
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from django.core.signals import request_finished, request_started
from django.db import DatabaseError, IntegrityError, OperationalError, close_old_connections, connections, transaction
from django.db.backends.signals import connection_created

from django_aurora_routing import FailoverError, FailoverSuccessError, TransactionResolutionUnknownError
from django_aurora_routing.lab import LocalCluster

from .conftest import ENGINE, Aliases
from .test_all_or_nothing import Row
from .test_failover import (
    FAST_DETECTION,
    execute,
    insert,
    is_clean,
    kill_and_promote,
    promotion_after,
    rows,
    within,
    writer,  # noqa: F401
)
from .test_placement import server_of, wait_until_on

pytestmark = pytest.mark.lab

SETUP = """
import django, logging, sys
from django.conf import settings
{first}
settings.configure(INSTALLED_APPS=["django_aurora_routing"], DATABASES={{"default": dict(
    ENGINE={engine!r}, NAME="app", USER={user!r}, PASSWORD={password!r}, HOST={host!r}, PORT={port}, CONN_MAX_AGE=None,
    OPTIONS=dict(cluster_instance_host_pattern={pattern!r}, failover_timeout_sec=300))}})
django.setup()
from django.db import connection

def execute(sql):
    with connection.cursor() as cursor:
        cursor.execute(sql)

execute("SELECT 1")
print("connected", flush=True)
sys.stdin.readline()
{then}
"""


def process(cluster: LocalCluster, then: str, first: str = "") -> subprocess.Popen[str]:
    """A process of its own that has used the cluster, and goes on with `then` when it is told."""
    endpoint = cluster.writer_endpoint
    source = SETUP.format(
        engine=ENGINE,
        user=cluster.user,
        password=cluster.password,
        host=endpoint.host,
        port=endpoint.port,
        pattern=cluster.host_pattern,
        first=first,
        then=then,
    )
    pipe = subprocess.PIPE
    root = Path(__file__).resolve().parents[2]
    started = subprocess.Popen(
        [sys.executable, "-c", source], cwd=root, stdin=pipe, stdout=pipe, stderr=pipe, text=True
    )
    assert started.stdout is not None
    assert started.stdout.readline() == "connected\n"
    return started


def test_fault_01_an_error_of_the_server_is_djangos_own_for_it(cluster: LocalCluster, writer: str) -> None:  # noqa: F811
    insert(writer, 1)
    with transaction.atomic(using=writer):
        with pytest.raises(IntegrityError), transaction.atomic(using=writer):
            Row.objects.using(writer).create(id=1)
        assert Row.objects.using(writer).get_or_create(id=1)[1] is False
        insert(writer, 2)
    assert rows(cluster) == [1, 2]


@pytest.mark.parametrize("at", ["rest", "work"])
def test_fault_02_a_loss_at_commit_is_recognised_there_and_not_in_the_next_request(
    cluster: LocalCluster,
    writer: str,  # noqa: F811
    at: str,
) -> None:
    timer = threading.Timer(0.3, lambda: kill_and_promote(cluster))
    with pytest.raises(FailoverError) as lost, transaction.atomic(using=writer):
        insert(writer, 1)
        if at == "rest":
            kill_and_promote(cluster)
        else:
            cluster.writer.black_hole()
            timer.start()
    expected = FailoverSuccessError if at == "rest" else TransactionResolutionUnknownError
    assert type(lost.value) is expected
    assert is_clean(writer)
    close_old_connections()
    with transaction.atomic(using=writer):
        insert(writer, 2)
    assert rows(cluster) == [2]


@pytest.mark.parametrize("way", ["a nested block", "a read"])
def test_fault_03_no_transaction_is_commited_by_halves(
    cluster: LocalCluster,
    writer: str,  # noqa: F811
    way: str,
) -> None:
    with pytest.raises(FailoverSuccessError), transaction.atomic(using=writer):
        insert(writer, 1)
        kill_and_promote(cluster)
        with contextlib.suppress(DatabaseError):
            if way == "a read":
                execute(writer, "SELECT * FROM t")
            else:
                with transaction.atomic(using=writer):
                    insert(writer, 2)
        with contextlib.suppress(DatabaseError):  # what was caught is tried again
            insert(writer, 3)
    assert is_clean(writer)
    assert rows(cluster) == []


def test_fault_04_a_frozen_writer_hangs_nobody_and_a_slow_one_doubles_nothing(
    cluster: LocalCluster, aliases: Aliases, table: str
) -> None:
    slow, frozen = aliases.add("slow", read_timeout=1), aliases.add("frozen", **FAST_DETECTION)
    with pytest.raises(TransactionResolutionUnknownError):  # which says: look
        execute(slow, "INSERT INTO t SELECT 1, SLEEP(2)")
    deadline = time.monotonic() + 20
    while rows(cluster) != [1] and time.monotonic() < deadline:
        time.sleep(0.05)
    assert rows(cluster) == [1]

    def work() -> None:
        execute(frozen, "SELECT 1")
        cluster.writer.freeze()
        with promotion_after(cluster, 0.5):
            assert execute(frozen, "SELECT COUNT(*) FROM t") == [(1,)]

    assert within(20, work) is None


def test_fault_05_it_fails_over_where_the_dialect_is_named(cluster: LocalCluster, aliases: Aliases, table: str) -> None:
    alias = aliases.add("w", wrapper_dialect="aurora-mysql", plugins="failover_v2")
    insert(alias, 1)
    kill_and_promote(cluster)
    insert(alias, 2)
    assert rows(cluster) == [1, 2]


def test_fault_06_what_a_failover_raises_is_a_database_error_with_its_cause(
    cluster: LocalCluster,
    writer: str,  # noqa: F811
) -> None:
    connection = connections[writer]
    with pytest.raises(OperationalError) as lost, transaction.atomic(using=writer):
        insert(writer, 1)
        kill_and_promote(cluster)
        try:
            insert(writer, 2)
        finally:
            assert connection.errors_occurred
    assert isinstance(lost.value, FailoverSuccessError)
    assert isinstance(lost.value.__cause__, connection.driver_errors)
    assert issubclass(TransactionResolutionUnknownError, OperationalError)


def test_fault_07_run_it_again_is_said_of_what_did_not_happen_alone(
    cluster: LocalCluster,
    writer: str,  # noqa: F811
) -> None:
    old = cluster.writer
    old.lose_answers()

    def kill_once_it_is_there() -> None:
        deadline = time.monotonic() + 20
        while rows(cluster) != [1] and time.monotonic() < deadline:
            time.sleep(0.01)
        kill_and_promote(cluster)

    killer = threading.Thread(target=kill_once_it_is_there)
    killer.start()
    with pytest.raises(TransactionResolutionUnknownError):
        insert(writer, 1)
    killer.join()
    assert rows(cluster) == [1]


def test_fault_08_a_session_is_after_a_failover_what_it_was_before(
    cluster: LocalCluster, aliases: Aliases, table: str
) -> None:
    created: list[str] = []

    def note(connection: Any, **kwargs: Any) -> None:
        created.append(connection.alias)

    alias = aliases.add("w", isolation_level="read committed")
    asks = "SELECT @@tx_isolation, @@autocommit"
    assert execute(alias, asks) == [("READ-COMMITTED", 1)]
    connection_created.connect(note)
    try:
        kill_and_promote(cluster)
        assert execute(alias, asks) == [("READ-COMMITTED", 1)]
    finally:
        connection_created.disconnect(note)
    assert created == [alias]


def test_fault_09_a_reader_alias_falls_back_to_the_writer_writes_nothing_there_and_comes_back(
    cluster: LocalCluster, aliases: Aliases, table: str
) -> None:
    reader = aliases.add("r", read_only=True)
    server_of(reader)
    readers = cluster.readers
    for instance in readers:
        instance.kill()
    assert server_of(reader) == cluster.writer.id
    with pytest.raises(OperationalError) as refused, connections[reader].cursor() as cursor:
        cursor.execute("INSERT INTO t VALUES (1, 'a')")
    assert refused.value.args[0] == 1792
    readers[0].revive()
    assert wait_until_on(reader, {readers[0].id}) == readers[0].id


@pytest.fixture
def other_cluster() -> Iterator[LocalCluster]:
    with LocalCluster(readers=1) as other:
        yield other


def test_fault_10_two_clusters_share_nothing_and_nobody_has_to_say_so(
    cluster: LocalCluster, other_cluster: LocalCluster, aliases: Aliases, table: str
) -> None:
    other_cluster.writer.query("CREATE TABLE app.t (id INT PRIMARY KEY, v VARCHAR(50))")
    other_cluster.catch_up()
    endpoint = other_cluster.writer_endpoint
    here = aliases.add("here", cluster_id=...)
    there = aliases.add(
        *("there",),
        host=endpoint.host,
        port=endpoint.port,
        cluster_id=...,
        cluster_instance_host_pattern=other_cluster.host_pattern,
    )
    insert(here, 1)
    insert(there, 2)
    known = {alias: connections[alias].known_cluster() for alias in (here, there)}
    assert known[here] is not known[there]
    for alias, its in ((here, cluster), (there, other_cluster)):
        instances = known[alias].view.topology.instances
        assert {instance.address.port for instance in instances} == {its.port}
        assert len(instances) == len(its.instances)
    kill_and_promote(other_cluster)
    insert(there, 3)
    insert(here, 4)
    assert rows(other_cluster) == [2, 3]
    assert rows(cluster) == [1, 4]


def test_fault_11_health_checks_find_the_new_writer(cluster: LocalCluster, aliases: Aliases, table: str) -> None:
    """HOST is an instance here, and it is dead. (How a process starts then is another test's: test_cold_start.)"""
    alias = aliases.add("w", host=cluster.writer.host, CONN_HEALTH_CHECKS=True, CONN_MAX_AGE=None)
    insert(alias, 1)
    request_finished.send(sender=None)
    kill_and_promote(cluster)
    request_started.send(sender=None)
    insert(alias, 2)
    connections[alias].close()
    with transaction.atomic(using=alias):
        insert(alias, 3)
    request_finished.send(sender=None)
    assert rows(cluster) == [1, 2, 3]


def test_fault_12_a_process_ends_while_there_is_no_writer(cluster: LocalCluster, table: str) -> None:
    ending = process(cluster, "sys.exit(7)")
    trying = process(
        cluster,
        "import threading\n"
        "threading.Thread(target=lambda: execute('SELECT 1 FROM t'), daemon=True).start()\n"
        "import time; time.sleep(1); sys.exit(7)",
    )
    try:
        for instance in cluster.instances:
            instance.kill()
        for one in (ending, trying):
            one.communicate("go\n", timeout=15)
            assert one.returncode == 7
    finally:
        for one in (ending, trying):
            one.kill()
            one.wait()


@pytest.mark.parametrize("plugins", ["failover", "failover_v2"])
def test_fault_13_a_planned_switchover_is_followed(
    cluster: LocalCluster, aliases: Aliases, table: str, plugins: str
) -> None:
    alias = aliases.add("w", plugins=plugins)
    insert(alias, 1)
    cluster.promote()
    insert(alias, 2)
    assert rows(cluster) == [1, 2]
    assert server_of(alias) == cluster.writer.id


def test_fault_14_executemany_is_under_the_same_care(cluster: LocalCluster, writer: str) -> None:  # noqa: F811
    killer = threading.Timer(0.3, lambda: kill_and_promote(cluster))
    killer.start()
    with connections[writer].cursor() as cursor:
        with pytest.raises(TransactionResolutionUnknownError):
            cursor.executemany("INSERT INTO t SELECT %s, SLEEP(0.2)", [[key] for key in range(10)])
        killer.join()
        there = rows(cluster)
        assert there == list(range(len(there)))
        cursor.executemany("INSERT INTO t VALUES (%s, 'a')", [[20], [21]])
    assert rows(cluster) == [*there, 20, 21]


def test_fault_15_a_c_extension_that_does_not_load_is_told_of(tmp_path: Path) -> None:
    (tmp_path / "_mysql_connector.py").write_text("raise ImportError('version OPENSSL_3.2.0 not found')")
    source = (
        "import django\nfrom django.conf import settings\n"
        "settings.configure(INSTALLED_APPS=['django_aurora_routing'], DATABASES={'default': "
        "{'ENGINE': 'django_aurora_routing.backends.mysql_connector'}})\n"
        "django.setup()\nfrom django.core.checks import run_checks\n"
        "print(*run_checks(databases=[]), sep='\\n')"  # of itself Django 6.1 asks the databases
    )
    done = subprocess.run(
        [sys.executable, "-c", source],
        cwd=Path(__file__).resolve().parents[2],
        env={**os.environ, "PYTHONPATH": os.fspath(tmp_path)},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    assert "aurora_routing.W001" in done.stdout
    assert "version OPENSSL_3.2.0 not found" in done.stdout


def test_fault_16_a_failover_that_succeeds_logs_no_error_and_leaves_logging_as_it_is(
    cluster: LocalCluster, table: str
) -> None:
    first = "before = logging.StreamHandler(sys.stdout); logging.root.addHandler(before)"
    then = "execute('INSERT INTO t VALUES (1, NULL)'); print('handlers', logging.root.handlers == [before])"
    one = process(cluster, then, first)
    try:
        kill_and_promote(cluster)
        out, err = one.communicate("go\n", timeout=60)
    finally:
        one.kill()
        one.wait()
    assert err == ""
    assert "lost its connection" in out, "a warning, in the application's own log"
    assert "handlers True" in out
    assert rows(cluster) == [1]


def test_fault_16_what_is_logged_is_a_warning(
    cluster: LocalCluster,
    writer: str,  # noqa: F811
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.DEBUG)
    kill_and_promote(cluster)
    insert(writer, 1)
    ours = [record for record in caplog.records if record.name.startswith("django_aurora_routing")]
    assert max(record.levelno for record in ours) == logging.WARNING


@pytest.mark.parametrize("in_block", [False, True], ids=["autocommit", "atomic"])
def test_fault_17_an_iterator_gives_each_row_once_whatever_happens_on_the_way(
    cluster: LocalCluster,
    writer: str,  # noqa: F811
    in_block: bool,
) -> None:
    """A SELECT's rows have all arrived before the first one is given out, so a loss meanwhile costs none of them."""
    cluster.writer.query("INSERT INTO app.t SELECT seq, 'a' FROM app.seq_1_to_20000", database="app")
    cluster.catch_up()
    found: list[int] = []

    def read() -> None:
        for row in Row.objects.using(writer).order_by("id").iterator(chunk_size=100):
            found.append(row.id)
            if len(found) == 5000:
                kill_and_promote(cluster)

    if in_block:
        with pytest.raises(FailoverSuccessError), transaction.atomic(using=writer):
            read()
    else:
        read()
    assert found == list(range(1, 20001))
    assert server_of(writer) == cluster.writer.id
