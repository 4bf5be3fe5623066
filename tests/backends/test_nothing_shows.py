"""No password, token or key anywhere: error pages with all locals, messages, reprs, the process list.

Logs are searched by the fixture `aws`, for each test of a login.
"""

from __future__ import annotations

import gc
import logging
import os
import shutil
import subprocess
import sys
import time
import traceback
from collections.abc import Callable
from typing import Any

import pytest
from django.db import Error, connections
from django.test import override_settings
from django.views.debug import ExceptionReporter

from django_aurora_routing.aws.sessions import silence
from django_aurora_routing.cluster.credentials import CREDENTIALS, Kept
from django_aurora_routing.core.endpoints import Address
from django_aurora_routing.lab import LocalCluster
from django_aurora_routing.lab.login_proxy import LoginProxy
from tests.backends.aws_services import FIRST, IDP_PASSWORD, IDP_USER, PROVIDER, ROLE, Relay
from tests.backends.conftest import ON_MYSQLCLIENT, REGION, assert_nothing_shows, secrets_seen

pytestmark = pytest.mark.lab
WithIam = Callable[..., str]


def page_of(error: BaseException) -> str:
    """Everything that Django's technical error page shows with DEBUG on: the locals of all frames included."""
    with override_settings(DEBUG=True):
        reporter = ExceptionReporter(None, type(error), error, error.__traceback__)
        frames = traceback.TracebackException.from_exception(error, capture_locals=True)
        return reporter.get_traceback_html() + reporter.get_traceback_text() + "".join(frames.format()) + repr(error)


def error_of(alias: str) -> Error:
    with pytest.raises(Error) as failed:
        connections[alias].ensure_connection()
    return failed.value


@pytest.mark.parametrize("plugins", ["iam", "failover_v2,iam"])
def test_error_pages_of_a_refused_token(with_iam: WithIam, door: LoginProxy, plugins: str) -> None:
    door.check.key = lambda name: None
    page = page_of(error_of(with_iam("with_token", plugins=plugins)))
    assert "Access denied" in page
    assert "log_in" in page  # it does show our frames
    assert_nothing_shows(page, secrets_seen(door))


def test_error_pages_of_a_connection_that_is_cut_in_the_middle_of_a_login(
    with_iam: WithIam, door: LoginProxy, cluster: LocalCluster
) -> None:
    """The driver's own frames hold the packet with the token."""

    def cut(name: str) -> None:
        raise EOFError

    door.check.key = cut
    alias = with_iam("with_token", plugins="iam")
    page = page_of(error_of(alias))
    params = connections[alias].get_connection_params()
    kept = params[CREDENTIALS].at(Address("127.0.0.10", door.port))
    token = str.__str__(kept.get(0).value.password)
    assert len(token) > 255
    assert_nothing_shows(page + repr(params), {token, token[-64:], *secrets_seen(door)})


