"""Options of each session, and of the monitors' own, on real servers: keep-alive, time limits, priorities, profiles."""

from __future__ import annotations

import os
import socket
import time
from typing import Any

import pytest
from django.core.exceptions import ImproperlyConfigured
from django.db import OperationalError, connections
from django.test import override_settings

from django_aurora_routing.lab import LocalCluster

from .conftest import ON_MYSQLCLIENT, Aliases
from .test_placement import server_of

pytestmark = pytest.mark.lab

IMPLEMENTATIONS = [{}] if ON_MYSQLCLIENT else [{"use_pure": True}, {"use_pure": False}]


def socket_options(alias: str) -> dict[str, int]:
    """What the system says of the connection's socket."""
    connection: Any = connections[alias].connection
    if ON_MYSQLCLIENT:
        fd = connection.fileno()
    else:
        from django_aurora_routing.drivers.mysql_connector import _descriptor_of

        fd = _descriptor_of(connection)
    with socket.socket(fileno=os.dup(fd)) as sock:
        found = {"on": sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)}
        for name in ("TCP_KEEPIDLE", "TCP_KEEPINTVL", "TCP_KEEPCNT"):
            found[name] = sock.getsockopt(socket.IPPROTO_TCP, getattr(socket, name))
    return found


@pytest.mark.skipif(not hasattr(socket, "TCP_KEEPIDLE"), reason="this system calls it otherwise")
@pytest.mark.parametrize("implementation", IMPLEMENTATIONS)
def test_keep_alive_is_set_at_the_socket(aliases: Aliases, implementation: dict[str, Any]) -> None:
    numbers = {"tcp_keepalive_time": 77, "tcp_keepalive_interval": 7, "tcp_keepalive_probes": 5}
    alias = aliases.add("w", **numbers, **implementation)
    server_of(alias)
    assert socket_options(alias) == {"on": 1, "TCP_KEEPIDLE": 77, "TCP_KEEPINTVL": 7, "TCP_KEEPCNT": 5}
    off = aliases.add("off", tcp_keepalive=False, **implementation)
    server_of(off)
    assert socket_options(off)["on"] == 0


def test_a_socket_timeout_ends_a_call(aliases: Aliases) -> None:
    alias = aliases.add("w", plugins="", socket_timeout=0.2)
    began = time.monotonic()
    with connections[alias].cursor() as cursor, pytest.raises(OperationalError):
        cursor.execute("SELECT SLEEP(20)")
    assert time.monotonic() - began < 10


@pytest.mark.parametrize(("priority", "role"), [("strict-writer", "writer"), (None, "reader")])
def test_the_topology_is_asked_of_whom_the_priority_names(
    cluster: LocalCluster, aliases: Aliases, priority: str | None, role: str
) -> None:
    alias = aliases.add("w", monitoring_connection_priority=priority, topology_refresh_ms=100)
    server_of(alias)
    monitor = connections[alias].known_cluster().topology_monitor
    expected = {i.host for i in ([cluster.writer] if role == "writer" else cluster.readers)}
    deadline = time.monotonic() + 15
    while (monitor._asked is None or monitor._asked.host not in expected) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert monitor._asked.host in expected


def test_a_profile_has_options_for_those_who_name_it(cluster: LocalCluster, aliases: Aliases) -> None:
    profiles = {"PROFILES": {"direct": {"plugins": "", "connect_timeout": 3}}, "CLUSTERS": {}}
    with override_settings(AURORA_ROUTING=profiles):
        direct = aliases.add("direct", host=cluster.readers[0].host, profile_name="direct")
        placed = aliases.add("placed", profile_name="direct", plugins="failover_v2")
        assert server_of(direct) == cluster.readers[0].id
        assert connections[direct]._options.connect_timeout == 3
        assert server_of(placed) == cluster.writer.id, "its own plugins come before the profile's"


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("drect", r"AURORA_ROUTING\['PROFILES'\] has no 'drect'. Did you mean 'direct'?"),
        (5, "has no 5"),
        ("reading", "must be a dict of options, without 'profile_name' or 'read_only'"),
        ("wrong", "Did you mean 'plugins'"),
    ],
)
def test_what_is_wrong_with_a_profile_is_said(aliases: Aliases, name: object, words: str) -> None:
    profiles = {"direct": {"plugins": ""}, "reading": {"read_only": True}, "wrong": {"plugns": ""}}
    with override_settings(AURORA_ROUTING={"PROFILES": profiles, "CLUSTERS": {}}):
        alias = aliases.add("w", profile_name=name)
        with pytest.raises(ImproperlyConfigured, match=words):
            connections[alias].connect()
