"""What HOST's name says of an alias, before anybody has connected."""

from __future__ import annotations

import pytest

from django_aurora_routing.backends.wiring import cluster_key_of, cluster_settings_of, is_placed, seed_of
from django_aurora_routing.core.endpoints import Address
from django_aurora_routing.core.options import FailoverMode, Options, parse_options

BASE = "eu-west-1.rds.amazonaws.com"


@pytest.mark.parametrize(
    ("host", "options", "placed"),
    [
        (f"shop.cluster-abc.{BASE}", {}, True),
        (f"SHOP.CLUSTER-RO-abc.{BASE}.", {}, True),
        (f"one.cluster-custom-abc.{BASE}", {}, True),
        (f"shop-1.abc.{BASE}", {}, True),
        ("shop.global-abc.global.rds.amazonaws.com", {}, True),
        ("db.example.com", {}, True),
        (f"shop.cluster-abc.{BASE}", {"plugins": ""}, False),
        (f"shop.cluster-abc.{BASE}", {"plugins": "", "read_only": True}, False),
        (f"shop.proxy-abc.{BASE}", {}, False),
        (f"reads.endpoint.proxy-abc.{BASE}", {"read_only": True}, False),
        (f"shop.shardgrp-abc.{BASE}", {}, False),
    ],
)
def test_which_aliases_are_placed_on_an_instance(host: str, options: dict[str, object], placed: bool) -> None:
    parsed = parse_options(options, driver_names=(), host=host)
    assert parsed.problems == ()
    assert is_placed({"HOST": host}, parsed.options) is placed
    reads = "-ro-" in host.lower() or "read_only" in options
    wanted = FailoverMode.READER_OR_WRITER if reads else FailoverMode.STRICT_WRITER
    assert parsed.options.failover_mode is wanted


def test_names_that_differ_in_writing_alone_are_one() -> None:
    plain, other = {"HOST": f"shop.cluster-abc.{BASE}"}, {"HOST": f"SHOP.cluster-ABC.{BASE.upper()}.", "PORT": "3306"}
    assert seed_of(plain) == seed_of(other) == Address(plain["HOST"])
    reader = {"HOST": f"shop.cluster-ro-abc.{BASE}"}
    assert cluster_key_of(plain, Options()) == cluster_key_of(other, Options()) == cluster_key_of(reader, Options())
    patterns = {cluster_settings_of(conf, Options()).pattern for conf in (plain, other, reader)}
    assert {pattern.pattern for pattern in patterns if pattern} == {f"?.abc.{BASE}"}
