"""Aliases on a real cluster, known to Django for the length of one test."""

from __future__ import annotations

import contextlib
import itertools
import json
import logging
import os
import shutil
import sys
import time
from collections.abc import Callable, Iterator
from html import escape
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, quote, quote_plus

import pytest
from django.db import connections
from django.test import override_settings

from django_aurora_routing import release_resources
from django_aurora_routing.lab import LocalCluster
from django_aurora_routing.lab.login_proxy import LoginProxy
from django_aurora_routing.lab.tokens import AccessKey, TokenCheck
from tests.backends.aws_services import (
    FIRST,
    IDP_PASSWORD,
    LAB_SECRET,
    SECOND,
    SESSION_TOKEN,
    RdsApi,
    Relay,
    moto,
    saml_response,
)

ENGINE = "django_aurora_routing.backends." + os.environ.get("AURORA_TEST_ENGINE", "mysql_connector")
"""The engine that these tests run on: mysql_connector, or mysql as in `tox -e mysqlclient`."""
ON_MYSQLCLIENT = ENGINE.endswith(".mysql")

_numbers = itertools.count()


class Aliases:
    """Adds aliases to `django.db.connections` and takes them out again."""

    def __init__(self, cluster: LocalCluster) -> None:
        self.cluster = cluster
        self._cluster_id = f"{cluster.name}-{next(_numbers)}"  # what another test has learnt is not known here
        self._added: list[str] = []

    def add(self, alias: str, *, host: str | None = None, port: int | None = None, **conf: Any) -> str:
        """Make an alias on the writer endpoint, unless told otherwise. Lower-case names are OPTIONS."""
        options = {"cluster_instance_host_pattern": self.cluster.host_pattern, "cluster_id": self._cluster_id}
        options |= {name: value for name, value in conf.items() if not name.isupper()}
        settings = {
            "ENGINE": ENGINE,
            "NAME": "app",
            "USER": self.cluster.user,
            "PASSWORD": self.cluster.password,
            "HOST": host or self.cluster.writer_endpoint.host,
            "PORT": port or self.cluster.writer_endpoint.port,
            "CONN_MAX_AGE": None,
            "OPTIONS": {name: value for name, value in options.items() if value is not ...},
            **{name: value for name, value in conf.items() if name.isupper()},
        }
        connections.configure_settings({"default": {}, alias: settings})
        self._rebind({**connections.settings, alias: settings})
        self._added.append(alias)
        return alias

    def remove_all(self) -> None:
        for alias in self._added:
            connections[alias].close()
            del connections[alias]
        self._rebind({name: conf for name, conf in connections.settings.items() if name not in self._added})

    def _rebind(self, settings: dict[str, Any]) -> None:
        # In one step, since other threads may be iterating.
        connections.__dict__["settings"] = connections._settings = settings


def where(cluster: LocalCluster) -> dict[str, Any]:
    """What the text of a program needs to have our package and the cluster, by the names of its fields."""
    return {
        "engine": ENGINE,
        "root": os.fspath(Path(__file__).resolve().parents[2]),
        "user": cluster.user,
        "password": cluster.password,
        "host": cluster.writer_endpoint.host,
        "port": cluster.writer_endpoint.port,
        "pattern": cluster.host_pattern,
    }


@pytest.fixture
def aliases(cluster: LocalCluster, django_db_blocker: Any) -> Iterator[Aliases]:
    # No clusters for the routing layer: which aliases a test has added is not what it is about.
    with django_db_blocker.unblock(), override_settings(AURORA_ROUTING={"CLUSTERS": {}}):
        made = Aliases(cluster)
        yield made
        made.remove_all()
    release_resources()


@contextlib.contextmanager
def questions_of_kind(cluster: LocalCluster) -> Iterator[Callable[[], int]]:
    """How often the servers have been asked for their kind in the block, by their own logs.

    The lab answers by a statement of another shape than the one that it was asked, with the same name in it.
    """
    servers = [instance for instance in cluster.instances if instance.state == "running"]
    asked = "SELECT COUNT(*) FROM mysql.general_log WHERE argument LIKE CONCAT('%group_replication_', 'group_name%')"

    def count() -> int:
        return sum(int(server.query(asked)[0][0]) for server in servers)

    for server in servers:
        server.query("SET GLOBAL log_output = 'TABLE', GLOBAL general_log = 1")
    before = count()
    try:
        yield lambda: count() - before
    finally:
        for server in servers:
            server.query("SET GLOBAL general_log = 0, GLOBAL log_output = 'FILE'")


@pytest.fixture
def table(cluster: LocalCluster) -> str:
    """An empty table `t`, there on all instances. What a session of a former test still writes there is ended first."""
    running = "SELECT id FROM information_schema.processlist WHERE user = %s AND command = 'Query'"
    deadline = time.monotonic() + 10
    while (left := cluster.writer.query(running, [cluster.user])) and time.monotonic() < deadline:
        for (session,) in left:
            with contextlib.suppress(Exception):  # it has ended meanwhile
                cluster.writer.query(f"KILL {session}")
        time.sleep(0.01)
    cluster.writer.query("DROP TABLE IF EXISTS app.t")
    cluster.writer.query("CREATE TABLE app.t (id INT PRIMARY KEY, v VARCHAR(50))")
    return "t"


# -- logging in without a password

