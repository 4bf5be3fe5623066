"""OPTIONS["pool"]: sessions that are used again, and those that are not handed out any more; on real servers."""

from __future__ import annotations

import asyncio
import gc
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from asgiref.sync import sync_to_async
from django.core.exceptions import ImproperlyConfigured
from django.db import OperationalError, connections, transaction
from django.test import override_settings

from django_aurora_routing import (
    FailoverFailedError,
    PoolExhaustedError,
    current_alias,
    in_database,
    release_resources,
)
from django_aurora_routing.cluster import pools as room
from django_aurora_routing.lab import LocalCluster, LocalServer
from django_aurora_routing.lab.login_proxy import LoginProxy

from .conftest import Aliases, where
from .test_failover import execute, insert, rows
from .test_switchover_under_load import Load

pytestmark = pytest.mark.lab

SESSION = "SELECT CONNECTION_ID()"


@pytest.fixture
def add(aliases: Aliases) -> Iterator[Callable[..., str]]:
    """Adds an alias that has a pool."""
    added: list[str] = []

    def add(alias: str, pool: Any = True, **conf: Any) -> str:
        added.append(aliases.add(alias, pool=pool, **{"CONN_MAX_AGE": 0, **conf}))
        return alias

    yield add
    for alias in added:
        connections[alias].close()
        connections[alias].close_pool()


def session_of(alias: str, *, close: bool = True) -> int:
    found = int(execute(alias, SESSION)[0][0])
    if close:
        connections[alias].close()
    return found


def in_a_thread(work: Callable[[], Any]) -> Any:
    found: list[Any] = []

    def run() -> None:
        try:
            found.append(work())
        except Exception as exc:  # noqa: BLE001 - handed to the test
            found.append(exc)
        connections.close_all()

    thread = threading.Thread(target=run)
    thread.start()
    thread.join(30)
    return found[0]


def idle(alias: str) -> int:
    return len(room._known[alias]._idle)


# -- reuse


@pytest.mark.parametrize(
    "conf",
    [{}, {"read_only": True}, {"plugins": ""}, {"endpoint_substitution_role": "none"}],
    ids=["writer", "reader", "no plugins", "HOST itself"],
)
def test_a_session_that_was_closed_is_the_next_one_for_any_thread(add: Callable[..., str], conf: Any) -> None:
    alias = add("pooled", reader_host_selector_strategy="round_robin", **conf)

    def where() -> tuple[int, int]:
        (found,) = execute(alias, "SELECT @@server_id, CONNECTION_ID()")
        return found

    found = {in_a_thread(where) for _ in range(6)}
    assert len(found) == len({server for server, _ in found}) == (2 if "read_only" in conf else 1)


def test_at_host_itself_a_session_is_known_by_the_instance_that_it_is_on(
    cluster: LocalCluster, add: Callable[..., str]
) -> None:
    alias = add("pooled", endpoint_substitution_role="none")
    session, place = session_of(alias), connections[alias].instance
    assert session_of(alias) == session
    assert connections[alias].instance == place == connections[alias].known_cluster().view.topology.writer.address
    connections[alias].known_cluster().suspect(place, "somebody's connection was lost")
    assert session_of(alias) != session


def test_what_is_in_use_is_nobody_elses(add: Callable[..., str]) -> None:
    alias = add("pooled")
    mine = session_of(alias, close=False)
    assert in_a_thread(lambda: session_of(alias)) != mine
    connections[alias].close()
    assert in_a_thread(lambda: session_of(alias)) == mine  # the one that was given back last


def test_threads_of_async_code_share_the_pool(add: Callable[..., str]) -> None:
    alias = add("pooled")

    async def main() -> set[int]:
        return {await sync_to_async(session_of, thread_sensitive=thread)(alias) for thread in (True, False, True)}

    assert len(asyncio.run(main())) == 1


