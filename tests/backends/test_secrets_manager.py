"""Logging in with what Secrets Manager has: boto3 against a moto server, and real users on the real servers."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import boto3
import pytest
from django.db import OperationalError, connections, transaction

from django_aurora_routing import FailoverSuccessError
from django_aurora_routing.aws.sessions import silence
from django_aurora_routing.cluster.credentials import CREDENTIALS
from django_aurora_routing.core.endpoints import Address
from django_aurora_routing.core.failures import Failure
from django_aurora_routing.errors import LoginError
from django_aurora_routing.lab import LocalCluster
from tests.backends.aws_services import FIRST, SECOND, Relay
from tests.backends.conftest import REGION, Aliases
from tests.backends.test_failover import FAST_DETECTION, within

pytestmark = pytest.mark.lab


class Vault:
    """One secret, and the database's user that it is about; rotated together, or not."""

    def __init__(self, cluster: LocalCluster, relay: Relay, name: str) -> None:
        self.user = f"u{time.monotonic_ns() % 10**9}"
        self.name = name
        self._cluster = cluster
        self.client = boto3.client(
            "secretsmanager", REGION, endpoint_url=relay.url, aws_access_key_id="x", aws_secret_access_key="x"
        )
        cluster.writer.query(f"CREATE USER {self.user}@'%' IDENTIFIED BY '{FIRST}'")
        cluster.writer.query(f"GRANT ALL ON app.* TO {self.user}@'%'")
        cluster.catch_up()
        held = json.dumps({"username": self.user, "password": FIRST, "engine": "mysql"})
        with silence():  # boto3 logs what the test itself gives it
            self.arn = self.client.create_secret(Name=name, SecretString=held)["ARN"]
        relay.calls.clear()

    def change_password(self, password: str) -> None:
        self._cluster.writer.query(f"ALTER USER {self.user}@'%' IDENTIFIED BY '{password}'")
        self._cluster.catch_up()

    def put(self, text: str) -> None:
        with silence():
            self.client.put_secret_value(SecretId=self.name, SecretString=text)

    def put_password(self, password: str) -> None:
        self.put(json.dumps({"username": self.user, "password": password}))


@pytest.fixture
def vault(cluster: LocalCluster, relay: Relay, request: pytest.FixtureRequest) -> Iterator[Vault]:
    made = Vault(cluster, relay, f"shop/{request.node.originalname}/{time.monotonic_ns()}")
    yield made
    cluster.heal()
    cluster.writer.query(f"DROP USER {made.user}@'%'")


@pytest.fixture
def with_secret(aliases: Aliases, vault: Vault, aws: Callable[..., str]) -> Callable[..., str]:
    def add(alias: str = "with_secret", **conf: Any) -> str:
        defaults = {
            "plugins": "aws_secrets_manager",
            "secrets_manager_secret_id": vault.name,
            "secrets_manager_region": REGION,
            "aws_profile": aws(),
            "USER": "",
            "PASSWORD": "",
        }
        return aliases.add(alias, **{**defaults, **conf})

    return add


def user_of(alias: str) -> str:
    with connections[alias].cursor() as cursor:
        cursor.execute("SELECT CURRENT_USER()")
        return str(cursor.fetchone()[0]).partition("@")[0]


def again(alias: str) -> str:
    connections[alias].close()
    return user_of(alias)


def refusal(alias: str, words: str) -> OperationalError:
    connections[alias].close()
    with pytest.raises(OperationalError, match=words) as refused:
        user_of(alias)
    assert FIRST not in str(refused.value)
    assert SECOND not in str(refused.value)
    return refused.value


WithSecret = Callable[..., str]


@pytest.mark.parametrize("plugins", ["aws_secrets_manager", "failover_v2,aws_secrets_manager"])
def test_user_and_password_are_the_secrets(with_secret: WithSecret, vault: Vault, relay: Relay, plugins: str) -> None:
    alias = with_secret(plugins=plugins)
    assert user_of(alias) == again(alias) == vault.user
    assert relay.calls == ["GetSecretValue"]


