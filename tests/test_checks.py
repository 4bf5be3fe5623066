"""System checks: each id comes for what it names, in the words of the error that connecting would give."""

from __future__ import annotations

from typing import Any

import pytest
from django.core.checks import CheckMessage, run_checks
from django.test import override_settings

from django_aurora_routing.checks.backend import check_names
from django_aurora_routing.drivers.mysql_connector import extension_problem

ENGINE = "django_aurora_routing.backends.mysql_connector"

RDS = "shop.cluster-abc.eu-west-1.rds.amazonaws.com"
MYSQLCLIENT = "django_aurora_routing.backends.mysql"


def messages(**aliases: Any) -> list[CheckMessage]:
    databases = {name: {"ENGINE": ENGINE, **conf} for name, conf in aliases.items()}
    with override_settings(DATABASES=databases):
        # Of no database: Django 6.1 else takes them all, and the resolver would be asked.
        found = run_checks(tags=["aurora_routing"], databases=[])
        return [m for m in found if m.id != "aurora_routing.W001"]


def ids(**aliases: Any) -> list[str | None]:
    return [message.id for message in messages(**aliases)]


pytestmark = pytest.mark.filterwarnings("ignore:Overriding setting DATABASES")


def test_options_are_checked_against_the_engines_own_driver() -> None:
    def hint_of(engine: str, name: str) -> str | None:
        with override_settings(DATABASES={"default": {"ENGINE": engine, "OPTIONS": {name: 1}}}):
            found = [m for m in run_checks(tags=["aurora_routing"]) if m.id == "aurora_routing.E001"]
        return next((str(m.hint) for m in found if f"OPTIONS[{name!r}]" in m.msg), None)

    assert hint_of(MYSQLCLIENT, "client_flga") == "Did you mean 'client_flag'?"
    assert hint_of(MYSQLCLIENT, "ssl_mode") is None
    assert hint_of(ENGINE, "ssl_mode") is not None
    assert hint_of(ENGINE, "ssl_ca") is None
    assert "'ssl'" in str(hint_of(MYSQLCLIENT, "ssl_ca"))
    assert "mysql-connector-python" in str(hint_of(MYSQLCLIENT, "use_pure"))
    assert hint_of(MYSQLCLIENT, "plugns") == "Did you mean 'plugins'?"


def test_good_settings_pass() -> None:
    conf = {"HOST": "shop.cluster-abc.eu-west-1.rds.amazonaws.com", "OPTIONS": {"plugins": "failover_v2"}}
    assert ids(default=conf, reader={**conf, "OPTIONS": {**conf["OPTIONS"], "read_only": True}}) == []  # type: ignore[dict-item]


def test_e001_says_what_connecting_would_say() -> None:
    (message,) = messages(default={"OPTIONS": {"plugns": "failover"}})
    assert message.id == "aurora_routing.E001"
    assert "DATABASES['default']: OPTIONS['plugns']" in message.msg
    assert message.hint == "Did you mean 'plugins'?"


@pytest.mark.parametrize(
    "wrong",
    [{"PORT": "33o6"}, {"PORT": 70000}, {"PORT": "²"}, {"PORT": -1}, {"HOST": None}, {"HOST": 5}, {"OPTIONS": "x"}],
)
def test_e001_for_settings_of_the_wrong_kind(wrong: dict[str, Any]) -> None:
    (message,) = messages(default=wrong)
    assert message.id == "aurora_routing.E001"
    assert next(iter(wrong)) in message.msg


AURORA = {"wrapper_dialect": "aurora-mysql"}


def test_e002_when_the_dialect_needs_a_pattern_that_the_host_does_not_give() -> None:
    assert ids(default={"HOST": "10.0.0.1", "OPTIONS": AURORA}) == ["aurora_routing.E002"]
    assert ids(default={"OPTIONS": AURORA}) == ["aurora_routing.E002"]
    pattern = {**AURORA, "cluster_instance_host_pattern": "?.example.com"}
    assert ids(default={"HOST": "10.0.0.1", "OPTIONS": pattern}) == []
    spread = {"wrapper_dialect": "global-aurora-mysql"}
    assert ids(default={"HOST": "10.0.0.1", "OPTIONS": spread}) == ["aurora_routing.E002"]
    patterns = {**spread, "global_cluster_instance_host_patterns": "eu-west-1:?.example.com"}
    assert ids(default={"HOST": "10.0.0.1", "OPTIONS": patterns}) == []


DNS = {
    "db.example.com": ["shop-1.abc.eu-west-1.rds.amazonaws.com", "db.example.com", RDS],
    "reads.example.com": ["shop.cluster-ro-abc.eu-west-1.rds.amazonaws.com"],
    "proxy.example.com": ["shop.proxy-abc.eu-west-1.rds.amazonaws.com"],
    "elsewhere.example.com": ["ec2-1-2-3-4.eu-west-1.compute.amazonaws.com"],
}


