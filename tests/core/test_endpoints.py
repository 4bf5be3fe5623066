"""Endpoints: what host names and host patterns say."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from django_aurora_routing.core.endpoints import (
    Address,
    EndpointKind,
    cluster_key,
    default_host_pattern,
    parse_endpoint,
    parse_host_pattern,
    parse_hosts,
    without_blue_green,
)

# The regions of each partition with its suffix: `partitions.json` of botocore 1.44.
REGIONS = {
    "amazonaws.com": """
        af-south-1 ap-east-1 ap-east-2 ap-northeast-1 ap-northeast-2 ap-northeast-3 ap-south-1 ap-south-2 ap-southeast-1
        ap-southeast-2 ap-southeast-3 ap-southeast-4 ap-southeast-5 ap-southeast-6 ap-southeast-7 ca-central-1 ca-west-1
        eu-central-1 eu-central-2 eu-north-1 eu-south-1 eu-south-2 eu-west-1 eu-west-2 eu-west-3 il-central-1
        me-central-1 me-south-1 me-west-1 mx-central-1 sa-east-1 sa-west-1 us-east-1 us-east-2 us-west-1 us-west-2
        us-gov-east-1 us-gov-west-1
    """,
    "amazonaws.com.cn": "cn-north-1 cn-northwest-1",
    "amazonaws.eu": "eusc-de-east-1",
    "c2s.ic.gov": "us-iso-east-1 us-iso-west-1",
    "sc2s.sgov.gov": "us-isob-east-1 us-isob-west-1",
    "cloud.adc-e.uk": "eu-isoe-west-1",
    "csp.hci.ic.gov": "us-isof-east-1 us-isof-south-1",
}
BASES = [
    (region, f"{middle}.{suffix}")
    for suffix, regions in REGIONS.items()
    for region in regions.split()
    for middle in (f"{region}.rds", f"rds.{region}")
]
KINDS = {
    "shop.cluster-abc123": EndpointKind.CLUSTER,
    "shop.cluster-ro-abc123": EndpointKind.READER,
    "one.cluster-custom-abc123": EndpointKind.CUSTOM,
    "shop-1.abc123": EndpointKind.INSTANCE,
    "shop.proxy-abc123": EndpointKind.PROXY,
    "reads.endpoint.proxy-abc123": EndpointKind.PROXY,
    "shop.shardgrp-abc123": EndpointKind.SHARD_GROUP,
}


@pytest.mark.parametrize(("name", "kind"), KINDS.items())
def test_a_name_says_its_kind_and_region_in_every_region(name: str, kind: EndpointKind) -> None:
    assert len(BASES) == 96
    for region, base in BASES:
        endpoint = parse_endpoint(f"{name}.{base}")
        assert (endpoint.kind, endpoint.region) == (kind, region), base
        assert endpoint.domain == f"abc123.{base}"
        assert endpoint.name == name.rpartition(".")[0]
        pattern = default_host_pattern(endpoint, 3306)
        assert (pattern is None) is kind.hides_instances
        assert pattern is None or pattern.pattern == f"?.abc123.{base}"


@pytest.mark.parametrize(
    ("host", "kind"),
    [
        ("shop.global-abc123.global.rds.amazonaws.com", EndpointKind.GLOBAL),
        ("shop.global-abc123.global.rds.amazonaws.com.cn", EndpointKind.GLOBAL),
        ("shop.global-abc123.eu-west-1.rds.amazonaws.com", EndpointKind.OTHER),
        ("shop.cluster-abc123.global.rds.amazonaws.com", EndpointKind.OTHER),
        ("127.0.0.10", EndpointKind.IP),
        ("::1", EndpointKind.IP),
        ("db.example.com", EndpointKind.OTHER),
        ("localhost", EndpointKind.OTHER),
        ("", EndpointKind.OTHER),
        ("rds.eu-west-1.amazonaws.com", EndpointKind.OTHER),
        ("shop.cluster-abc123.eu-west-1.rds.amazonaws.com.example.com", EndpointKind.OTHER),
        ("shop.cluster-abc123.eu-west-1.rds.amazonaws.org", EndpointKind.OTHER),
        ("a.b.cluster-abc123.eu-west-1.rds.amazonaws.com", EndpointKind.OTHER),
        ("balancer-1.elb.eu-west-1.amazonaws.com", EndpointKind.OTHER),
    ],
)
def test_other_names_have_no_region(host: str, kind: EndpointKind) -> None:
    endpoint = parse_endpoint(host)
    assert (endpoint.kind, endpoint.region) == (kind, "")
    assert default_host_pattern(endpoint, 3306) is None
    assert kind.is_rds is (kind is EndpointKind.GLOBAL)


HOSTS = st.builds(
    "{}.{}".format, st.sampled_from([*KINDS]), st.sampled_from([base for _, base in BASES])
) | st.from_regex(r"[a-zA-Z0-9.:?/_-]*", fullmatch=True)


@given(HOSTS, st.sampled_from(["", "."]))
def test_upper_case_and_a_trailing_dot_make_no_difference(host: str, dot: str) -> None:
    assert parse_endpoint(host.upper() + dot) == parse_endpoint(host)


@given(st.text() | st.text("rds.amzonwc-:0123456789"), st.integers(1, 65535))
def test_no_host_name_is_too_strange(host: str, port: int) -> None:
    endpoint = parse_endpoint(host)
    assert parse_endpoint(endpoint.host).kind is endpoint.kind
    assert cluster_key(endpoint, port)
    default_host_pattern(endpoint, port)


@pytest.mark.parametrize(
    ("name", "plain", "is_green", "is_old"),
    [
        ("shop-green-a1b2c3", "shop", True, False),
        ("shop-old1", "shop", False, True),
        ("shop-old12", "shop", False, True),
        ("shop", "shop", False, False),
        ("shop-green", "shop-green", False, False),
        ("evergreen-abcdef", "evergreen-abcdef", False, False),
        ("shop-old", "shop-old", False, False),
        ("green-fields-green-abc123", "green-fields", True, False),
    ],
)
def test_the_two_sides_of_a_blue_green_deployment(name: str, plain: str, is_green: bool, is_old: bool) -> None:
    for kind in KINDS:
        rest = kind.rpartition(".")[2] + ".eu-west-1.rds.amazonaws.com"
        endpoint = parse_endpoint(f"{name}.{rest}".upper())
        assert (endpoint.is_green, endpoint.is_old, endpoint.plain_name) == (is_green, is_old, plain)
        assert without_blue_green(f"{name}.{rest}") == f"{plain}.{rest}"
    assert without_blue_green(name) == plain


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


def test_patterns_and_hosts_are_in_plain_letters() -> None:
    """So that an address equals the same one by another way."""
    assert parse_host_pattern("?.ABC.eu-west-1.RDS.amazonaws.com.", 1).pattern == "?.abc.eu-west-1.rds.amazonaws.com"
    assert parse_hosts("DB.Example.com.:3307,[::1]", 3306) == (Address("db.example.com", 3307), Address("::1", 3306))


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
        ("?.proxy-abc123.eu-west-1.rds.amazonaws.com", "RDS proxy"),
        ("?.global-abc123.global.rds.amazonaws.com", "global database"),
    ],
)
def test_an_impossible_pattern_is_refused_with_the_reason(pattern: str, reason: str) -> None:
    with pytest.raises(ValueError, match=reason.replace("?", r"\?")):
        parse_host_pattern(pattern, 3306)
