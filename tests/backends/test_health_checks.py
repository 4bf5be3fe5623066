"""CONN_HEALTH_CHECKS: each request through Django's own handler is on today's writer, and sees nothing of the old."""

from __future__ import annotations

import time
from collections.abc import Callable
from types import ModuleType
from typing import Any
from wsgiref.util import setup_testing_defaults

import pytest
from django.core.handlers.wsgi import WSGIHandler
from django.db import close_old_connections, connections
from django.http import HttpRequest, HttpResponse
from django.test import override_settings
from django.urls import path

from django_aurora_routing.lab import LocalCluster

from .conftest import Aliases
from .test_failover import FAST_DETECTION, execute, insert, rows, within
from .test_placement import server_of


def order(request: HttpRequest, key: int) -> HttpResponse:
    insert("w", key)
    return HttpResponse(server_of("w"))


PAGES = ModuleType("pages_of_health_checks")
PAGES.urlpatterns = [path("<int:key>", order)]  # type: ignore[attr-defined]


def visit(key: int) -> str:
    """One request, from its beginning, when old connections are looked at, to its end."""
    environ: dict[str, Any] = {"PATH_INFO": f"/{key}"}
    setup_testing_defaults(environ)
    status: list[str] = []
    response = WSGIHandler()(environ, lambda said, headers, exc_info=None: status.append(said))
    body = b"".join(response).decode()
    response.close()
    assert status == ["200 OK"], body
    return body


def kill(cluster: LocalCluster) -> None:
    cluster.writer.kill()
    cluster.promote()


def freeze(cluster: LocalCluster) -> None:
    cluster.writer.freeze()
    cluster.promote()


def demote(cluster: LocalCluster) -> None:
    cluster.promote()


@pytest.mark.parametrize("max_age", [0, None])
@pytest.mark.parametrize("is_atomic", [False, True], ids=["autocommit", "atomic"])
@pytest.mark.parametrize("fault", [kill, freeze, demote])
def test_the_next_request_is_on_the_new_writer(
    cluster: LocalCluster,
    aliases: Aliases,
    table: str,
    fault: Callable[[LocalCluster], None],
    is_atomic: bool,
    max_age: int | None,
) -> None:
    settings = {"CONN_HEALTH_CHECKS": True, "CONN_MAX_AGE": max_age, "ATOMIC_REQUESTS": is_atomic}
    aliases.add("w", **settings, **FAST_DETECTION, connect_timeout=3)
    visited: list[str] = []

    def visits() -> None:
        visited.append(visit(1))
        fault(cluster)
        for key in (2, 3):
            visited.append(visit(key))

    old = cluster.writer.id
    with override_settings(ROOT_URLCONF=PAGES, MIDDLEWARE=[]):
        assert within(40, visits) is None
    assert visited == [old, cluster.writer.id, cluster.writer.id]
    assert rows(cluster) == [1, 2, 3]


@pytest.mark.parametrize("is_monitored", [True, False], ids=["detection", "connect_timeout"])
def test_a_check_of_a_silent_writer_ends(cluster: LocalCluster, aliases: Aliases, is_monitored: bool) -> None:
    """By the host monitor, within 1 s + 2 x 0.3 s + 1 s; where there is none by connect_timeout, 2 s."""
    options = {"connect_timeout": 30} if is_monitored else {"connect_timeout": 2, "failure_detection_enabled": False}
    alias = aliases.add("w", **{**FAST_DETECTION, **options})
    took: list[float] = []

    def check() -> None:
        execute(alias, "SELECT 1")
        cluster.writer.freeze()
        began = time.monotonic()
        assert not connections[alias].is_usable()
        took.append(time.monotonic() - began)

    assert within(30, check) is None
    assert took[0] < 8


def test_a_check_is_one_question_and_changes_nothing_on_a_healthy_writer(
    cluster: LocalCluster, aliases: Aliases
) -> None:
    alias = aliases.add("w", CONN_HEALTH_CHECKS=True)
    execute(alias, "SELECT 1")
    connection = connections[alias]
    session = connection.connection
    questions = "SHOW SESSION STATUS LIKE 'Questions'"
    before = int(execute(alias, questions)[0][1])
    close_old_connections()
    assert int(execute(alias, questions)[0][1]) - before == 2  # the check, and this question itself
    assert connection.connection is session


def test_a_reader_that_was_promoted_is_no_reader_any_more(cluster: LocalCluster, aliases: Aliases) -> None:
    strict = aliases.add("s", CONN_HEALTH_CHECKS=True, failover_mode="strict_reader", topology_refresh_ms=3_600_000)
    first = cluster.instance(server_of(strict))
    cluster.promote(first)
    close_old_connections()
    assert server_of(strict) != first.id


@pytest.mark.parametrize("fault", [kill, freeze, demote])
def test_close_old_connections_after_an_error_leaves_the_old_writer(
    cluster: LocalCluster, aliases: Aliases, table: str, fault: Callable[[LocalCluster], None]
) -> None:
    """Without CONN_HEALTH_CHECKS a connection is looked at after a request that met an error."""
    alias = aliases.add("w", **FAST_DETECTION, connect_timeout=3)

    def work() -> None:
        insert(alias, 1)
        fault(cluster)
        connections[alias].errors_occurred = True
        close_old_connections()
        assert connections[alias].connection is None
        assert server_of(alias) == cluster.writer.id

    assert within(30, work) is None