def test_by_arn_alone_and_an_endpoint(
    with_secret: WithSecret, vault: Vault, relay: Relay, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("AWS_ENDPOINT_URL")
    given = {"secrets_manager_secret_id": vault.arn, "secrets_manager_region": None}
    alias = with_secret(**given, secrets_manager_endpoint=relay.url)
    assert user_of(alias) == vault.user


def test_a_secret_with_keys_of_its_own(with_secret: WithSecret, vault: Vault) -> None:
    vault.put(json.dumps({"dbuser": vault.user, "dbpass": FIRST, "username": "x", "password": "y"}))
    keys = {"secrets_manager_secret_username_key": "dbuser", "secrets_manager_secret_password_key": "dbpass"}
    assert user_of(with_secret(**keys)) == vault.user


def test_a_rotated_secret(with_secret: WithSecret, vault: Vault, relay: Relay) -> None:
    alias = with_secret()
    assert user_of(alias) == vault.user
    vault.change_password(SECOND)
    vault.put_password(SECOND)
    relay.calls.clear()
    assert again(alias) == again(alias) == vault.user
    assert relay.calls == ["GetSecretValue"]


def test_between_the_two_steps_of_a_rotation(with_secret: WithSecret, vault: Vault) -> None:
    """The server has the new password, the secret still the old one: refused, and well again once it has it."""
    alias = with_secret()
    assert user_of(alias) == vault.user
    vault.change_password(SECOND)
    assert refusal(alias, "Access denied").args[0] == 1045
    vault.put_password(SECOND)
    time.sleep(1.1)
    assert again(alias) == vault.user


def test_an_outage_stops_no_connection_that_works_with_what_is_kept(
    with_secret: WithSecret, vault: Vault, relay: Relay
) -> None:
    alias = with_secret(secrets_manager_expiration=1)
    assert user_of(alias) == vault.user
    relay.is_out = True
    time.sleep(1.1)
    for _ in range(5):
        began = time.monotonic()
        assert again(alias) == vault.user
        assert time.monotonic() - began < 3  # the renewal, and its retries, are nobody's to wait for
    relay.is_out = False
    vault.change_password(SECOND)
    vault.put_password(SECOND)
    deadline = time.monotonic() + 20
    while True:
        try:
            assert again(alias) == vault.user
            break
        except OperationalError:
            assert time.monotonic() < deadline
            time.sleep(0.2)


def test_an_outage_when_nothing_is_kept(with_secret: WithSecret, vault: Vault, relay: Relay) -> None:
    relay.is_out = True
    refusal(with_secret(), f"the secret '{vault.name}' of region {REGION} cannot be had: .*503")


def nothing_is_kept(alias: str, relay: Relay) -> None:
    """As when it has ended while its source is out."""
    relay.is_out = True
    wrapper = connections[alias]
    kept = wrapper.get_connection_params()[CREDENTIALS].at(Address("127.0.0.1"))
    assert kept._held is not None
    kept._held = replace(kept._held, ends_at=0.0)


FAST = {**FAST_DETECTION, "plugins": "failover_v2,aws_secrets_manager", "failover_timeout_sec": 2}


def test_a_frozen_writer_is_found_when_there_are_no_credentials(
    with_secret: WithSecret, vault: Vault, relay: Relay, cluster: LocalCluster, table: str
) -> None:
    """That we have nothing to log in with is no sign that the host is alive."""
    alias = with_secret(**FAST)

    def work() -> None:
        assert user_of(alias) == vault.user
        nothing_is_kept(alias, relay)
        cluster.writer.freeze()
        with connections[alias].cursor() as cursor:
            cursor.execute(f"INSERT INTO {table} VALUES (1, 'x')")

    assert isinstance(within(30, work), OperationalError)


def test_a_slow_statement_on_a_host_in_good_health_goes_on_when_there_are_no_credentials(
    with_secret: WithSecret, vault: Vault, relay: Relay
) -> None:
    """Nor that it is dead: it is asked with nothing, and its refusal is an answer."""
    alias = with_secret(**FAST)

    def work() -> None:
        assert user_of(alias) == vault.user
        nothing_is_kept(alias, relay)
        with connections[alias].cursor() as cursor:
            cursor.execute("SELECT SLEEP(6)")
            assert cursor.fetchone()[0] == 0

    assert within(30, work) is None


def test_monitors_without_credentials_have_not_been_refused(
    with_secret: WithSecret, vault: Vault, relay: Relay
) -> None:
    alias = with_secret(**FAST, topology_refresh_ms=300)
    assert user_of(alias) == vault.user
    nothing_is_kept(alias, relay)
    known = connections[alias]._search.cluster
    with pytest.raises(LoginError) as failed:
        known.links.topology.open(Address("127.0.0.1"), 1)
    assert known.links.topology.failure(failed.value) is Failure.NO_CREDENTIALS


def test_something_else_than_aws_answers(with_secret: WithSecret, relay: Relay) -> None:
    relay.is_out, relay.another = True, b"<html>out of order</html>"
    assert "out of order" not in str(refusal(with_secret(), "is not a text that holds a JSON object"))


def test_nobody_at_the_endpoint(with_secret: WithSecret) -> None:
    refusal(with_secret(secrets_manager_endpoint="http://127.0.0.1:9"), "Could not connect to the endpoint URL")


def test_a_revoked_secret(with_secret: WithSecret, vault: Vault) -> None:
    """What is kept works for as long as the server takes it; then the refusal is the server's."""
    alias = with_secret()
    assert user_of(alias) == vault.user
    vault.client.delete_secret(SecretId=vault.name, ForceDeleteWithoutRecovery=True)
    assert again(alias) == vault.user
    vault.change_password(SECOND)
    assert refusal(alias, "Access denied").args[0] == 1045
    refusal(with_secret("another", secrets_manager_expiration=77), "ResourceNotFoundException")


@pytest.mark.parametrize("plugins", ["aws_secrets_manager", "failover_v2,aws_secrets_manager"])
def test_a_secret_that_is_not_there(with_secret: WithSecret, plugins: str) -> None:
    alias = with_secret(plugins=plugins, secrets_manager_secret_id="shop/none")
    refusal(alias, "the secret 'shop/none' .*ResourceNotFoundException")


def test_a_wrong_region(with_secret: WithSecret) -> None:
    refusal(with_secret(secrets_manager_region="us-east-1"), "of region us-east-1 cannot be had: .*ResourceNotFound")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (FIRST, "is not a text that holds a JSON object"),
        (json.dumps([FIRST]), "is not a text that holds a JSON object"),
        (json.dumps({"user": "x", "password": FIRST}), "has no text under 'username'.*secret_username_key"),
        (json.dumps({"username": "x", "password": 7}), "has no text under 'password'.*secret_password_key"),
    ],
    ids=["text", "list", "no user", "number"],
)
def test_a_secret_of_the_wrong_shape(with_secret: WithSecret, vault: Vault, text: str, words: str) -> None:
    vault.put(text)
    refusal(with_secret(), words)


