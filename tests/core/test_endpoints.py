"""Endpoints: what host names and host patterns say."""

import pytest

from django_aurora_routing.core.endpoints import (
    Address,
    EndpointKind,
    cluster_key,
    default_host_pattern,
    parse_endpoint,
    parse_host_pattern,
)


@pytest.mark.parametrize(
    ("host", "kind", "region"),
    [
        ("shop.cluster-abc123.eu-west-1.rds.amazonaws.com", EndpointKind.CLUSTER, "eu-west-1"),
        ("shop.cluster-ro-abc123.eu-west-1.rds.amazonaws.com", EndpointKind.READER, "eu-west-1"),
        ("one.cluster-custom-abc123.eu-west-1.rds.amazonaws.com", EndpointKind.CUSTOM, "eu-west-1"),
        ("shop-1.abc123.eu-west-1.rds.amazonaws.com", EndpointKind.INSTANCE, "eu-west-1"),
        ("shop.proxy-abc123.eu-west-1.rds.amazonaws.com", EndpointKind.PROXY, "eu-west-1"),
        ("SHOP.CLUSTER-ABC123.EU-WEST-1.RDS.AMAZONAWS.COM.", EndpointKind.CLUSTER, "eu-west-1"),
        ("shop.cluster-abc123.cn-north-1.rds.amazonaws.com.cn", EndpointKind.CLUSTER, "cn-north-1"),
        ("shop.cluster-abc123.rds.cn-north-1.amazonaws.com.cn", EndpointKind.CLUSTER, "cn-north-1"),
        ("127.0.0.10", EndpointKind.IP, ""),
        ("::1", EndpointKind.IP, ""),
        ("db.example.com", EndpointKind.OTHER, ""),
        ("localhost", EndpointKind.OTHER, ""),
    ],
)
def test_a_host_name_says_its_kind_and_region(host: str, kind: EndpointKind, region: str) -> None:
    endpoint = parse_endpoint(host)
    assert (endpoint.kind, endpoint.region) == (kind, region)


def test_writer_and_reader_endpoint_are_one_cluster() -> None:
    writer, reader, other = (
        parse_endpoint(f"{name}.eu-west-1.rds.amazonaws.com")
        for name in ("shop.cluster-abc", "shop.cluster-ro-abc", "other.cluster-abc")
    )
    assert cluster_key(writer, 3306) == cluster_key(reader, 3306)
    assert cluster_key(writer, 3306) != cluster_key(other, 3306)
    assert cluster_key(writer, 3306) != cluster_key(writer, 3307)


def test_an_rds_name_implies_the_pattern_of_its_instances() -> None:
    pattern = default_host_pattern(parse_endpoint("shop.cluster-abc.eu-west-1.rds.amazonaws.com"), 3306)
    assert pattern is not None
    assert pattern.address("shop-1") == Address("shop-1.abc.eu-west-1.rds.amazonaws.com", 3306)
    assert default_host_pattern(parse_endpoint("127.0.0.10"), 3306) is None


def test_a_pattern_may_bring_its_port() -> None:
    assert parse_host_pattern("127.0.0.?", 3307).address("12") == Address("127.0.0.12", 3307)
    assert parse_host_pattern("?.db.example.com:3308", 3307).address("a") == Address("a.db.example.com", 3308)


@pytest.mark.parametrize(
    ("pattern", "reason"),
    [
        ("127.0.0.1", "exactly one '?'"),
        ("?.?.example.com", "exactly one '?'"),
        ("?", "host name"),
        ("? .example.com", "host name"),
        ("?.example.com:x", "port"),
        ("?.example.com:70000", "port"),
        ("?.cluster-abc123.eu-west-1.rds.amazonaws.com", "cluster endpoint"),
    ],
)
def test_an_impossible_pattern_is_refused_with_the_reason(pattern: str, reason: str) -> None:
    with pytest.raises(ValueError, match=reason.replace("?", r"\?")):
        parse_host_pattern(pattern, 3306)