def names(host: str, options: dict[str, Any]) -> list[str]:
    """What is said of an alias by DNS, and nothing unless its database is named."""
    conf = {"ENGINE": ENGINE, "HOST": host, "USER": "u", "OPTIONS": options}
    with override_settings(DATABASES={"default": conf}):
        for databases in (None, [], ["other"]):
            assert check_names(None, databases=databases, resolve=None) == []
        found = check_names(None, databases=["default"], resolve=lambda host: DNS.get(host, []))
    return [str(message.id).rpartition(".")[2] for message in found]


@pytest.mark.parametrize(
    ("host", "options", "said"),
    [
        ("db.example.com", AURORA, []),
        ("DB.example.com", AURORA, []),
        ("elsewhere.example.com", AURORA, ["E002"]),
        ("nowhere.example.com", AURORA, ["E002"]),
        ("nowhere.example.com", {}, []),
        ("nowhere.example.com", {**AURORA, "plugins": ""}, []),
        ("db.example.com", {"plugins": "iam", "ssl_ca": "x"}, []),
        ("elsewhere.example.com", {"plugins": "iam", "ssl_ca": "x"}, ["E004"]),
        ("elsewhere.example.com", {"plugins": "iam", "ssl_ca": "x", "iam_region": "eu-west-1"}, ["W003"]),
        ("elsewhere.example.com", {"plugins": "iam", "ssl_ca": "x", "iam_host": RDS}, []),
        ("reads.example.com", {}, ["W004"]),
        ("reads.example.com", {"read_only": True}, []),
        ("reads.example.com", {"failover_mode": "reader_or_writer"}, []),
        ("proxy.example.com", {}, ["W004"]),
        ("proxy.example.com", {"plugins": ""}, []),
        ("proxy.example.com", AURORA, ["E002", "W004"]),
        (RDS, AURORA, []),
    ],
)
def test_what_a_cname_leads_to_is_checked_for_databases_that_are_named(
    host: str, options: dict[str, Any], said: list[str]
) -> None:
    assert names(host, options) == said


def test_the_resolver_is_asked_by_the_command_for_named_databases() -> None:
    conf = {"ENGINE": ENGINE, "HOST": "nowhere.invalid", "OPTIONS": AURORA}
    with override_settings(DATABASES={"default": conf}):
        found = run_checks(tags=["aurora_routing"], databases=["default"])
        assert [m.id for m in found if m.id != "aurora_routing.W001"] == ["aurora_routing.E002"]


def test_no_e002_when_another_of_the_hosts_gives_it() -> None:
    hosts = {"wrapper_dialect": "aurora-mysql", "hosts": ["shop.cluster-ro-abc.eu-west-1.rds.amazonaws.com"]}
    assert ids(default={"HOST": "db.example.com", "OPTIONS": hosts}) == []


def test_e001_for_hosts_that_are_none() -> None:
    (message,) = messages(default={"OPTIONS": {"hosts": ["a", "b c"]}})
    assert message.id == "aurora_routing.E001"
    assert "OPTIONS['hosts']: 'b c' is no host name" in message.msg


def test_i001_for_an_option_without_effect() -> None:
    assert ids(default={"OPTIONS": {"bg_id": "1"}}) == ["aurora_routing.I001"]


def test_w002_when_aliases_of_one_cluster_disagree() -> None:
    host = {"HOST": "db.example.com"}
    assert ids(default=host, reader={**host, "OPTIONS": {"topology_refresh_ms": 5}}) == ["aurora_routing.W002"]
    assert ids(default=host, reader={**host, "OPTIONS": {"topology_refresh_ms": 5, "cluster_id": "2"}}) == []
    assert ids(default=host, reader={**host, "OPTIONS": {"read_only": True, "failover_timeout_sec": 5}}) == []
    assert ids(default=host, reader={**host, "OPTIONS": {"hosts": "a"}}) == ["aurora_routing.W002"]
    names = {"OPTIONS": {"hosts": ["db.example.com", "a"], "cluster_id": "1"}}
    assert ids(default={**host, **names}, reader={"HOST": "a", **names}) == []


def test_e001_for_what_a_login_lacks() -> None:
    found = {m.msg.partition(": ")[2].partition(":")[0] for m in messages(default={"OPTIONS": {"plugins": "iam"}})}
    assert found == {"USER", "OPTIONS['iam_region']", "OPTIONS['ssl_ca']"}
    for plugin in ("aws_secrets_manager", "federated_auth", "okta"):
        assert set(ids(default={"HOST": "db.example.com", "OPTIONS": {"plugins": plugin}})) == {"aurora_routing.E001"}


