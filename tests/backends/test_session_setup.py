"""What a new session runs before anything else: the driver's own statement and Django's, together where they can be."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from django.db import connections

from django_aurora_routing import prevent_writes
from django_aurora_routing.drivers.mysql_network import TCPNetwork
from django_aurora_routing.lab import LocalServer
from django_aurora_routing.plugins import Plugin

from .conftest import ON_MYSQLCLIENT, Aliases
from .test_failover import execute

pytestmark = pytest.mark.lab

MODES = "SELECT LOWER(REPLACE(@@session.tx_isolation, '-', ' ')), @@session.tx_read_only"
CHARACTERS = "SELECT @@character_set_client, @@character_set_results, @@collation_connection"

together = pytest.mark.skipif(ON_MYSQLCLIENT, reason="mysqlclient sends the one from within its C library")


@pytest.fixture
def pure(monkeypatch: pytest.MonkeyPatch) -> Callable[[bytes], list[bytes]]:
    """What connections with `use_pure` have sent since then, of packets that hold a text."""
    sent: list[bytes] = []
    send = TCPNetwork.send

    def noted(network: TCPNetwork, payload: bytes, *args: Any, **kwargs: Any) -> None:
        sent.append(bytes(payload))
        send(network, payload, *args, **kwargs)

    monkeypatch.setattr(TCPNetwork, "send", noted)
    return lambda text: [packet[1:] for packet in sent if text in packet]


@together
def test_it_is_one_packet(aliases: Aliases, pure: Callable[[bytes], list[bytes]]) -> None:
    execute(aliases.add("r", use_pure=True, read_only=True), "SELECT 1")
    names = b"SET NAMES 'utf8mb4' COLLATE 'utf8mb4_general_ci'; SET SESSION TRANSACTION "
    assert names + b"ISOLATION LEVEL READ COMMITTED, READ ONLY" in pure(b"SET NAMES")
    assert [packet for packet in pure(b"SET SESSION TRANSACTION") if not packet.startswith(names)] == []


@pytest.mark.parametrize("use_pure", [True, False])
@pytest.mark.parametrize(("level", "read_only"), [("serializable", False), ("repeatable read", True), (None, True)])
def test_level_mode_and_characters_are_as_told(
    aliases: Aliases, level: str | None, read_only: bool, use_pure: bool
) -> None:
    options = {} if ON_MYSQLCLIENT else {"use_pure": use_pure}
    characters = {"charset": "latin1", "collation": "latin1_general_cs", **options}
    alias = aliases.add("a", isolation_level=level, read_only=read_only, **characters)
    assert execute(alias, MODES) == [(level or "repeatable read", int(read_only))]
    assert execute(alias, CHARACTERS) == [("latin1", "latin1", "latin1_general_cs")]


@pytest.mark.parametrize("use_pure", [True, False])
def test_so_is_a_session_of_a_pool_each_time(aliases: Aliases, use_pure: bool) -> None:
    options = {} if ON_MYSQLCLIENT else {"use_pure": use_pure}
    alias = aliases.add("a", isolation_level="serializable", pool=True, CONN_MAX_AGE=0, **options)
    session = execute(alias, "SELECT CONNECTION_ID()")
    execute(alias, "SET SESSION TRANSACTION ISOLATION LEVEL READ UNCOMMITTED, READ ONLY")
    execute(alias, "SET NAMES latin1")
    connections[alias].close()
    assert execute(alias, "SELECT CONNECTION_ID()") == session
    assert execute(alias, MODES) == [("serializable", 0)]
    assert execute(alias, CHARACTERS) == [("utf8mb4", "utf8mb4", "utf8mb4_general_ci")]
    connections[alias].close()
    connections[alias].close_pool()


def test_a_pool_keeps_no_session_for_other_settings(aliases: Aliases) -> None:
    alias = aliases.add("a", read_only=True, pool=True, CONN_MAX_AGE=0)
    before = execute(alias, "SELECT CONNECTION_ID(), @@session.tx_read_only")
    connections[alias].close()
    connections[alias].settings_dict["OPTIONS"]["read_only"] = False
    ((session, read_only),) = execute(alias, "SELECT CONNECTION_ID(), @@session.tx_read_only")
    assert (session != before[0][0], read_only) == (True, 0)
    connections[alias].close()
    connections[alias].close_pool()


def test_code_that_may_not_write_has_a_session_that_may_not_either(aliases: Aliases) -> None:
    alias = aliases.add("w")
    with prevent_writes():
        assert execute(alias, MODES) == [("read committed", 1)]
    assert execute(alias, MODES) == [("read committed", 0)]


def test_what_init_command_says_comes_before_it(aliases: Aliases) -> None:
    command = "SET SESSION TRANSACTION ISOLATION LEVEL SERIALIZABLE, READ ONLY"
    assert execute(aliases.add("w", init_command=command), MODES) == [("read committed", 1)]
    assert execute(aliases.add("v", init_command=command, isolation_level=None), MODES) == [("serializable", 1)]


@together
def test_a_session_that_takes_one_statement_at_a_time(aliases: Aliases, pure: Callable[[bytes], list[bytes]]) -> None:
    from mysql.connector.constants import ClientFlag

    alias = aliases.add("w", use_pure=True, client_flags=[-ClientFlag.MULTI_STATEMENTS])
    assert execute(alias, MODES) == [("read committed", 0)]
    assert b"SET NAMES 'utf8mb4' COLLATE 'utf8mb4_general_ci'" in pure(b"SET NAMES")
    assert pure(b"SET SESSION TRANSACTION") == [b"SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED"]


@together
@pytest.mark.parametrize("plugins", ["failover_v2", ""])
def test_a_server_that_is_no_cluster_may_be_a_proxy(
    aliases: Aliases, server: LocalServer, pure: Callable[[bytes], list[bytes]], plugins: str
) -> None:
    account = {"USER": server.user, "PASSWORD": server.password}
    where = {"host": server.host, "port": server.port, "cluster_instance_host_pattern": ...}
    alias = aliases.add("w", use_pure=True, plugins=plugins, **where, **account)
    assert execute(alias, MODES) == [("read committed", 0)]
    assert pure(b"SET SESSION TRANSACTION") == [b"SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED"]


class Auditing(Plugin):
    """Does to each new session what it likes."""

    def connect(self, address: Any, connect: Callable[[], Any]) -> Any:
        connection = connect()
        driver = connections["a"].driver  # type: ignore[attr-defined]
        driver.ask(connection, "CREATE OR REPLACE TEMPORARY TABLE app.audit SELECT 1 AS one")
        driver.ask(connection, "SET SESSION TRANSACTION ISOLATION LEVEL READ UNCOMMITTED, READ WRITE")
        return connection


def test_what_a_plugin_does_to_a_session_comes_before_it(aliases: Aliases) -> None:
    plugins = f"failover_v2,{__name__}.Auditing"
    assert execute(aliases.add("a", read_only=True, plugins=plugins), MODES) == [("read committed", 1)]


@together
def test_host_itself_may_be_a_proxy_of_a_cluster(aliases: Aliases, pure: Callable[[bytes], list[bytes]]) -> None:
    alias = aliases.add("w", use_pure=True, endpoint_substitution_role="none")
    assert execute(alias, MODES) == [("read committed", 0)]
    assert pure(b"SET SESSION TRANSACTION") == [b"SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED"]