@pytest.mark.skipif(ON_MYSQLCLIENT, reason="mysqlclient logs in within one call of its library")
def test_error_pages_of_a_mistake_in_the_driver(
    with_iam: WithIam, door: LoginProxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    from mysql.connector.network import NetworkBrokerPlain

    def broken(self: Any, sock: Any, address: str, packet: bytes) -> None:
        if b"X-Amz" in packet:
            raise RuntimeError("of the driver")
        send(self, sock, address, packet)

    send = NetworkBrokerPlain._send_pkt
    alias = with_iam("with_token", plugins="iam", use_pure=True)
    connections[alias].ensure_connection()
    connections[alias].close()
    monkeypatch.setattr(NetworkBrokerPlain, "_send_pkt", broken)
    with pytest.raises(RuntimeError, match="of the driver") as failed:
        connections[alias].ensure_connection()
    assert_nothing_shows(page_of(failed.value), secrets_seen(door))


def test_error_pages_of_fetches(aliases: Any, aws: Callable[..., str], relay: Relay, door: LoginProxy) -> None:
    import boto3

    own = boto3.client("secretsmanager", REGION, aws_access_key_id="x", aws_secret_access_key="x")
    with silence():
        own.create_secret(Name=(name := f"of-no-use-{time.monotonic_ns()}"), SecretString=FIRST)
    secret = {"plugins": "aws_secrets_manager", "secrets_manager_secret_id": name, "aws_profile": aws()}
    error = error_of(aliases.add("with_secret", **secret, region=REGION, PASSWORD=""))
    assert_nothing_shows(page_of(error), secrets_seen(door))


def test_error_pages_of_a_mistake_of_ours(
    aliases: Any, aws: Callable[..., str], monkeypatch: pytest.MonkeyPatch, door: LoginProxy
) -> None:
    from django_aurora_routing.aws import secrets

    def broken(login: Any, text: Any) -> None:
        raise RuntimeError(FIRST)

    monkeypatch.setattr(secrets, "_read", broken)
    monkeypatch.setattr(secrets, "client", lambda *args, **kwargs: _Answers())
    secret = {"plugins": "aws_secrets_manager", "secrets_manager_secret_id": "s", "aws_profile": aws()}
    error = error_of(aliases.add("with_secret", **secret, region=REGION, PASSWORD=""))
    assert "RuntimeError" in str(error)
    assert_nothing_shows(page_of(error), secrets_seen(door))


class _Answers:
    def get_secret_value(self, **given: Any) -> dict[str, str]:
        return {"SecretString": FIRST}

    def close(self) -> None:
        pass


def test_options_and_what_is_kept_show_nothing(with_iam: WithIam, door: LoginProxy) -> None:
    federated = {"db_user": "u", "idp_username": IDP_USER, "idp_password": IDP_PASSWORD, "idp_endpoint": "127.0.0.1"}
    federated |= {"iam_role_arn": ROLE, "iam_idp_arn": PROVIDER}
    wrapper = connections[with_iam("federated", plugins="federated_auth", **federated)]
    params = wrapper.get_connection_params()
    shown = repr((wrapper._options, wrapper._parsed, params, params[CREDENTIALS], vars(params[CREDENTIALS])))
    with_token = with_iam("with_token")
    connections[with_token].ensure_connection()
    search = connections[with_token]._search
    shown += repr((search, search.cluster, search.cluster.links))
    # By the type itself: isinstance() asks the object as well, and a proxy whose object another test has left behind
    # answers with a ReferenceError.
    shown += "".join(repr(vars(kept)) for kept in gc.get_objects() if issubclass(type(kept), Kept))
    assert_nothing_shows(shown, secrets_seen(door))


def test_the_process_list_shows_nothing(with_iam: WithIam, door: LoginProxy) -> None:
    connections[with_iam("with_token")].ensure_connection()
    listing = commands_of_ours()
    assert "python" in listing
    assert_nothing_shows(listing, secrets_seen(door))


def commands_of_ours() -> str:
    """The command lines of this process and all below it; others on the machine may be at the same tests."""
    if shutil.which("ps") is None:
        pytest.skip("ps is not installed")
    columns = ["ps", "-axww", "-o", "pid=,ppid=,command="]
    lines = subprocess.run(columns, capture_output=True, text=True, check=True).stdout.splitlines()
    rows = [(int(pid), int(parent), command) for pid, parent, command in (line.split(None, 2) for line in lines)]
    ours = {os.getpid()}
    while more := {pid for pid, parent, _ in rows if parent in ours} - ours:
        ours |= more
    return "\n".join(command for pid, _, command in rows if pid in ours)


def test_a_wrong_kind_of_password_is_not_shown(aliases: Any) -> None:
    alias = aliases.add("federated", plugins="federated_auth", idp_password=b"the-bytes")
    with pytest.raises(Exception, match="idp_password") as failed:
        connections[alias].ensure_connection()
    assert "the-bytes" not in str(failed.value)


def test_the_search_for_secrets_finds_one(
    aws: Callable[..., str], caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the fixture `aws` does would find what boto3 says by itself, and the driver."""
    from django_aurora_routing.aws.tokens import issue_token
    from django_aurora_routing.core.logins import IamLogin

    login = IamLogin("u", REGION, "", None, 1.0, aws())
    token = str.__str__(issue_token(login, Address("127.0.0.1")).password)
    signature = token.rpartition("X-Amz-Signature=")[2]
    assert signature not in caplog.text
    logger = logging.getLogger("botocore.auth")
    caplog.set_level(logging.DEBUG, logger.name)
    monkeypatch.setattr(logger, "disabled", False)  # which another test's logging.config may have made it
    logger.debug("Signature:\n%s", signature)
    assert signature in caplog.text
    with pytest.raises(AssertionError, match="a secret shows"):
        assert_nothing_shows(caplog.text, {signature})


def test_boto3_is_imported_by_those_who_need_it_alone() -> None:
    code = """
import sys, django
from django.conf import settings
engine = "django_aurora_routing.backends.mysql_connector"
def alias(**options):
    return {"ENGINE": engine, "HOST": "127.0.0.1", "PORT": 9, "USER": "u", "PASSWORD": "p", "OPTIONS": options}
settings.configure(DATABASES={
    "default": alias(plugins=""), "clustered": alias(),
    "iam": alias(plugins="iam", iam_region="eu-west-1", ssl_ca="/x", aws_profile="nobodys", connect_timeout=100),
}, INSTALLED_APPS=["django_aurora_routing"])
django.setup()
from django.core.checks import run_checks
assert run_checks(tags=["aurora_routing"]) is not None
from django.db import connections, DatabaseError
for name in ("default", "clustered", "iam"):
    try:
        connections[name].ensure_connection()
    except Exception as exc:
        seldom = {"boto3", "botocore", "django_aurora_routing.aws.identity", "django_aurora_routing.aws.tokens"}
        print(name, type(exc).__name__, *sorted(name.rpartition(".")[2] for name in seldom & set(sys.modules)))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=180, cwd=os.getcwd())
    assert [line.split() for line in done.stdout.splitlines()] == [
        ["default", "OperationalError"],
        ["clustered", "OperationalError"],
        ["iam", "NoCredentialsError", "boto3", "botocore", "identity", "tokens"],
    ], done.stderr
