"""Logging in by IAM token: to a proxy that demands TLS and verifies the token before it lets anyone in."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from django.db import Error, OperationalError, connections, transaction

from django_aurora_routing import FailoverSuccessError
from django_aurora_routing.backends.wiring import search_for
from django_aurora_routing.cluster.credentials import CREDENTIALS, log_in
from django_aurora_routing.core.endpoints import Address
from django_aurora_routing.errors import LoginError
from django_aurora_routing.lab import LocalCluster
from django_aurora_routing.lab.login_proxy import LoginProxy, make_certificate
from tests.backends.aws_services import ROLE, Metadata, Relay, key_of_a_role
from tests.backends.conftest import DB_USER, KEYS, ON_MYSQLCLIENT, trusting

pytestmark = pytest.mark.lab
WithIam = Callable[..., str]
Aws = Callable[..., str]


def value(alias: str, sql: str = "SELECT 1") -> Any:
    with connections[alias].cursor() as cursor:
        cursor.execute(sql)
        return cursor.fetchone()[0]


def refusal(alias: str, words: str = "Access denied") -> OperationalError:
    with pytest.raises(OperationalError, match=words) as refused:
        value(alias)
    return refused.value


@pytest.mark.parametrize("plugins", ["iam", "failover_v2,iam"])
def test_a_token_opens_the_door(with_iam: WithIam, door: LoginProxy, plugins: str) -> None:
    alias = with_iam("with_token", plugins=plugins)
    assert value(alias) == 1
    assert door.attempts
    assert door.problems == [""] * len(door.attempts)
    assert {attempt.user for attempt in door.attempts} == {DB_USER}
    assert door.in_clear == []


def test_a_token_is_longer_than_the_255_bytes_that_a_client_of_old_can_send(
    with_iam: WithIam, door: LoginProxy
) -> None:
    assert value(with_iam("with_token", plugins="iam")) == 1
    assert len(door.attempts[0].token) > 255


@pytest.mark.skipif(ON_MYSQLCLIENT, reason="mysqlclient has another flag, and no limit")
def test_flags_of_the_users_do_not_cut_a_token_off(with_iam: WithIam, door: LoginProxy) -> None:
    from django_aurora_routing.drivers.mysql_connector import CLIENT_FLAGS

    flags = sum(CLIENT_FLAGS[name] for name in ("LONG_PASSWD", "LONG_FLAG", "CONNECT_WITH_DB", "PROTOCOL_41"))
    flags |= sum(CLIENT_FLAGS[name] for name in ("TRANSACTIONS", "SECURE_CONNECTION", "MULTI_RESULTS"))
    assert value(with_iam("with_token", plugins="iam", client_flags=flags)) == 1


def test_a_token_is_kept_for_the_connections_that_come_after(with_iam: WithIam, door: LoginProxy) -> None:
    alias = with_iam("with_token", plugins="iam")
    for _ in range(3):
        assert value(alias) == 1
        connections[alias].close()
    assert len(door.attempts) == 3
    assert len({attempt.token for attempt in door.attempts}) == 1


def test_a_wrong_secret_key(with_iam: WithIam, door: LoginProxy, aws: Aws) -> None:
    error = refusal(with_iam("with_token", plugins="iam", aws_profile=aws(secret="another")))
    assert error.args[0] == 1045
    assert "with an IAM token for 'iam_app' by profile" in error.args[1]
    assert door.problems == ["the signature is wrong"]  # a fresh one: there is no better to be had


def test_a_credentials_file_that_is_written_anew(with_iam: WithIam, door: LoginProxy, tmp_path: Path) -> None:
    """boto3 reads it once. A process that runs for weeks must notice that its keys have been changed."""
    alias = with_iam("with_token", plugins="iam")
    assert value(alias) == 1
    connections[alias].close()
    file = tmp_path / "credentials"
    KEYS["AKIALABLABLABLABLAB3"] = type(KEYS["AKIALABLABLABLABLAB1"])("a-third/secret")
    file.write_text(
        file.read_text()
        .replace(KEYS["AKIALABLABLABLABLAB1"].secret, "a-third/secret")
        .replace("AKIALABLABLABLABLAB1", "AKIALABLABLABLABLAB3")
    )
    door.check.key = lambda name: None if name.endswith("1") else KEYS.get(name)
    assert value(alias) == 1
    assert door.problems == ["", "the access key is not known", ""]


def test_another_users_token_opens_nothing(with_iam: WithIam, door: LoginProxy) -> None:
    """Of a valid key, and in time; the door judges whom it is for."""
    wrapper = connections[with_iam("with_token", plugins="iam")]
    params = wrapper.get_connection_params()
    address = Address("127.0.0.10", door.port)
    credentials = params[CREDENTIALS]
    issued = credentials.at(address).get(time.monotonic() + 10).value
    given = credentials.given(params, replace(issued, user="somebody"))
    with pytest.raises(wrapper.Database.Error, match="Access denied"):
        wrapper.driver.connect(address, given, 5)
    assert door.problems == [f"signed for user {DB_USER!r}"]


def test_each_alias_signs_by_its_own_profile(with_iam: WithIam, door: LoginProxy, aws: Aws) -> None:
    KEYS["AKIALABLABLABLABLAB2"] = type(KEYS["AKIALABLABLABLABLAB1"])("another/secret")
    one = with_iam("one", plugins="iam", iam_expiration=500)
    two = with_iam("two", plugins="iam", iam_expiration=500, aws_profile=aws("AKIALABLABLABLABLAB2"))
    assert value(one) == value(two) == 1
    first, second = (attempt.token for attempt in door.attempts)
    assert "LAB1%2F" in first
    assert "LAB2%2F" in second


@pytest.mark.parametrize("kind", ["role", "web identity", "container", "instance"])
def test_credentials_that_boto3_finds(
    kind: str, with_iam: WithIam, door: LoginProxy, relay: Relay, aws: Aws, tmp_path: Path, monkeypatch: Any
) -> None:
    """Each by its own chain, and all of them for a role that ends: its session token is part of the token."""
    door.check.key = key_of_a_role
    metadata = Metadata("AKIAMETADATA", "of/the/role")
    (tmp_path / "jwt").write_text("a.web.identity")
    source = {
        "role": f"source_profile = {aws()}",
        "web identity": f"web_identity_token_file = {tmp_path / 'jwt'}",
        "container": "credential_source = EcsContainer",
        "instance": "credential_source = Ec2InstanceMetadata",
    }[kind]
    monkeypatch.delenv("AWS_EC2_METADATA_DISABLED")
    monkeypatch.setenv("AWS_EC2_METADATA_SERVICE_ENDPOINT", metadata.url)
    monkeypatch.setenv("AWS_CONTAINER_CREDENTIALS_FULL_URI", f"{metadata.url}/container")
    with open(tmp_path / "config", "a") as config:
        config.write(f"[profile {tmp_path.name}-{kind[:3]}]\nrole_arn = {ROLE}\nregion = eu-west-1\n{source}\n")
    try:
        assert value(with_iam("with_token", plugins="iam", aws_profile=f"{tmp_path.name}-{kind[:3]}")) == 1
    finally:
        metadata.close()
    assert door.problems == [""]
    assert "X-Amz-Security-Token" in door.attempts[0].token
    assert relay.calls == ["AssumeRoleWithWebIdentity" if kind == "web identity" else "AssumeRole"]
    assert bool(metadata.seen) == (kind in ("container", "instance"))


def test_a_profile_that_is_not_there(with_iam: WithIam, door: LoginProxy) -> None:
    error = refusal(with_iam("with_token", plugins="iam", aws_profile="nobodys"), "nobodys")
    assert "No IAM token could be signed for" in str(error)
    assert door.attempts == []


def test_no_aws_credentials_at_all(with_iam: WithIam, door: LoginProxy, tmp_path: Any) -> None:
    with open(tmp_path / "config", "a") as config:
        config.write("[profile bare]\nregion = eu-west-1\n")
    error = refusal(with_iam("with_token", plugins="iam", aws_profile="bare"), "boto3 finds no AWS credentials")
    assert "'bare'" in str(error)


def test_a_wrong_user(with_iam: WithIam, door: LoginProxy) -> None:
    """A token says for whom it is; that one opens nothing for another."""
    alias = with_iam("with_token", plugins="iam", USER="somebody")
    door.check.key = lambda name: None
    assert "'somebody'" in str(refusal(alias))
    assert door.check.problem(door.attempts[0].token, user=DB_USER, host="127.0.0.10", port=door.port) == (
        "signed for user 'somebody'"
    )


def test_a_wrong_region(with_iam: WithIam, door: LoginProxy) -> None:
    error = refusal(with_iam("with_token", plugins="iam", iam_region="us-east-1"))
    assert f"for 127.0.0.10:{door.port} in us-east-1" in str(error)
    assert door.problems == ["signed for region us-east-1"]


def test_a_token_for_another_host_and_port(with_iam: WithIam, door: LoginProxy) -> None:
    refusal(with_iam("with_token", plugins="iam", iam_host="db.abc.eu-west-1.rds.amazonaws.com", iam_default_port=1))
    assert door.problems == ["signed for db.abc.eu-west-1.rds.amazonaws.com:1"]


@pytest.mark.parametrize(("ahead", "problem"), [(3600, "expired"), (-3600, "signed in the future")])
def test_clocks_that_differ(with_iam: WithIam, door: LoginProxy, ahead: float, problem: str) -> None:
    door.check.clock_ahead = ahead
    error = refusal(with_iam("with_token", plugins="iam"))
    assert "this machine's clock says 20" in str(error)
    assert door.problems == [problem]


def test_a_kept_token_that_is_refused_is_replaced_once(with_iam: WithIam, door: LoginProxy) -> None:
    alias = with_iam("with_token", plugins="iam")
    assert value(alias) == 1
    connections[alias].close()
    door.check.longest = 3
    time.sleep(4.1)  # signed in whole seconds
    assert value(alias) == 1
    assert door.problems == ["", "expired", ""]


def test_a_kept_token_and_the_one_that_replaced_it_are_refused(
    with_iam: WithIam, door: LoginProxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("django_aurora_routing.cluster.credentials._FRUITLESS", 60.0)  # a busy machine takes its time
    alias = with_iam("with_token", plugins="iam")
    assert value(alias) == 1
    connections[alias].close()
    time.sleep(1.1)
    door.check.key = lambda name: None
    assert refusal(alias).args[0] == 1045
    assert door.problems == ["", *["the access key is not known"] * 2]
    refusal(alias)
    assert len(door.attempts) == 4  # no second one so soon: it would not help


def test_a_host_name_that_would_change_what_is_signed(with_iam: WithIam, door: LoginProxy) -> None:
    """An instance's name comes from a server, and goes into the address that a token is signed for."""
    alias = with_iam("with_token", plugins="iam")
    assert value(alias) == 1
    wrapper = connections[alias]
    params = wrapper.get_connection_params()
    for host in ("evil.example/?Action=connect&DBUser=root&x=", "a@b", "127.0.0.11:1#", ""):
        with pytest.raises(LoginError, match="no name of a host"):
            log_in(wrapper.driver, Address(host, door.port), params, 5)
    assert len(door.attempts) == 1


