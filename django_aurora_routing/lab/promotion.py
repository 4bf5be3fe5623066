"""Owns the order of steps that makes a reader the writer without losing a row a client was told is there."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from . import replication
from .errors import LabError
from .instances import Instance

FOLLOW_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class Promoted:
    """Who took over from whom, and when, by `time.monotonic()` (one clock for all processes of the machine)."""

    old: str
    new: str
    started: float
    writable: float
    finished: float


def promote(
    old: Instance,
    readers: Sequence[Instance],
    target: Instance | None,
    *,
    follow: Callable[[Instance, Instance], None],
    publish: Callable[[Instance], None],
) -> Promoted:
    """Promote `target`, or the reader that has most. `old` is running (a planned switch), or has been killed.

    `readers` are those that run. `follow(reader, writer)` re-points replication, `publish(writer)` moves the endpoints.
    """
    started = time.monotonic()
    is_planned = old.state == "running"
    if is_planned:
        new = target or min(readers, key=lambda reader: reader.replication_delay)
        # From here on nobody is told "done" by the old writer; its clients stay connected and hear 1290.
        old.server.sql("SET GLOBAL read_only = 1")
        try:
            replication.wait_applied(new.server, replication.written(old.server))
        except LabError:
            old.server.sql("SET GLOBAL read_only = 0")
            raise
    else:
        new = _gather(readers, target, follow)
    replication.stop_following(new.server)
    new.replication_delay = 0

    followers = [reader for reader in readers if reader is not new]
    if is_planned:
        replication.demote(old.server)
        followers.append(old)
    for follower in followers:
        follow(follower, new)
    replication.set_waiting_for_readers(new.server, bool(followers))
    if followers:
        # Opened a moment earlier, it would make its first client wait for the first reader.
        replication.wait_followed(new.server, seconds=FOLLOW_SECONDS)
    new.server.sql("SET GLOBAL read_only = 0")
    writable = time.monotonic()
    publish(new)
    return Promoted(old=old.id, new=new.id, started=started, writable=writable, finished=time.monotonic())


def _gather(
    readers: Sequence[Instance], target: Instance | None, follow: Callable[[Instance, Instance], None]
) -> Instance:
    """Return the reader to promote, with everything in it that any reader received of the dead writer.

    Semi-sync promises that *one* reader has each acknowledged transaction, not which. Only the receiving thread is
    stopped: with both stopped, MariaDB throws the relay log away.
    """
    received = {}
    for reader in readers:
        reader.server.sql("STOP SLAVE IO_THREAD")
        received[reader.id] = replication.received(reader.server)

    def rank(reader: Instance) -> tuple[int, int]:
        return replication.sequence(received[reader.id]), -reader.replication_delay

    donor = max(readers, key=rank)
    new = target or donor
    replication.wait_applied(donor.server, received[donor.id])
    if replication.sequence(received[new.id]) < replication.sequence(received[donor.id]):
        follow(new, donor)
        replication.wait_applied(new.server, received[donor.id])
    else:
        replication.wait_applied(new.server, received[new.id])
    return new
