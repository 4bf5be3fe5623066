"""The drivers that are here, and sessions on the lab's single server by each implementation of the connector."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from hypothesis import settings

from django_aurora_routing.core.endpoints import Address
from django_aurora_routing.drivers.base import Driver
from django_aurora_routing.drivers.mysql_connector import HAVE_EXTENSION, MySQLConnectorDriver
from django_aurora_routing.drivers.mysql_connector_cursor import Cursor
from django_aurora_routing.lab import LocalServer

Connect = Callable[..., Any]

try:
    from django_aurora_routing.drivers.mysqlclient import MySQLClientDriver
except ImportError:
    MySQLClientDriver = None  # type: ignore[assignment, misc]

# How long a real server takes for an answer is not what these tests are about.
settings.register_profile("servers", deadline=None)
settings.load_profile("servers")


@pytest.fixture(params=["mysql_connector", "mysqlclient"])
def driver(request: pytest.FixtureRequest) -> Driver:
    """Each driver, through what the rest of the house knows of it."""
    if request.param == "mysql_connector":
        return MySQLConnectorDriver()
    if MySQLClientDriver is None:
        pytest.skip("mysqlclient is not installed (tox -e mysqlclient)")
    return MySQLClientDriver()


@pytest.fixture(scope="module", params=["pure", "extension"] if HAVE_EXTENSION else ["pure"])
def connect(request: pytest.FixtureRequest, lab_server: LocalServer) -> Iterator[Connect]:
    """Opens sessions, with the driver's arguments by name, and closes them when the module is done."""
    lab_server.heal()
    driver, opened = MySQLConnectorDriver(), []

    def open_one(**params: Any) -> Any:
        account = {"user": lab_server.user, "password": lab_server.password, "database": "app"}
        params = {"charset": "utf8mb4", "autocommit": True, "use_pure": request.param == "pure", **account, **params}
        opened.append(driver.connect(Address(lab_server.host, lab_server.port), params, timeout=10))
        return opened[-1]

    yield open_one
    for connection in opened:
        driver.close(connection)


@pytest.fixture(scope="module")
def session(connect: Connect) -> Any:
    """One session for the module; what a test changes about it, the next one has."""
    return connect()


@pytest.fixture
def cursor(session: Any) -> Cursor:
    return Cursor(session)