def test_without_tls_no_token_is_sent(with_iam: WithIam, door: LoginProxy) -> None:
    door.offers_tls = False
    with pytest.raises(Error, match=r"insecure|SSL|TLS"):
        value(with_iam("with_token", plugins="iam"))
    assert door.attempts == []
    assert not any(b"X-Amz" in said for said in door.in_clear)


def test_to_a_server_of_another_authority_no_token_is_sent(with_iam: WithIam, door: LoginProxy, tmp_path: Any) -> None:
    other = make_certificate(tmp_path, ["127.0.0.10"])
    with pytest.raises(Error, match=r"(?i)certificate"):
        value(with_iam("with_token", plugins="iam", **trusting(other)))
    assert door.attempts == []


def test_to_a_server_of_another_name_no_token_is_sent_unless_the_user_says_so(
    with_iam: WithIam, door: LoginProxy, cluster: LocalCluster
) -> None:
    other = LoginProxy(cluster, door.check, certified_for=["127.99.99.99"])
    try:
        given = {"port": other.port, "plugins": "iam", **trusting(other.ca)}
        with pytest.raises(Error, match=r"(?i)certificate|host ?name|verif|TLS"):
            value(with_iam("with_token", **given))
        assert other.attempts == []
        if not ON_MYSQLCLIENT:  # whose library, where it is MariaDB's, verifies the name in any case
            assert value(with_iam("another", **given, ssl_verify_identity=False)) == 1
    finally:
        other.close()


