"""Logging in by ADFS and by Okta: their pages over HTTPS, STS by a moto server, and a proxy that verifies the token."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta, timezone
from email.utils import format_datetime
from pathlib import Path
from typing import Any

import pytest
from django.db import OperationalError, connections, transaction

from django_aurora_routing import FailoverSuccessError
from django_aurora_routing.aws.saml import _now_at
from django_aurora_routing.core.logins import FederatedLogin
from django_aurora_routing.core.options import parse_options
from django_aurora_routing.lab import LocalCluster
from django_aurora_routing.lab.login_proxy import LoginProxy, make_certificate
from tests.backends.aws_services import IDP_PASSWORD, IDP_USER, PROVIDER, ROLE, IdentityProvider, Relay, key_of_a_role
from tests.backends.test_dbshell import Shell

pytestmark = pytest.mark.lab
Federated = Callable[..., str]


@pytest.fixture
def idp(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[IdentityProvider]:
    certificate = make_certificate(tmp_path, ["127.0.0.1"])
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    made = IdentityProvider(certificate)
    yield made
    made.close()


@pytest.fixture(params=["federated_auth", "okta"])
def plugin(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def federated(
    with_iam: Callable[..., str], door: LoginProxy, relay: Relay, idp: IdentityProvider, plugin: str
) -> Federated:
    door.check.key = key_of_a_role

    def add(alias: str = "federated", **conf: Any) -> str:
        conf.setdefault("plugins", plugin)
        conf.setdefault("iam_token_expiration", conf.pop("iam_expiration", None) or 500 + len(alias))
        return with_iam(
            alias,
            **{
                "USER": "",
                "db_user": "iam_app",
                "idp_endpoint": "127.0.0.1",
                "idp_port": idp.port,
                "idp_username": IDP_USER,
                "idp_password": IDP_PASSWORD,
                "iam_role_arn": ROLE,
                "iam_idp_arn": PROVIDER,
                "app_id": "abc123",
                **conf,
            },
        )

    return add


def value(alias: str, sql: str = "SELECT 1") -> Any:
    connections[alias].ensure_connection()
    with connections[alias].cursor() as cursor:
        cursor.execute(sql)
        return cursor.fetchone()[0]


def refusal(alias: str, words: str) -> None:
    connections[alias].close()
    with pytest.raises(OperationalError, match=words) as refused:
        value(alias)
    assert IDP_PASSWORD not in str(refused.value)
    assert "out of order" not in str(refused.value)


def test_a_login_at_the_provider_opens_the_door(
    federated: Federated, door: LoginProxy, relay: Relay, idp: IdentityProvider, plugin: str
) -> None:
    alias = federated(plugins=f"failover_v2,{plugin}")
    assert value(alias) == 1
    connections[alias].close()
    assert value(alias) == 1
    assert door.problems == [""] * len(door.attempts)
    assert len({attempt.host for attempt in door.attempts}) > 1
    assert idp.logins == 1  # for all instances, and for as long as the role's keys last
    assert relay.calls == ["AssumeRoleWithSAML"]


def test_the_providers_refusal(federated: Federated, door: LoginProxy, relay: Relay, plugin: str) -> None:
    words = "401, 'Authentication failed'" if plugin == "okta" else "refused 'ada@corp.example' or the password"
    refusal(federated(idp_password="wrong"), words)
    assert relay.calls == door.attempts == []


def test_a_wrong_password_is_not_posted_again_and_again(
    federated: Federated, idp: IdentityProvider, plugin: str
) -> None:
    """Three wrong ones lock an account of AD's as a rule. Without the long pause there would be one every 5 s."""
    alias = federated(idp_password="wrong", plugins=f"failover_v2,{plugin}")
    until = time.monotonic() + 7
    while time.monotonic() < until:
        refusal(alias, "not asked again for 5 min|401|or the password")
        time.sleep(0.2)
    assert len([line for line in idp.seen if line.startswith("POST")]) == 1


@pytest.mark.parametrize("space", [" {}", "{} "])
def test_a_password_goes_to_the_provider_as_it_is(space: str) -> None:
    """Spaces belong to it."""
    given = space.format("pass word")
    parsed = parse_options(
        {"plugins": "federated_auth", "idp_password": given, "idp_username": "u", "idp_endpoint": "adfs.example"}
        | {"iam_role_arn": ROLE, "iam_idp_arn": PROVIDER, "db_user": "u", "region": "eu-west-1", "ssl_ca": "x"},
        driver_names={"ssl_ca"},
        host="db.example",
    )
    assert isinstance(parsed.options.login, FederatedLogin)
    assert str.__str__(parsed.options.login.password) == given


