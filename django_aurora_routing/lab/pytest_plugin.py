"""Owns the pytest fixtures: one cluster for a session, whole again for each test; nothing starts before its first use.

Name it in `pytest_plugins`.
"""

from collections.abc import Iterator

import pytest

from .cluster import LocalCluster, LocalServer


@pytest.fixture(scope="session")
def lab_cluster() -> Iterator[LocalCluster]:
    """One writer and two readers, as the tests before left them."""
    with LocalCluster(readers=2) as cluster:
        yield cluster


@pytest.fixture
def cluster(lab_cluster: LocalCluster) -> LocalCluster:
    """The session's cluster with every instance running, the readers caught up, no fault; roles as they are."""
    lab_cluster.heal()
    return lab_cluster


@pytest.fixture(scope="session")
def lab_server() -> Iterator[LocalServer]:
    """A single server that is no part of the cluster."""
    with LocalServer() as server:
        yield server


@pytest.fixture
def server(lab_server: LocalServer) -> LocalServer:
    """The session's single server, running, without a fault."""
    lab_server.heal()
    return lab_server
