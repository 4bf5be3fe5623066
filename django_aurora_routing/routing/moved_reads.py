"""Reads of a scope whose reader has become another instance, which may be behind what the scope has already seen.

Our backends choose an instance for each connection of a reader's alias, and another one when that is lost, closed or
promoted. They say which in `instance`; of other backends nothing is known, and an alias counts as one server.
"""

from __future__ import annotations

import logging
import time
from typing import Any

from django.db import connections

from .clusters import Cluster
from .context import Frame
from .failed_reads import Execute, stands_in
from .scopes import Scope

logger = logging.getLogger(__name__)


def seen_on_another(
    result: Any, cluster: Cluster, frame: Frame, execute: Execute, sql: Any, params: Any, context: dict[str, Any]
) -> Any:
    """`result`, which an instance gave that has not served this scope before; or that of the writer instead.

    The scope reads then as if it had just written: whatever it has seen was committed by now. So its next reads wait
    for the readers, or for the pin to end.
    """
    connection, scope = context["connection"], frame[5]
    alias, instance = connection.alias, vars(connection).get("instance")
    if connection.in_atomic_block or not connection.autocommit or not _was_routed(cluster, alias, frame, scope):
        return result
    before = scope.served_by.get(alias)
    scope.served_by[alias] = instance
    if before is None or before == instance:
        return result
    logger.info("Reader %r has moved; what this scope reads next must not be older than what it has read", alias)
    scope.adopt({cluster.name: time.time()})
    if scope.must_read_its_writes(cluster):
        writer = connections[cluster.writer]
        if not stands_in(writer, context):
            return result
    return execute(sql, params, False, context)


def _was_routed(cluster: Cluster, alias: str, frame: Frame, scope: Scope) -> bool:
    """Whether the router chose the reader, and no block asked for it."""
    is_asked_for = frame[0] is not None or (frame[6] is not None and bool(frame[6].reads))
    return not is_asked_for and scope.readers.get(cluster.name) == alias