def test_one_more_step_is_told(federated: Federated, idp: IdentityProvider, plugin: str) -> None:
    if plugin != "okta":
        pytest.skip("ADFS shows another page, as it does for a wrong password")
    idp.trouble = "one more step"
    refusal(federated(), "did not log 'ada@corp.example' in: MFA_REQUIRED")


def test_an_application_that_is_not_there(federated: Federated, plugin: str) -> None:
    if plugin != "okta":
        pytest.skip("ADFS has relying parties")
    refusal(federated(app_id="a/../b?"), r"/app/amazon_aws/a%2F..%2Fb%3F/sso/saml: status 404")


def test_a_provider_that_limits_its_rate(federated: Federated, idp: IdentityProvider) -> None:
    idp.trouble = "busy"
    refusal(federated(), "status 429, 'API call exceeded rate limit'")


def test_a_provider_that_does_not_answer(federated: Federated, idp: IdentityProvider) -> None:
    idp.trouble = "hangs"
    began = time.monotonic()
    refusal(federated(http_request_connect_timeout=0.5), "127.0.0.1/.*timed out")
    assert time.monotonic() - began < 4


def test_a_provider_that_cannot_prove_who_it_is(
    federated: Federated, idp: IdentityProvider, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(make_certificate(tmp_path, ["127.0.0.1"])))
    refusal(federated(), "CERTIFICATE_VERIFY_FAILED")
    assert idp.seen == []


def test_a_form_that_leads_elsewhere(federated: Federated, idp: IdentityProvider, plugin: str) -> None:
    if plugin == "okta":
        pytest.skip("Okta has an API and no form")
    idp.trouble = "elsewhere"
    refusal(federated(), "would have sent the password elsewhere")


def test_sts_is_throttled_and_then_out(federated: Federated, relay: Relay) -> None:
    relay.throttled = 2
    assert value(federated()) == 1
    relay.is_out = True
    refusal(
        federated("another", iam_token_expiration=77), "cannot be assumed with the SAML response of 127.0.0.1: .*503"
    )


@pytest.mark.parametrize("answer", [b"out of order", b"<html>out of order</html>", b"<A><AssumeRoleResult/></A>"])
def test_something_else_than_sts_answers(federated: Federated, relay: Relay, answer: bytes) -> None:
    """Of an answer that boto3 cannot read, its own error has the whole text."""
    relay.is_out, relay.another = True, answer
    refusal(federated(), r"boto3 could not read the answer|STS answered without credentials")


@pytest.mark.parametrize("ahead", [timedelta(hours=-3), timedelta(), timedelta(hours=3)])
def test_how_long_keys_last_is_told_by_the_clock_of_aws(ahead: timedelta) -> None:
    """Whatever this machine's own clock says."""
    now = datetime.now(timezone.utc).replace(microsecond=0) + ahead
    headers = {"date": format_datetime(now, usegmt=True)}
    assert _now_at({"ResponseMetadata": {"HTTPHeaders": headers}}) == now
    assert abs(_now_at({}) - datetime.now(timezone.utc)) < timedelta(minutes=1)


def test_a_shell(
    federated: Federated, door: LoginProxy, plugin: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    argv, password, cleartext = Shell(tmp_path).run(federated(plugins=plugin))
    assert door.problems == [""]
    assert (password, cleartext) == (door.attempts[0].token, "1")
    assert not any("X-Amz" in argument or IDP_PASSWORD in argument for argument in argv)


def test_a_revoked_role(federated: Federated, door: LoginProxy) -> None:
    alias = federated()
    assert value(alias) == 1
    door.check.key = lambda name: None
    refusal(alias, "Access denied .*by role arn:aws:iam::123456789012:role/db for 'ada@corp.example' at 127.0.0.1")


def test_a_writer_that_dies_when_the_token_has_ended(
    federated: Federated, door: LoginProxy, cluster: LocalCluster, table: str, plugin: str, idp: IdentityProvider
) -> None:
    door.check.longest = 5
    alias = federated(plugins=f"failover_v2,{plugin}", iam_token_expiration=5)
    assert value(alias) == 1
    time.sleep(7)
    with pytest.raises(FailoverSuccessError), transaction.atomic(using=alias), connections[alias].cursor() as cursor:
        cursor.execute(f"INSERT INTO {table} VALUES (1, 'lost')")
        cluster.writer.kill()
        cluster.promote()
        cursor.execute("SELECT 1")
    with connections[alias].cursor() as cursor:
        cursor.execute(f"INSERT INTO {table} VALUES (2, 'after')")
    assert cluster.writer.query(f"SELECT id FROM {table}") == [(2,)]
    assert idp.logins == 1
