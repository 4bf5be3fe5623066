"""Keeps out what another cluster tells of itself, when a name or an address leads to one by now."""

from __future__ import annotations

import logging

from ..core.endpoints import Address
from ..core.identity import is_of_another_cluster
from ..core.topology import Observation, Topology

logger = logging.getLogger(__name__)

FORSAKEN = 30.0
"""Seconds without an answer of any known instance, after which HOST is followed to a cluster of other instances.

Longer than DNS keeps an old address, at which there may be somebody else's instance by now.
"""


class Strangers:
    """Belongs to one cluster, and remembers when somebody of it has answered."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._answered_at = float("-inf")
        self._problem = ""

    def look(self, known: Topology, seen: Observation, asked_at: float, asked: Address, *, is_named: bool) -> str:
        """Why not to take in what the server that `asked` leads to has said at `asked_at`; empty where it is to be.

        When the name is the alias's own (`is_named`), and nobody of the known instances has answered for long, they
        are no more: the cluster was made anew, or HOST was moved.
        """
        if not is_of_another_cluster(known, seen):
            self._answered_at = max(self._answered_at, asked_at)
            return ""
        others = ", ".join(sorted(instance.id for instance in seen.instances))
        if is_named and seen.is_from_writer and asked_at - self._answered_at > FORSAKEN:
            logger.warning("%s: %s leads to another cluster now (%s), and is followed there", self._name, asked, others)
            self._answered_at = asked_at
            return ""
        problem = f"{asked} leads to another cluster ({others}), of which none of the known instances is part"
        if self._problem != problem:
            logger.warning("%s: %s; it is not taken for this one", self._name, problem)
        self._problem = problem
        return problem