REGION = "eu-west-1"
KEYS = {"AKIALABLABLABLABLAB1": AccessKey(LAB_SECRET)}
DB_USER = "iam_app"  # the server knows no such user: who gets in by this name has shown a token

_lifetimes = itertools.count(600)


@pytest.fixture(scope="session")
def lab_door(lab_cluster: LocalCluster) -> Iterator[LoginProxy]:
    if shutil.which("openssl") is None:
        pytest.skip("openssl, which makes certificates, is not installed")
    lab_cluster.heal()
    door = LoginProxy(lab_cluster, TokenCheck(REGION, KEYS.get))
    yield door
    door.close()


@pytest.fixture
def door(lab_door: LoginProxy, cluster: LocalCluster) -> LoginProxy:
    """The cluster's other entrance, which takes IAM tokens and nothing else; as new."""
    lab_door.check = TokenCheck(REGION, KEYS.get)
    lab_door.attempts.clear()
    lab_door.in_clear.clear()
    lab_door.offers_tls = True
    return lab_door


def secrets_seen(door: LoginProxy | None = None) -> set[str]:
    """All that must never show, of what the tests of logins have used; of a token, its signature is enough."""
    known = {*(key.secret for key in KEYS.values()), FIRST, SECOND, IDP_PASSWORD, SESSION_TOKEN, saml_response()}
    if door is not None:
        tokens = [dict(parse_qsl(attempt.token)) for attempt in door.attempts]
        known |= {token[name] for token in tokens for name in token if name in _SECRET_PARTS}
    if "moto.sts.models" in sys.modules:
        for role in sys.modules["moto.sts.models"].sts_backends["123456789012"]["aws"].assumed_roles:
            known |= {role.secret_access_key, role.session_token}
    return known


_SECRET_PARTS = ("X-Amz-Signature", "X-Amz-Security-Token")


def assert_nothing_shows(text: str, known: set[str]) -> None:
    """Also not in the forms that texts take in URLs, HTML, JSON and reprs."""
    for secret in known:
        for form in {secret, quote(secret, safe=""), quote_plus(secret), escape(secret), json.dumps(secret)[1:-1]}:
            at = text.find(form)
            assert at < 0, f"a secret shows: ...{text[max(0, at - 300) : at]}<HERE>"


def text_of(record: logging.LogRecord) -> str:
    """What is logged, the traceback included."""
    return logging.Formatter().format(record)


@pytest.fixture
def aws(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, request: pytest.FixtureRequest
) -> Iterator[Callable[..., str]]:
    """Makes AWS profiles; nothing else gives credentials here. Returns the profile's name, which nobody had before.

    All that is logged meanwhile, by anybody, at any level, is searched for secrets.
    """
    # A door needs openssl, which tests that use none can do without.
    door: LoginProxy | None = request.getfixturevalue("lab_door") if "lab_door" in request.fixturenames else None
    caplog.set_level(logging.DEBUG)
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    files = {"AWS_SHARED_CREDENTIALS_FILE": tmp_path / "credentials", "AWS_CONFIG_FILE": tmp_path / "config"}
    for name, path in {**files, "AWS_EC2_METADATA_DISABLED": "true"}.items():
        monkeypatch.setenv(name, str(path))

    def profile(key: str = next(iter(KEYS)), secret: str | None = None) -> str:
        name = f"lab-{next(_numbers)}"
        with open(files["AWS_SHARED_CREDENTIALS_FILE"], "a") as out:
            secret = KEYS[key].secret if secret is None else secret
            out.write(f"[{name}]\naws_access_key_id = {key}\naws_secret_access_key = {secret}\n")
        return name

    yield profile
    assert_nothing_shows("\n".join(map(text_of, caplog.get_records("call"))), secrets_seen(door))


@pytest.fixture
def with_iam(aliases: Aliases, door: LoginProxy, aws: Callable[..., str]) -> Callable[..., str]:
    """Adds an alias that logs in by token, with one that no test before has had."""

    def add(alias: str, **conf: Any) -> str:
        profile = {} if "aws_profile" in conf else {"aws_profile": aws()}
        return aliases.add(
            alias,
            **{
                "plugins": "failover_v2,iam",
                "port": door.port,
                "cluster_instance_host_pattern": door.host_pattern,
                "iam_region": REGION,
                "iam_expiration": next(_lifetimes),
                "USER": DB_USER,
                "PASSWORD": "",
                **trusting(door.ca),
                **profile,
                **conf,
            },
        )

    return add


def trusting(ca: Path) -> dict[str, Any]:
    """The driver's options that name the lab's authority."""
    return {"ssl": {"ca": str(ca)}} if ON_MYSQLCLIENT else {"ssl_ca": str(ca)}


@pytest.fixture(scope="session")
def moto_port() -> Iterator[int]:
    with moto() as port:
        yield port


@pytest.fixture
def rds_api(aws: Callable[..., str], monkeypatch: pytest.MonkeyPatch) -> Iterator[RdsApi]:
    """The RDS API; all calls of boto3 go there."""
    made = RdsApi()
    monkeypatch.setenv("AWS_ENDPOINT_URL", made.url)
    yield made
    made.close()


@pytest.fixture
def relay(moto_port: int, aws: Callable[..., str], monkeypatch: pytest.MonkeyPatch) -> Iterator[Relay]:
    """AWS, by a moto server; all calls of boto3 go there."""
    made = Relay(moto_port)
    monkeypatch.setenv("AWS_ENDPOINT_URL", made.url)
    yield made
    made.close()