@pytest.mark.parametrize("manner", [{"greets_with": "mysql_clear_password"}, {"asks_again": True}], ids=str)
def test_other_ways_to_ask_for_a_token(
    with_iam: WithIam, door: LoginProxy, cluster: LocalCluster, manner: dict[str, Any]
) -> None:
    """What the connector answers when it is asked to switch, it logs; the fixture `aws` looks for that."""
    other = LoginProxy(cluster, door.check, **manner)
    try:
        assert value(with_iam("with_token", port=other.port, plugins="iam", **trusting(other.ca))) == 1
        door.attempts += other.attempts
    finally:
        other.close()


def test_a_monitor_with_a_user_of_its_own_is_not_given_the_applications_token(with_iam: WithIam) -> None:
    own = {"topology-monitoring-user": "watcher", "topology-monitoring-password": "w"}
    wrapper = connections[with_iam("with_token", **own)]
    params = wrapper.get_connection_params()
    search = search_for(wrapper.alias, wrapper.settings_dict, wrapper._options, wrapper.driver, params)
    assert search is not None
    assert CREDENTIALS in search.links.hosts.params
    assert CREDENTIALS not in search.links.topology.params
    assert search.links.topology.params["user"] == "watcher"


def test_a_writer_that_dies_when_the_token_has_ended(
    with_iam: WithIam, door: LoginProxy, cluster: LocalCluster, table: str
) -> None:
    """Monitors and new connections sign anew: a failover works after an hour as it does after a minute."""
    door.check.longest = 5
    alias = with_iam("with_token", iam_expiration=5)
    with connections[alias].cursor() as cursor:
        cursor.execute(f"INSERT INTO {table} VALUES (1, 'before')")
    time.sleep(7)
    old = cluster.writer
    with pytest.raises(FailoverSuccessError), transaction.atomic(using=alias), connections[alias].cursor() as cursor:
        cursor.execute(f"INSERT INTO {table} VALUES (2, 'lost')")
        old.kill()
        cluster.promote()
        cursor.execute("SELECT 1")
    with connections[alias].cursor() as cursor:
        cursor.execute(f"INSERT INTO {table} VALUES (3, 'after')")
    assert value(alias, "SELECT @@server_id") is not None
    assert cluster.writer.id != old.id
    assert {row[0] for row in cluster.writer.query(f"SELECT id FROM {table}")} == {1, 3}
    assert {attempt.host for attempt in door.attempts if not attempt.problem} >= {"127.0.0.10", cluster.writer.host}
