"""Names of one's own: the RDS name that DNS has behind them, and what follows from it."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import pytest
from django.db import connections

from django_aurora_routing.backends.wiring import search_for
from django_aurora_routing.cluster.connector import Search
from django_aurora_routing.cluster.logins import signed_address
from django_aurora_routing.cluster.meeting import Meeting, Met, MissingSetting
from django_aurora_routing.cluster.names import names_behind, rds_name_behind
from django_aurora_routing.core.endpoints import Address
from django_aurora_routing.core.logins import IamLogin, signed_for
from django_aurora_routing.lab import LocalCluster
from tests.backends.conftest import Aliases
from tests.backends.conftest import aliases as aliases

BASE = "eu-west-1.rds.amazonaws.com"
CLUSTER, READER, INSTANCE = f"shop.cluster-abc.{BASE}", f"shop.cluster-ro-abc.{BASE}", f"shop-1.abc.{BASE}"
GLOBAL = "shop.global-abc.global.rds.amazonaws.com"


@pytest.mark.parametrize(
    ("host", "answer", "name"),
    [
        ("db.example.com", [INSTANCE, "db.example.com", CLUSTER], CLUSTER),
        ("db.example.com", ["ec2-1-2-3-4.compute.amazonaws.com", "db.example.com", READER, INSTANCE], READER),
        ("db.example.com", [INSTANCE.upper() + ".", "db.example.com"], INSTANCE),
        ("db.example.com", [INSTANCE, "db.example.com", GLOBAL, CLUSTER], CLUSTER),
        (GLOBAL, [INSTANCE, GLOBAL, CLUSTER], CLUSTER),
        ("db.example.com", ["db.example.com"], None),
        ("db.example.com", [GLOBAL], None),
        ("db.example.com", [], None),
    ],
)
def test_the_name_that_a_cname_stands_for(host: str, answer: list[str], name: str | None) -> None:
    found = rds_name_behind(host, lambda asked: answer if asked == host else [])
    assert (found.host if found else None) == name


@pytest.mark.parametrize("host", [CLUSTER, READER, INSTANCE, "127.0.0.1", "::1"])
def test_nobody_is_asked_about_a_name_that_says_it_all(host: str) -> None:
    def refuse(asked: str) -> list[str]:
        raise AssertionError(asked)

    assert rds_name_behind(host, refuse) is None


def test_the_systems_resolver() -> None:
    assert "localhost" in names_behind("localhost")
    for nothing in ("nowhere.invalid", "", "a" * 70, "a..b"):
        assert rds_name_behind(nothing) is None


def test_a_token_is_signed_for_the_name_that_a_cname_leads_to() -> None:
    login = IamLogin("u", "", "", None, 1.0, None)
    address = signed_address(login, Address("db.example.com", 3307), lambda host: [CLUSTER])
    assert str(signed_for(login, address)) == f"{CLUSTER}:3307 in eu-west-1"
    told = replace(login, host="other.example.com")
    assert signed_address(told, Address("db.example.com"), lambda host: [CLUSTER]) == Address("db.example.com")


def answering(answer: list[str], host: str) -> list[str]:
    return answer


def search_by(aliases: Aliases, host: str) -> Search:
    """That of an alias which does not say how the cluster's instances are named, with its cluster not met yet."""
    wrapper = connections[aliases.add("w", host=host, cluster_instance_host_pattern=..., cluster_id="by name")]
    params = wrapper.get_connection_params()
    search = search_for(wrapper.alias, wrapper.settings_dict, wrapper._options, wrapper.driver, params)
    assert search is not None
    return search


def test_a_cluster_that_is_met_by_a_cname_has_the_pattern_of_the_name_behind_it(
    cluster: LocalCluster, aliases: Aliases
) -> None:
    name = "127." + cluster.writer_endpoint.host.rpartition(".")[2]  # no IP address as we know them, but it leads there
    search = search_by(aliases, name)
    asked: list[str] = []

    def resolve(host: str) -> list[str]:
        asked.append(host)
        return [host, CLUSTER]

    met = Meeting(search.cluster.settings, search.links, resolve).hold()
    assert isinstance(met, Met)
    search.driver.close(met.connection)
    assert {i.address.host for i in met.seen.instances} == {f"{i.id}.abc.{BASE}" for i in cluster.instances}
    assert asked == [name]

    for answer, words in (([name], "no RDS name"), ([f"shop.proxy-abc.{BASE}"], "RDS proxy")):
        failed = Meeting(search.cluster.settings, search.links, partial(answering, answer)).hold()
        assert isinstance(failed, MissingSetting)
        assert words in str(failed)
        assert "cluster_instance_host_pattern" in str(failed)