def test_no_more_are_kept_than_pool_size(cluster: LocalCluster, add: Callable[..., str]) -> None:
    alias = add("pooled", {"pool_size": 2, "max_overflow": 2})
    barrier = threading.Barrier(4)

    def work() -> None:
        session_of(alias, close=False)
        barrier.wait(20)

    threads = [threading.Thread(target=lambda: (work(), connections.close_all())) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert idle(alias) == 2


def test_an_exhausted_pool_says_what_to_do(add: Callable[..., str]) -> None:
    alias = add("pooled", {"pool_size": 1, "max_overflow": 0, "timeout": 0.05})
    session_of(alias, close=False)
    error = in_a_thread(lambda: session_of(alias))
    assert isinstance(error, PoolExhaustedError)
    assert "max_overflow" in str(error)
    connections[alias].close()
    assert isinstance(in_a_thread(lambda: session_of(alias)), int)


def test_who_waits_gets_what_another_gives_back(add: Callable[..., str]) -> None:
    alias = add("pooled", {"pool_size": 1, "max_overflow": 0, "timeout": 20})
    mine, found = session_of(alias, close=False), []
    thread = threading.Thread(target=lambda: found.append(session_of(alias)))
    thread.start()
    connections[alias].close()
    thread.join(20)
    assert found == [mine]


def test_a_thread_that_ends_without_closing_leaves_its_place(add: Callable[..., str]) -> None:
    alias = add("pooled", {"pool_size": 1, "max_overflow": 0, "timeout": 5})
    thread = threading.Thread(target=session_of, args=(alias,), kwargs={"close": False})
    thread.start()
    thread.join()
    gc.collect()
    assert session_of(alias) > 0


def test_an_old_session_is_not_handed_out(add: Callable[..., str]) -> None:
    alias = add("pooled", {"max_lifetime": 0.001})
    assert session_of(alias) != session_of(alias)


# -- as new

DIRT = (
    "SET SESSION TRANSACTION ISOLATION LEVEL SERIALIZABLE",
    "SET time_zone = '+05:00', foreign_key_checks = 0, sql_mode = '', @mine = 4",
    "SET NAMES latin1",
    "SELECT LAST_INSERT_ID(77)",
    "SELECT GET_LOCK('mine', 1)",
    "CREATE TEMPORARY TABLE app.mine (id INT)",
    "PREPARE mine FROM 'SELECT 1'",
    "LOCK TABLES app.t WRITE",
    "SET SESSION TRANSACTION READ ONLY",
)
STATE = (
    "SELECT DATABASE(), CURRENT_ROLE(), @@session.time_zone, @@session.foreign_key_checks, @@session.sql_mode, @mine, "
    "LAST_INSERT_ID(), IS_USED_LOCK('mine'), @@session.tx_isolation, @@session.tx_read_only, @@autocommit, "
    "@@character_set_client, @@character_set_results, @@collation_connection, @@session.lock_wait_timeout"
)


@pytest.mark.parametrize("plugins", ["failover_v2", ""])
def test_nothing_of_one_user_is_there_for_the_next(add: Callable[..., str], table: str, plugins: str) -> None:
    alias = add("pooled", plugins=plugins, init_command="SET lock_wait_timeout = 77", isolation_level="repeatable read")
    before, session = execute(alias, STATE)[0], session_of(alias, close=False)
    for statement in DIRT:
        execute(alias, statement)
    connections[alias].close()
    assert session_of(alias, close=False) == session
    assert execute(alias, STATE)[0] == before
    assert before[8] == "REPEATABLE-READ"
    for gone in ("SELECT * FROM mine", "EXECUTE mine"):
        with pytest.raises(Exception, match=r"doesn't exist|Unknown prepared"):
            execute(alias, gone)
    insert(alias, 1)  # no lock of a table, and no read-only mode


@pytest.mark.parametrize("leftover", ["USE mysql", "SET ROLE reporting"])
def test_what_no_reset_takes_back_ends_the_session(
    cluster: LocalCluster, add: Callable[..., str], leftover: str
) -> None:
    cluster.writer.query("CREATE OR REPLACE ROLE reporting")
    cluster.writer.query(f"GRANT reporting TO '{cluster.user}'@'%'")
    alias = add("pooled")
    session = session_of(alias, close=False)
    execute(alias, leftover)
    connections[alias].close()
    assert session_of(alias, close=False) != session
    assert execute(alias, "SELECT DATABASE(), CURRENT_ROLE()") == [("app", None)]


def test_a_transaction_that_was_left_open_is_rolled_back(
    cluster: LocalCluster, add: Callable[..., str], table: str
) -> None:
    alias = add("pooled")
    execute(alias, "SELECT 1")
    connections[alias].set_autocommit(False)
    insert(alias, 1)
    connections[alias].close()
    assert execute(alias, "SELECT @@autocommit") == [(1,)]
    assert rows(cluster) == []


def test_a_session_that_is_closed_in_a_block_is_not_kept(
    cluster: LocalCluster, add: Callable[..., str], table: str
) -> None:
    alias = add("pooled")
    with transaction.atomic(using=alias):
        session = session_of(alias, close=False)
        insert(alias, 1)
        connections[alias].close()
        with pytest.raises(Exception, match=r"."):
            execute(alias, "SELECT 1")
    assert session_of(alias) != session
    assert rows(cluster) == []


def test_a_cursor_that_was_kept_reaches_no_session_of_another(add: Callable[..., str]) -> None:
    alias = add("pooled")
    cursor = connections[alias].cursor()
    connections[alias].close()
    with pytest.raises(OperationalError):
        cursor.execute("SET @mine = 4")
    assert execute(alias, "SELECT @mine") == [(None,)]


# -- what is not handed out any more


def test_nothing_that_is_older_than_a_failover_is_handed_out(
    cluster: LocalCluster, add: Callable[..., str], table: str
) -> None:
    alias, other = add("pooled"), add("other", failure_detection_time_ms=100, failure_detection_count=1)
    session_of(alias)
    kept = next(iter(room._known[alias]._idle.values()))
    former = cluster.writer
    former.freeze()  # nobody says goodbye, so that nothing is to be seen at the socket
    cluster.promote()
    insert(other, 1)  # somebody else has met the failover
    assert not connections[alias].driver.look(kept.connection)(0)
    insert(alias, 2)
    assert connections[alias].instance.host == cluster.writer.host
    former.thaw()
    assert rows(cluster) == [1, 2]
    assert room._known[alias]._idle == {}


def test_a_write_that_a_kept_session_refuses_is_a_failover(
    cluster: LocalCluster, add: Callable[..., str], table: str
) -> None:
    alias = add("pooled", failover_timeout_sec=1)
    session = session_of(alias)
    assert session_of(alias, close=False) == session
    cluster.writer.query("SET GLOBAL read_only = 1")
    try:
        with pytest.raises(FailoverFailedError), transaction.atomic(using=alias):
            execute(alias, "SELECT 1")
            insert(alias, 1)
    finally:
        cluster.writer.query("SET GLOBAL read_only = 0")


def test_a_failover_under_load_is_not_seen_in_autocommit(
    cluster: LocalCluster, add: Callable[..., str], table: str
) -> None:
    writer, reader = add("w"), add("r", read_only=True)
    keys = iter(range(1, 1_000_000))

    def write(_: int) -> None:
        execute(writer, "INSERT INTO t VALUES (%s, 'a') ON DUPLICATE KEY UPDATE v = 'b'", [next(keys)])
        connections[writer].close()

    def read(_: int) -> None:
        execute(reader, "SELECT COUNT(*) FROM t")
        connections[reader].close()

    load = Load()
    for number in range(3):
        load.add(f"w{number}", write)
        load.add(f"r{number}", read)
    with load:
        load.wait_for_more(20)
        cluster.promote()  # a planned one: of unknown fate is no write
        load.wait_for_more(20)
    assert load.errors == []


def test_one_session_that_ended_by_itself_takes_the_idle_ones_along(
    cluster: LocalCluster, add: Callable[..., str]
) -> None:
    alias = add("pooled", plugins="")
    session = session_of(alias)
    cluster.writer.query(f"KILL {session}")
    assert session_of(alias) != session  # seen at the socket, without an error


def test_a_health_check_asks_for_the_role(cluster: LocalCluster, add: Callable[..., str]) -> None:
    strict = {"read_only": True, "failover_mode": "strict_reader", "reader_host_selector_strategy": "round_robin"}
    alias = add("pooled", CONN_HEALTH_CHECKS=True, **strict)

    def reader() -> str:
        host = execute(alias, "SELECT 1") and connections[alias].instance.host
        connections[alias].close()
        return host

    first = reader()
    changed = next(instance for instance in cluster.readers if instance.host == first)
    changed.query("SET GLOBAL read_only = 0")
    try:
        assert changed.host not in {reader() for _ in range(4)}
    finally:
        changed.query("SET GLOBAL read_only = 1")


# -- credentials


def test_each_new_session_has_a_token_of_now(with_iam: Callable[..., str], door: LoginProxy) -> None:
    door.check.longest = 5
    alias = with_iam("pooled", iam_expiration=2, pool=True, CONN_MAX_AGE=0)
    session_of(alias)
    time.sleep(2.1)
    assert in_a_thread(lambda: session_of(alias)) > 0  # kept: it needs no token
    held = session_of(alias, close=False)
    assert in_a_thread(lambda: session_of(alias)) != held
    tokens = {attempt.token for attempt in door.attempts if not attempt.problem}
    assert len(tokens) >= 2
    connections[alias].close()
    connections[alias].close_pool()


def test_another_password_in_the_settings_is_another_pool(cluster: LocalCluster, add: Callable[..., str]) -> None:
    cluster.writer.query("CREATE OR REPLACE USER mover IDENTIFIED BY 'first'")
    cluster.writer.query("GRANT SELECT ON *.* TO mover")
    alias = add("pooled", USER="mover", PASSWORD="first", plugins="")
    session = session_of(alias)
    cluster.writer.query("ALTER USER mover IDENTIFIED BY 'second'")
    connections[alias].settings_dict["PASSWORD"] = "second"
    assert session_of(alias) != session
    assert idle(alias) == 1


# -- ends


def test_close_pool_and_release_resources_close_what_is_idle(cluster: LocalCluster, add: Callable[..., str]) -> None:
    alias = add("pooled", plugins="", USER=cluster.user)
    for close in (lambda: connections[alias].close_pool(), release_resources):
        session = session_of(alias)
        close()
        assert wait_until(lambda session=session: session not in sessions(cluster))
        assert alias not in room._known
    held = session_of(alias, close=False)
    connections[alias].close_pool()
    connections[alias].close()
    assert wait_until(lambda: held not in sessions(cluster))


def sessions(cluster: LocalCluster) -> set[int]:
    return {row[0] for row in cluster.writer.query("SELECT id FROM information_schema.processlist")}


def wait_until(condition: Callable[[], bool]) -> bool:
    deadline = time.monotonic() + 10
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.01)
    return condition()


