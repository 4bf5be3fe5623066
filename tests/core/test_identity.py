"""Identity: which pictures show one cluster."""

from __future__ import annotations

import pytest

from django_aurora_routing.core.endpoints import Address
from django_aurora_routing.core.identity import are_alike, is_of_another_cluster, share_an_instance
from django_aurora_routing.core.topology import Instance, Observation, Role, Topology

UUID = "3e11fa47-71ca-11e1-9e33-c80aa9429562"


def topology(*names: str, port: int = 3306, domain: str = ".abc", ident: str = "") -> Topology:
    """The first is the writer."""
    roles = [Role.WRITER, *[Role.READER] * len(names)]
    instances = [Instance(ident or n, Address(n + domain, port), role) for n, role in zip(names, roles, strict=False)]
    return Topology(tuple(instances))


@pytest.mark.parametrize(
    ("one", "other", "shared", "alike"),
    [
        (topology("a", "b"), topology("a", "b"), True, True),
        (topology("a", "b"), topology("b", "a"), True, False),  # other roles: one of them is old
        (topology("a", "b"), topology("b", "c"), True, False),
        (topology("a", "b"), topology("c", "d"), False, False),
        (topology("a"), topology("a", port=3307), False, False),
        (topology("a"), topology("a", domain=".xyz"), False, False),  # another account's, or another region's
        (topology("10.0.0.1", ident=UUID), topology("db-1", ident=UUID), True, False),
        (topology("10.0.0.1", ident="1"), topology("db-1", ident="1"), False, False),
        (topology("a-green-abc123"), topology("a"), False, False),  # two clusters, until the switchover
        (topology(), topology(), False, False),
    ],
)
def test_what_two_pictures_have_in_common(one: Topology, other: Topology, shared: bool, alike: bool) -> None:
    assert share_an_instance(one, other) is share_an_instance(other, one) is shared
    assert are_alike(one, other) is are_alike(other, one) is alike


@pytest.mark.parametrize(
    ("known", "told", "is_other"),
    [
        (topology("a", "b"), topology("b", "c"), False),
        (topology("a", "b"), topology("c", "d"), True),
        (topology("a"), topology("a", port=3307), True),
        (topology(), topology("a"), False),
        (topology("a"), topology(), False),
        (topology("a", "b"), topology("a-green-abc123", "b-green-abc123"), False),
        (topology("a-old1", "b-old1"), topology("a", "b"), False),
    ],
)
def test_who_tells_of_another_cluster(known: Topology, told: Topology, is_other: bool) -> None:
    assert is_of_another_cluster(known, Observation("x", True, told.instances)) is is_other
