"""Placement: which instance a connection is on, and what happens when there is none."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Container

import pytest
from django.core.exceptions import ImproperlyConfigured
from django.db import IntegrityError, OperationalError, ProgrammingError, connections, models
from django.views.debug import ExceptionReporter

from django_aurora_routing import FailoverFailedError
from django_aurora_routing.lab import LocalCluster

from .conftest import ON_MYSQLCLIENT, Aliases, questions_of_kind


def server_of(alias: str) -> str:
    with connections[alias].cursor() as cursor:
        cursor.execute("SELECT @@aurora_server_id")
        return str(cursor.fetchone()[0])


def wait_until_on(alias: str, ids: set[str], seconds: float = 15.0) -> str:
    """Use the alias until it is on one of the instances; the monitors move it, in their own time."""
    deadline = time.monotonic() + seconds
    while (server := server_of(alias)) not in ids and time.monotonic() < deadline:
        time.sleep(0.05)
    return server


def wait_while(question: Callable[[], object], seconds: float = 15.0) -> object:
    """Return the first answer that is false, or the last one when time is up."""
    deadline = time.monotonic() + seconds
    while (answer := question()) and time.monotonic() < deadline:
        time.sleep(0.05)
    return answer


def sessions_on_writer(cluster: LocalCluster, *, but: Container[int] = ()) -> dict[int, tuple[object, ...]]:
    """What the application's user has there, by ids, but for some: a former test's may not have ended."""
    sql = "SELECT id, command, time, state, info FROM information_schema.processlist WHERE user = %s"
    return {int(row[0]): tuple(row[1:]) for row in cluster.writer.query(sql, [cluster.user]) if row[0] not in but}


def test_a_writer_alias_is_on_the_writer_and_a_reader_alias_on_a_reader(
    cluster: LocalCluster, aliases: Aliases
) -> None:
    writer, reader = aliases.add("w"), aliases.add("r", read_only=True)
    assert server_of(writer) == cluster.writer.id
    assert server_of(reader) in {instance.id for instance in cluster.readers}


def test_the_kind_is_asked_for_once(cluster: LocalCluster, aliases: Aliases) -> None:
    writer, reader = aliases.add("w"), aliases.add("r", read_only=True)
    with questions_of_kind(cluster) as asked:
        for alias in (writer, reader, writer, reader):
            connections[alias].close()
            server_of(alias)
            assert asked() == 1


@pytest.mark.parametrize(
    "option",
    [
        {"use_unicode": False},
        *([{"binary_prefix": True}] if ON_MYSQLCLIENT else [{"raw": True}, {"raise_on_warnings": True}]),
    ],
)
def test_what_changes_the_applications_answers_is_not_for_the_monitors(
    cluster: LocalCluster, aliases: Aliases, option: dict[str, bool]
) -> None:
    writer = aliases.add("w", failover_timeout_sec=5, **option)
    connections[writer].ensure_connection()
    assert cluster.writer.connections


def test_round_robin_takes_all_readers_in_turn(cluster: LocalCluster, aliases: Aliases) -> None:
    reader = aliases.add("r", read_only=True, reader_host_selector_strategy="round_robin")
    seen = []
    for _ in range(4):
        seen.append(server_of(reader))
        connections[reader].close()
    assert sorted(seen[:2]) == sorted(instance.id for instance in cluster.readers)
    assert seen[:2] == seen[2:]


def test_a_reader_alias_holds_no_connection_to_the_writer(cluster: LocalCluster, aliases: Aliases) -> None:
    # Who meets the cluster while no reader answers (on a busy machine) is on the writer until the next refresh.
    before, readers = sessions_on_writer(cluster), {instance.id for instance in cluster.readers}
    reader = aliases.add("r", read_only=True, topology_refresh_ms=500)
    assert wait_until_on(reader, readers) in readers
    assert not wait_while(lambda: sessions_on_writer(cluster, but=before))


def test_the_monitor_goes_back_to_a_reader_when_one_answers_again(cluster: LocalCluster, aliases: Aliases) -> None:
    before = sessions_on_writer(cluster)
    reader = aliases.add("r", read_only=True, topology_refresh_ms=300)
    server_of(reader)
    for instance in cluster.readers:
        instance.kill()
    assert wait_until_on(reader, {cluster.writer.id}) == cluster.writer.id
    connections[reader].close()
    assert not wait_while(lambda: len(sessions_on_writer(cluster, but=before)) != 1)  # the monitor's
    cluster.heal()
    assert not wait_while(lambda: sessions_on_writer(cluster, but=before))


def test_the_role_is_asked_of_the_server_not_of_an_old_topology(cluster: LocalCluster, aliases: Aliases) -> None:
    writer = aliases.add("w", topology_refresh_ms=3_600_000)
    server_of(writer)
    connections[writer].close()
    old = cluster.writer.id
    cluster.promote()
    assert cluster.writer.id != old
    assert server_of(writer) == cluster.writer.id


def test_a_cursor_that_is_kept_follows_the_writer(cluster: LocalCluster, aliases: Aliases) -> None:
    writer = aliases.add("w", topology_refresh_ms=200)
    with connections[writer].cursor() as cursor:
        cursor.execute("SELECT @@aurora_server_id")
        cluster.promote()
        deadline = time.monotonic() + 15
        while cursor.fetchone()[0] != cluster.writer.id and time.monotonic() < deadline:
            time.sleep(0.02)
            cursor.execute("SELECT @@aurora_server_id")
    assert server_of(writer) == cluster.writer.id
    assert time.monotonic() < deadline


def test_without_plugins_host_is_all_there_is(cluster: LocalCluster, aliases: Aliases) -> None:
    reader = cluster.readers[0]
    plain = aliases.add("p", host=reader.host, plugins="")
    assert server_of(plain) == reader.id
    assert connections[plain]._search is None
    reading = aliases.add("r", plugins="", read_only=True)
    assert server_of(reading) == cluster.writer.id
    assert connections[reading]._search is None
    with connections[reading].cursor() as cursor:
        cursor.execute("SELECT @@tx_read_only")
        assert cursor.fetchone()[0] == 1


def test_a_host_that_does_not_tell_its_instances_needs_the_pattern(aliases: Aliases) -> None:
    alias = aliases.add("w", cluster_instance_host_pattern=..., cluster_id="no-pattern")
    with pytest.raises(ImproperlyConfigured, match="cluster_instance_host_pattern"):
        connections[alias].connect()


def test_an_unknown_option_is_refused_with_the_nearest_name(aliases: Aliases) -> None:
    alias = aliases.add("w", plugns="failover")
    with pytest.raises(ImproperlyConfigured, match=r"DATABASES\['w'\].*\n.*OPTIONS\['plugns'\].*'plugins'"):
        connections[alias].connect()


@pytest.mark.parametrize("plugins", [None, ""])
def test_a_wrong_password_says_so_at_once_and_tells_no_password(
    aliases: Aliases, plugins: str | None, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    alias = aliases.add("w", PASSWORD="sesame-open", plugins=plugins, cluster_id="wrong-password")
    began = time.monotonic()
    with pytest.raises(OperationalError) as refused:
        connections[alias].ensure_connection()
    assert refused.value.args[0] == 1045
    assert time.monotonic() - began < 5
    assert "sesame-open" not in str(refused.value) + caplog.text + repr(connections[alias]._search)


def test_an_unreachable_host_is_named_at_once(aliases: Aliases) -> None:
    alias = aliases.add("w", host="127.0.0.99", cluster_id="nobody")
    with pytest.raises(OperationalError, match=r"127\.0\.0\.99"):
        connections[alias].ensure_connection()


def test_a_silent_host_is_given_up_within_the_connect_timeout(cluster: LocalCluster, aliases: Aliases) -> None:
    reader = cluster.readers[0]
    reader.freeze()
    for name, options in (("w", {}), ("p", {"plugins": ""})):
        alias = aliases.add(name, host=reader.host, connect_timeout=1, cluster_id=f"silent-{name}", **options)
        began = time.monotonic()
        with pytest.raises(OperationalError):
            connections[alias].ensure_connection()
        assert time.monotonic() - began < 5


def test_no_writer_at_all_ends_in_an_error_that_says_what_was_tried(cluster: LocalCluster, aliases: Aliases) -> None:
    alias = aliases.add("w", failover_timeout_sec=2)
    server_of(alias)
    connections[alias].close()
    for instance in cluster.instances:
        instance.kill()
    began = time.monotonic()
    with pytest.raises(FailoverFailedError) as failed:
        connections[alias].ensure_connection()
    assert time.monotonic() - began < 10
    message = str(failed.value)
    assert "no writer could be reached" in message
    assert f"{cluster.host_pattern.replace('?', '11')}:{cluster.port}" in message
    assert cluster.password not in message


def test_every_other_error_is_what_djangos_own_backend_raises(aliases: Aliases, table: str) -> None:
    connection = connections[aliases.add("w")]
    with connection.cursor() as cursor:
        cursor.execute("INSERT INTO t VALUES (1, 'a')")
        with pytest.raises(IntegrityError) as duplicate:
            cursor.execute("INSERT INTO t VALUES (1, 'b')")
        assert duplicate.value.args[0] == 1062
        with pytest.raises(ProgrammingError) as syntax:
            cursor.execute("SELEKT 1")
        assert syntax.value.args[0] == 1064
        with pytest.raises(ProgrammingError):
            cursor.execute("SELECT %s", [1, 2])
        cursor.execute("SELECT v FROM t")
        assert cursor.fetchall() == (("a",),)


def test_get_or_create_survives_its_race(aliases: Aliases, table: str) -> None:
    """Two threads create the same row at once; the one that loses gets the row of the one that wins."""

    class Named(models.Model):
        id = models.IntegerField(primary_key=True)
        v = models.CharField(max_length=50)

        class Meta:
            app_label = "placement"
            db_table = "t"
            managed = False

        def __str__(self) -> str:
            return self.v

    alias = aliases.add("w")
    both_have_looked = threading.Barrier(2, timeout=20)
    outcomes: list[tuple[str, bool]] = []

    def value() -> str:
        both_have_looked.wait()  # get_or_create() asks for it after its SELECT found nothing
        return "a"

    def work() -> None:
        try:
            found, created = Named.objects.using(alias).get_or_create(id=1, defaults={"v": value})
            outcomes.append((found.v, created))
        finally:
            connections[alias].close()

    threads = [threading.Thread(target=work) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert sorted(outcomes) == [("a", False), ("a", True)]


@pytest.mark.parametrize("plugins", [..., ""], ids=["cluster", "alone"])
def test_an_error_page_shows_no_password(cluster: LocalCluster, aliases: Aliases, plugins: str) -> None:
    alias = aliases.add("w", PASSWORD="is-not-shown", plugins=plugins, **{"monitoring-password": "nor-this"})
    with pytest.raises(OperationalError) as refused:
        connections[alias].ensure_connection()
    below = refused.tb.tb_next  # this function's own frame has them in its source
    reporter = ExceptionReporter(None, refused.type, refused.value.with_traceback(below), below)
    for page in (reporter.get_traceback_html(), reporter.get_traceback_text()):
        assert "is-not-shown" not in page
        assert "nor-this" not in page