def test_a_dynamic_database_takes_its_pool_along(
    cluster: LocalCluster, aliases: Aliases, add: Callable[..., str]
) -> None:
    conf = {**connections[add("pooled", plugins="")].settings_dict}
    before = set(room._known)
    with in_database(conf):
        session = session_of(current_alias())
        assert len(room._known) == len(before) + 1
    assert set(room._known) == before
    assert wait_until(lambda: session not in sessions(cluster))


def test_also_where_a_profile_has_it(aliases: Aliases, add: Callable[..., str]) -> None:
    conf = {**connections[add("plain", ..., plugins="")].settings_dict}
    with override_settings(AURORA_ROUTING={"CLUSTERS": {}, "PROFILES": {"pooled": {"pool": True}}}):
        before = set(room._known)
        with in_database({**conf, "OPTIONS": {**conf["OPTIONS"], "profile_name": "pooled"}}):
            session_of(current_alias())
            assert len(room._known) == len(before) + 1
        assert set(room._known) == before


def test_so_does_one_that_was_at_work_when_its_last_block_ended(cluster: LocalCluster, add: Callable[..., str]) -> None:
    conf = {**connections[add("pooled", plugins="")].settings_dict}
    before, found = set(room._known), []
    began, ended = threading.Event(), threading.Event()

    def work(alias: str) -> None:
        with transaction.atomic(using=alias):
            found.append(session_of(alias, close=False))
            began.set()
            ended.wait(20)
        with in_database(conf):
            pass

    with in_database(conf):
        thread = threading.Thread(target=work, args=(current_alias(),))
        thread.start()
        assert began.wait(20)
    ended.set()
    thread.join(20)
    assert set(room._known) == before
    assert wait_until(lambda: found[0] not in sessions(cluster))


