"""Over TLS a lost connection has other numbers, and to end one from outside must not break what encrypts it."""

from __future__ import annotations

import contextlib
import shutil
import socket
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from mysql.connector.errors import InterfaceError

from django_aurora_routing.core.endpoints import Address
from django_aurora_routing.core.failures import Failure, classify_mysql
from django_aurora_routing.drivers.base import Driver
from django_aurora_routing.drivers.mysql_connector import MySQLConnectorDriver
from django_aurora_routing.lab.binaries import find_program, make_template
from django_aurora_routing.lab.servers import Accounts, Server

REFUSAL = b"\xff\x15\x04#28000written on the way"
ACCOUNTS = Accounts(user="app", password="app-password", root_password="r", replica_password="p", databases=("app",))
pytestmark = [
    pytest.mark.lab,
    pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl, which makes certificates, is not installed"),
]


def make_certificate(directory: Path, name: str) -> tuple[Path, Path]:
    cert, key = directory / f"{name}.pem", directory / f"{name}-key.pem"
    what = "req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=lab -addext subjectAltName=IP:127.0.0.1"
    subprocess.run(["openssl", *what.split(), "-keyout", key, "-out", cert], check=True, capture_output=True)
    return cert, key


@pytest.fixture(scope="module")
def place() -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as name:  # short, for the server's socket
        yield Path(name)


@pytest.fixture(scope="module")
def fresh(place: Path) -> Iterator[Callable[[], Server]]:
    """Gives the server, started if the last test has killed it."""
    program = find_program()
    for name in ("scratch", "s"):
        (place / name).mkdir()
    make_template(program, place / "template", place / "scratch")
    server = Server(place / "s", program=program, template=place / "template", accounts=ACCOUNTS)
    cert, key = make_certificate(place, "server")

    def running() -> Server:
        if server.pid is None:
            options = ("--ssl=1", f"--ssl-cert={cert}", f"--ssl-key={key}", f"--ssl-ca={cert}")
            server.start(server_id=1, max_connections=50, fresh=True, options=options)
            server.wait_ready()
        return server

    yield running
    server.kill()


@pytest.fixture
def server(fresh: Callable[[], Server]) -> Server:
    return fresh()


def connected(driver: Driver, server: Server, ca: Path, **params: Any) -> Any:
    if isinstance(driver, MySQLConnectorDriver):
        tls: dict[str, Any] = {"ssl_ca": str(ca), "ssl_verify_cert": True}
    else:
        tls = {"ssl_mode": "VERIFY_CA", "ssl": {"ca": str(ca)}}
    params = {"user": ACCOUNTS.user, "password": ACCOUNTS.password, "autocommit": True, **tls, **params}
    return driver.connect(Address("127.0.0.1", server.port), params, 5)


@pytest.fixture
def session(driver: Driver, server: Server, place: Path) -> Iterator[Any]:
    connection = connected(driver, server, place / "server.pem")
    ((_, cipher),) = driver.ask(connection, "SHOW STATUS LIKE 'Ssl_cipher'")
    assert cipher
    yield connection
    driver.close(connection)


def failure(driver: Driver, call: Callable[[], Any], *, connecting: bool = False) -> Failure:
    with pytest.raises(Exception) as failed:  # noqa: PT011 - the driver says whose it is
        call()
    facts = driver.facts(failed.value)
    assert facts is not None
    return classify_mysql(facts, connecting=connecting)


def test_a_server_killed_in_the_middle_of_a_statement(driver: Driver, server: Server, session: Any) -> None:
    killer = threading.Timer(0.3, server.kill)
    killer.start()
    assert failure(driver, lambda: driver.ask(session, "SELECT SLEEP(20)")) is Failure.LOST
    killer.join()


@pytest.mark.parametrize("call", ["commit", "rollback", "autocommit", "ask"])
def test_a_server_killed_at_rest(driver: Driver, server: Server, session: Any, call: str) -> None:
    server.kill()
    deadline = time.monotonic() + 5
    while not driver.look(session)(0) and time.monotonic() < deadline:
        time.sleep(0.005)
    assert driver.look(session)(0)

    def run() -> None:
        if call == "ask":
            driver.ask(session, "SELECT 1")
        elif call != "autocommit":
            getattr(session, call)()
        elif isinstance(driver, MySQLConnectorDriver):
            session.cmd_query(b"SET autocommit = 0")  # as our engine does: the extension's setter swallows the loss
        else:
            session.autocommit(False)

    assert failure(driver, run) in (Failure.LOST, Failure.NEVER_SENT)


def test_a_session_killed_by_another(driver: Driver, server: Server, session: Any) -> None:
    ((number,),) = driver.ask(session, "SELECT CONNECTION_ID()")
    killer = threading.Timer(0.3, server.sql, [f"KILL {number}"])
    killer.start()
    assert failure(driver, lambda: driver.ask(session, "SELECT SLEEP(20)")) is Failure.LOST
    killer.join()


def test_a_call_ended_from_another_thread(driver: Driver, session: Any) -> None:
    threading.Timer(0.3, driver.abort, [session]).start()
    began = time.monotonic()
    assert failure(driver, lambda: driver.ask(session, "SELECT SLEEP(20)")) is Failure.LOST
    assert time.monotonic() - began < 5


def test_a_session_left_to_the_parent_process_is_closed_without_a_word(driver: Driver, session: Any) -> None:
    assert driver.abort(session, only_here=True)
    driver.close(session)


def test_a_certificate_of_another_authority_is_no_server_that_cannot_be_reached(
    driver: Driver, server: Server, place: Path
) -> None:
    cert, _ = make_certificate(place, "other")
    assert failure(driver, lambda: connected(driver, server, cert), connecting=True) is Failure.REFUSED


def test_a_frozen_server_ends_a_login_in_time(driver: Driver, server: Server, place: Path) -> None:
    server.freeze()
    try:
        began = time.monotonic()
        found = failure(driver, lambda: connected(driver, server, place / "server.pem"), connecting=True)
        assert found is Failure.UNREACHABLE
        assert time.monotonic() - began < 8
    finally:
        server.thaw()
        with contextlib.suppress(Exception):
            server.sql("SELECT 1")


def test_nothing_is_believed_that_comes_before_the_encryption(fresh: Callable[[], Server]) -> None:
    """Somebody on the way has written a packet behind the server's greeting, which would be read as its answer."""
    server = fresh()
    listener = socket.create_server(("127.0.0.1", 0))

    def relay_greeting() -> None:
        client, _ = listener.accept()
        with client, socket.create_connection(("127.0.0.1", server.port)) as behind:
            head = behind.recv(4, socket.MSG_WAITALL)
            greeting = head + behind.recv(int.from_bytes(head[:3], "little"), socket.MSG_WAITALL)
            client.sendall(greeting + len(REFUSAL).to_bytes(3, "little") + b"\x02" + REFUSAL)
            client.recv(1)  # until it hangs up

    threading.Thread(target=relay_greeting, daemon=True).start()
    address = Address("127.0.0.1", listener.getsockname()[1])
    params = {"user": ACCOUNTS.user, "password": ACCOUNTS.password, "use_pure": True}
    with listener, pytest.raises(InterfaceError, match="before the encryption began") as raised:
        MySQLConnectorDriver().connect(address, params, 5)
    assert raised.value.errno == 2026
