"""Says in the log what an administrator should see to, once each; decides nothing."""

from __future__ import annotations

import logging

from ..core.topology import Observation, Topology

logger = logging.getLogger(__name__)


class Remarks:
    """Of one cluster, which logs call `key`."""

    def __init__(self, key: str) -> None:
        self._key = key
        self._made: dict[str, str] = {}

    def look(self, seen: Observation, old: Topology, new: Topology) -> None:
        """Look at what a server has said, and at what has come of it."""
        for rival in _beside_the_writer(new) - _beside_the_writer(old):
            logger.warning(
                "%s: %s takes writes, and so does the writer, %s. The writer stays the writer; the other one is not "
                "used until it is read-only.",
                *(self._key, rival, None if new.writer is None else new.writer.id),
            )
        if self._made.get(seen.server_id, "") != seen.remark:
            self._made[seen.server_id] = seen.remark
            if seen.remark:
                logger.warning("%s: %s", self._key, seen.remark)


def _beside_the_writer(topology: Topology) -> set[str]:
    """Those that take writes although the writer has spoken since they began to."""
    return {rival.id for rival in topology.rivals if rival.server not in topology.promoted}