CHILD = """
import os, sys
sys.path.insert(0, {root!r})
import django
from django.conf import settings
settings.configure(DATABASES={{"default": dict(
    ENGINE={engine!r}, NAME="app", USER={user!r}, PASSWORD={password!r}, HOST={host!r}, PORT={port},
    OPTIONS=dict(cluster_instance_host_pattern={pattern!r}, pool=True, plugins={plugins!r}))}})
django.setup()
from django.db import connection, connections
import threading

def session(close=True):
    with connection.cursor() as cursor:
        cursor.execute("SELECT CONNECTION_ID()")
        found = cursor.fetchone()[0]
    if close:
        connection.close()
    return found

others = []
other = threading.Thread(target=lambda: (others.append(session()), connections.close_all()))
held = session(close=False)
other.start(); other.join()
if {closed}:
    connection.close()
pid = os.fork()
if pid == 0:
    if not {closed} and {plugins!r} == "":
        connection.close()  # as with any backend of Django's, an inherited connection is to be closed
    mine = {{session(), session()}}
    sys.exit(0 if len(mine) == 1 and not mine & {{held, *others}} else 1)
code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
again = session()
print("code", code, "same", again == held, "kept", session(close=False) in (held, *others), flush=True)
"""


@pytest.mark.parametrize(
    ("plugins", "closed"), [("failover_v2", True), ("failover_v2", False), ("", True), ("", False)]
)
def test_a_forked_child_begins_with_empty_pools_and_leaves_its_parents_alone(
    cluster: LocalCluster, plugins: str, closed: bool
) -> None:
    source = CHILD.format(
        **where(cluster),
        plugins=plugins,
        closed=closed,
    )
    command = [sys.executable, "-W", "ignore::DeprecationWarning", "-c", textwrap.dedent(source)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.stdout == "code 0 same True kept True\n", done.stderr


# -- settings


def test_persistent_connections_and_a_pool_exclude_each_other(add: Callable[..., str], server: LocalServer) -> None:
    alias = add("pooled", CONN_MAX_AGE=60)
    with pytest.raises(ImproperlyConfigured, match="Pooling doesn't support persistent connections"):
        execute(alias, "SELECT 1")


def test_without_sqlalchemy_the_extra_is_named(add: Callable[..., str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "sqlalchemy", None)
    with pytest.raises(ImproperlyConfigured, match=r"pip install 'django-aurora-routing\[pool\]'"):
        execute(add("pooled"), "SELECT 1")
