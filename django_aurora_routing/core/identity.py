"""Whether two pictures show one cluster; says nothing of who writes in it."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import replace

from .endpoints import Address, without_blue_green
from .topology import Instance, Observation, Topology

_UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")


def share_an_instance(one: Topology, other: Topology) -> bool:
    """Whether an instance is in both, which no two clusters have in common.

    It is known by its address, as two accounts or regions may have instances of one id; or by an id that is unique
    everywhere.
    """
    return not _marks(one.instances).isdisjoint(_marks(other.instances))


def _marks(of: Iterable[Instance]) -> set[Address | str]:
    instances = tuple(of)
    ids = {instance.id for instance in instances if _UUID.fullmatch(instance.id)}
    return {*(instance.address for instance in instances if instance.address.is_known), *ids}


def are_alike(one: Topology, other: Topology) -> bool:
    """Whether both show the same instances in the same roles: two views of one cluster, at one time."""
    said = [{(i.id, i.address, i.role) for i in topology.instances} for topology in (one, other)]
    return bool(one.instances) and said[0] == said[1]


def is_of_another_cluster(known: Topology, seen: Observation) -> bool:
    """Whether a server has told of a cluster that none of the known instances is part of.

    At the switchover of a blue/green deployment the names go over from one side to the other, and it is one cluster. A
    server that tells of itself alone tells of no cluster: that it is part of this one is said by who has listed it.
    """
    if seen.is_alone:
        return False
    told = _marks(map(_without_blue_green, seen.instances))
    return bool(known.instances and told) and told.isdisjoint(_marks(map(_without_blue_green, known.instances)))


def _without_blue_green(instance: Instance) -> Instance:
    address = instance.address
    return replace(instance, address=Address(without_blue_green(address.host), address.port))
