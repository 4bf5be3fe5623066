"""Who of a cluster an alias may be connected to, by role and by region; knows nothing of strategies, time or failures.

A cluster of one region is the case in which no instance tells a region: nothing is restricted then.
"""

from __future__ import annotations

import enum
import re
from collections.abc import Iterable
from dataclasses import dataclass

from .topology import Instance, Observation, Role, Topology


class Readers(enum.Enum):
    """Which readers are wanted; HOME and AWAY are of the home region and of all others."""

    NONE = "no reader"
    HOME = "reader in the home region"
    AWAY = "reader outside the home region"
    ANY = "reader"


@dataclass(frozen=True, slots=True)
class Wish:
    """What an alias wants: a reader of these, and the writer, which only stands in where a reader is wanted."""

    readers: Readers
    writer: bool

    def __str__(self) -> str:
        return "writer" if self.readers is Readers.NONE else self.readers.value


# The modes of the AWS wrapper for a global database, with `_` for the `-` that may stand there as well.
REGION_MODES = {
    "strict_writer": Wish(Readers.NONE, True),
    "strict_home_reader": Wish(Readers.HOME, False),
    "strict_out_of_home_reader": Wish(Readers.AWAY, False),
    "strict_any_reader": Wish(Readers.ANY, False),
    "home_reader_or_writer": Wish(Readers.HOME, True),
    "out_of_home_reader_or_writer": Wish(Readers.AWAY, True),
    "any_reader_or_writer": Wish(Readers.ANY, True),
}


@dataclass(frozen=True, slots=True)
class Regions:
    """What an alias has said of regions. By default nothing, and then none of this makes a difference.

    `accessible`: those that may be connected to at all; empty for all. `home`, `active`, `inactive`: what is wanted
    while the primary region, which is the writer's, is the home region, and while it is not (`gdb_failover`).
    `rw_home`, and whether writer, readers and forwarded writes stay there (`gdb_rw`).
    """

    accessible: frozenset[str] = frozenset()
    home: str = ""
    active: Wish | None = None
    inactive: Wish | None = None
    rw_home: str = ""
    writer_stays: bool = False
    readers_stay: bool = False
    forwards_writes: bool = False

    def wish(self, otherwise: Wish, primary: str) -> Wish:
        """What is wanted while the writer is in region `primary`; `otherwise` without modes of a global database."""
        wish = self.active if not primary or primary == self.home else self.inactive
        return otherwise if wish is None else wish


ALL_REGIONS = Regions()


class Duty(enum.Enum):
    """What a connection is there for."""

    WRITE = "to write"
    FORWARD = "to write on a reader, whose server sends it on to the writer"
    READ = "to read"

    def differs_from(self, other: Duty) -> bool:
        """Whether a session that is there for the other has to be set up anew for this one."""
        return self is not other and Duty.FORWARD in (self, other)


@dataclass(frozen=True, slots=True)
class Candidates:
    """Who a connection may be on: one of `readers`, or the writer while there is none of them.

    `refusal`: why it cannot be the writer although that is wanted.
    """

    wish: Wish
    readers: tuple[Instance, ...] = ()
    writer: Instance | None = None
    refusal: str = ""
    duty: Duty = Duty.READ

    @property
    def wants_reader(self) -> bool:
        """Whether the writer only stands in for a reader."""
        return self.duty is not Duty.WRITE

    @property
    def may_be_writer(self) -> bool:
        """Whether it may be the writer, be it known or not."""
        return self.wish.writer and not self.refusal

    @property
    def only_role(self) -> Role | None:
        """The one role that is right; None where both may be."""
        if self.duty is Duty.READ:
            return None if self.wish.writer else Role.READER
        return Role.WRITER if self.duty is Duty.WRITE else None


def candidates(
    wish: Wish, regions: Regions, *, readers: Iterable[Instance], writer: Instance | None, primary: str
) -> Candidates:
    """Who of the readers that are alive, and of the writer, is right for `wish`; `primary` is the writer's region.

    What is accessible comes first, then what the alias is kept to, then what it wants.
    """
    wish = regions.wish(wish, primary)
    near = tuple(i for i in readers if is_reachable(i, regions.accessible))
    if wish.readers is Readers.NONE and regions.forwards_writes and not _is_home(primary, regions.rw_home):
        local = tuple(i for i in near if _is_home(i.region, regions.rw_home))
        refusal = _why_not(writer, regions)
        return Candidates(wish, local, None if refusal else writer, refusal, Duty.FORWARD)
    if regions.readers_stay:
        near = tuple(i for i in near if _is_home(i.region, regions.rw_home))
    wanted = tuple(i for i in near if _is_wanted(wish.readers, i.region, regions.home))
    refusal = _why_not(writer, regions) if wish.writer else ""
    stands_in = writer if wish.writer and not refusal else None
    return Candidates(wish, wanted, stands_in, refusal, Duty.WRITE if wish.readers is Readers.NONE else Duty.READ)


_REGION = re.compile(r"[a-z]{2,5}(?:-[a-z]+)+-[0-9]+")


def is_region(name: str) -> bool:
    """Whether an AWS region can have that name."""
    return _REGION.fullmatch(name) is not None


def is_reachable(instance: Instance, accessible: frozenset[str]) -> bool:
    """Whether an instance can be connected to and may be; where its region is not told, it may."""
    return instance.address.is_known and is_accessible(instance.region, accessible)


def has_to_be_believed(seen: Observation, known: Topology, *, is_trusted: bool, accessible: frozenset[str]) -> bool:
    """Whether a reader's word about who the writer is has to do, because nobody here can ask that one.

    Not while the known writer is within reach and trusted: that one can be asked, and is.
    """
    claimed, writer = seen.claimed_writer, known.writer
    if claimed is None or is_reachable(claimed, accessible) or (writer is not None and writer.id == claimed.id):
        return False
    if writer is None or not is_trusted or not is_reachable(writer, accessible):
        return True
    return seen.server_id == writer.id and seen.refuses_writes


def is_accessible(region: str, accessible: frozenset[str]) -> bool:
    """Whether a region may be connected to."""
    return not accessible or not region or region in accessible


def _is_home(region: str, home: str) -> bool:
    return not region or not home or region == home


def _is_wanted(readers: Readers, region: str, home: str) -> bool:
    if readers is Readers.HOME:
        return _is_home(region, home)
    return readers is Readers.ANY or (readers is Readers.AWAY and bool(region) and region != home)


def _why_not(writer: Instance | None, regions: Regions) -> str:
    """Why the writer may not be connected to; empty if it may."""
    if writer is None:
        return ""
    where = f"the writer, {writer.id}, is in the region {writer.region}"
    if not is_accessible(writer.region, regions.accessible):
        return f"{where}, which is none of OPTIONS['gdb_accessible_regions'] ({', '.join(sorted(regions.accessible))})"
    if not writer.address.is_known:
        return f"{where}, for which OPTIONS['global_cluster_instance_host_patterns'] has no pattern"
    if regions.writer_stays and not _is_home(writer.region, regions.rw_home):
        kept = "OPTIONS['gdb_rw_restrict_writer_to_home_region']"
        return f"{where}, and {kept} keeps this alias to its home region, {regions.rw_home}"
    return ""
