"""The statement that a new session runs together with the driver's own."""

from __future__ import annotations

from typing import Any

import mysql.connector
import pytest

from django_aurora_routing.drivers.base import SETUP
from django_aurora_routing.drivers.mysql_connector import MySQLConnectorDriver

DRIVER = MySQLConnectorDriver()
STATEMENT = "SET SESSION lock_wait_timeout = 77"
ASK = "SELECT @@lock_wait_timeout, @@collation_connection"


def test_it_is_run_at_the_login_and_after_each_reset(connect: Any) -> None:
    session = connect(**{SETUP: STATEMENT, "collation": "utf8mb4_bin"})
    assert DRIVER.setup_of(session) == STATEMENT
    assert list(DRIVER.ask(session, ASK)) == [(77, "utf8mb4_bin")]
    DRIVER.ask(session, "SET SESSION lock_wait_timeout = 5, NAMES latin1")
    DRIVER.reset(session, {}, 10)
    assert DRIVER.setup_of(session) == STATEMENT
    assert list(DRIVER.ask(session, ASK)) == [(77, "utf8mb4_bin")]
    assert not DRIVER.is_out_of_step(session)


def test_without_one(connect: Any) -> None:
    session = connect()
    assert DRIVER.setup_of(session) == ""
    assert DRIVER.ask(session, ASK)[0][0] != 77


def test_a_refused_one_is_a_refused_login(connect: Any) -> None:
    with pytest.raises(mysql.connector.Error) as refused:
        connect(**{SETUP: "SET SESSION no_such_variable = 1"})
    facts = DRIVER.facts(refused.value)
    assert facts is not None
    assert facts.errno == 1193


def test_a_session_that_is_in_autocommit_already_is_told_nothing(connect: Any) -> None:
    """By the server's own count of what it was told: SET NAMES alone; and where it is not so, one more."""
    count = "SHOW SESSION STATUS LIKE 'Com_set_option'"
    assert list(DRIVER.ask(connect(), count)) == [("Com_set_option", "1")]
    session = connect(autocommit=False)
    assert list(DRIVER.ask(session, count)) == [("Com_set_option", "2")]
    assert list(DRIVER.ask(session, "SELECT @@autocommit")) == [(0,)]
    DRIVER.reset(session, {}, 10)
    assert list(DRIVER.ask(session, "SELECT @@autocommit")) == [(0,)]