def test_a_throttled_call_is_made_again(with_secret: WithSecret, vault: Vault, relay: Relay) -> None:
    relay.throttled = 2
    assert user_of(with_secret()) == vault.user
    assert relay.calls == ["GetSecretValue"] * 3


def test_calls_that_are_throttled_for_good(with_secret: WithSecret, relay: Relay) -> None:
    relay.throttled = 1000
    alias = with_secret()
    for _ in range(5):
        refusal(alias, "ThrottlingException")
    assert len(relay.calls) <= 9  # a moment of rest after each failure, or the throttling would never end


def test_a_failover_and_a_rotation_at_once(
    with_secret: WithSecret, vault: Vault, cluster: LocalCluster, table: str
) -> None:
    alias = with_secret(plugins="failover_v2,aws_secrets_manager")
    assert user_of(alias) == vault.user
    vault.change_password(SECOND)
    vault.put_password(SECOND)
    with pytest.raises(FailoverSuccessError), transaction.atomic(using=alias), connections[alias].cursor() as cursor:
        cursor.execute(f"INSERT INTO {table} VALUES (1, 'lost')")
        cluster.writer.kill()
        cluster.promote()
        cursor.execute("SELECT 1")
    with connections[alias].cursor() as cursor:
        cursor.execute(f"INSERT INTO {table} VALUES (2, 'after')")
    assert cluster.writer.query(f"SELECT id FROM {table}") == [(2,)]