def test_w003_for_a_token_that_rds_would_not_take() -> None:
    options = {"plugins": "iam", "ssl_ca": "rds.pem", "region": "eu-west-1"}
    conf = {"HOST": "10.0.0.1", "USER": "u", "OPTIONS": options}
    assert ids(default=conf) == ["aurora_routing.W003"]
    assert ids(default={**conf, "OPTIONS": {**options, "iam_host": RDS}}) == []
    for host in (RDS, "shop.global-abc.global.rds.amazonaws.com", "db.example.com"):
        assert ids(default={**conf, "HOST": host}) == []


PROXY = "shop.proxy-abc.eu-west-1.rds.amazonaws.com"


def test_i002_for_a_proxy_whose_cluster_cannot_be_seen() -> None:
    (message,) = messages(default={"HOST": PROXY.upper()})
    assert message.id == "aurora_routing.I002"
    assert "RDS proxy" in message.msg
    meant: list[dict[str, Any]] = [{"plugins": ""}, {"plugins": "", "read_only": True}]
    for options in meant:
        assert ids(default={"HOST": PROXY, "OPTIONS": options}) == []
    named: list[dict[str, Any]] = [
        {"plugins": "failover", "wrapper_dialect": "aurora-mysql"},
        {"plugins": "initial_connection", "read_only": True},
    ]
    for options in named:
        assert ids(default={"HOST": PROXY, "OPTIONS": options}) == ["aurora_routing.I002"]


@pytest.mark.parametrize(
    ("host", "options", "said"),
    [
        (RDS, {"plugins": ""}, ["W005"]),
        ("shop.global-abc.global.rds.amazonaws.com", {"plugins": "connect_time"}, ["W005"]),
        (RDS, {}, []),
        (RDS, {"plugins": "initial_connection"}, []),
        (RDS, {"plugins": "", "read_only": False}, []),
        (RDS.replace("cluster-", "cluster-ro-"), {"plugins": ""}, []),
        ("replica.example.com", {"plugins": ""}, []),
        ("", {"plugins": "srw", "srw_read_endpoint": RDS}, []),
    ],
)
def test_w005_for_a_reader_that_nothing_takes_to_one(host: str, options: dict[str, Any], said: list[str]) -> None:
    found = ids(default={"HOST": host, "OPTIONS": {"read_only": True, **options}})
    assert found == [f"aurora_routing.{name}" for name in said]


def test_e003_for_a_shard_group() -> None:
    (message,) = messages(default={"HOST": "shop.shardgrp-abc.eu-west-1.rds.amazonaws.com"})
    assert message.id == "aurora_routing.E003"
    assert "PostgreSQL only" in message.msg


def test_w001_says_so_where_the_c_extension_does_not_load_and_only_there() -> None:
    with override_settings(DATABASES={"default": {"ENGINE": ENGINE}}):
        found = [m for m in run_checks(tags=["aurora_routing"]) if m.id == "aurora_routing.W001"]
    assert bool(found) == (extension_problem() is not None)
    with override_settings(DATABASES={"default": {"ENGINE": ENGINE, "OPTIONS": {"use_pure": True}}}):
        assert run_checks(tags=["aurora_routing"]) == []


def test_other_engines_are_none_of_our_business() -> None:
    with override_settings(DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "OPTIONS": {"plugns": 1}}}):
        assert run_checks(tags=["aurora_routing"]) == []


def test_w009_says_for_a_deployment_that_a_plugin_is_for_tests() -> None:
    conf = {"ENGINE": ENGINE, "OPTIONS": {"plugins": "failover_v2, dev"}}
    with override_settings(DATABASES={"default": conf}):
        for deploys, expected in ((True, ["aurora_routing.W009"]), (False, [])):
            found = run_checks(tags=["aurora_routing"], include_deployment_checks=deploys)
            assert [message.id for message in found if message.id != "aurora_routing.W001"] == expected


def test_a_fixed_endpoint_is_looked_at_in_the_place_of_host() -> None:
    ends = {
        "srw_write_endpoint": "shop.proxy-abc.eu-west-1.rds.amazonaws.com",
        "srw_read_endpoint": "10.0.0.1",
    }
    options = {"plugins": "srw,iam", "ssl_ca": "x", "iam_region": "eu-west-1", **ends}
    assert ids(default={"USER": "shop", "OPTIONS": options}) == []
    assert "aurora_routing.W003" in ids(default={"USER": "shop", "OPTIONS": {**options, "read_only": True}})


def test_what_a_pool_lacks_is_an_error_of_its_alias() -> None:
    assert ids(default={"HOST": "db.example.com", "OPTIONS": {"pool": True}}) == []
    (message,) = messages(default={"HOST": "db.example.com", "CONN_MAX_AGE": 60, "OPTIONS": {"pool": True}})
    assert message.id == "aurora_routing.E001"
    assert "CONN_MAX_AGE: Pooling doesn't support persistent connections." in message.msg
