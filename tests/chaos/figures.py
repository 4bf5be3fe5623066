"""The figures of a run, for people: what was done, what was met, and how long it took."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterator, Sequence

from .faults import Done
from .schedule import Act
from .verdict import Case

WRITES = ("exactly once", "transfer", "receipt", "write")
WORK = (*WRITES, "read")


def figures(case: Case, done: Sequence[Done]) -> Iterator[str]:
    """A line for each thing worth knowing."""
    yield f"faults       {_counted(Counter(one.fault.act.name.lower() for one in done))}"
    promotions = [one.ended - one.began for one in done if one.fault.act is Act.PROMOTE]
    if promotions:
        yield f"promotions   {len(promotions)}, the longest {max(promotions):.1f} s"
    for kind in WORK:
        entries = case.of(kind)
        fates = Counter("acknowledged" if entry["fate"] == "done" else entry["error"] for entry in entries)
        longest = max((entry["seconds"] for entry in entries), default=0.0)
        yield f"{kind:12} {_counted(fates)}; the longest took {longest:.1f} s"
    yield f"reads        {_counted(Counter(entry['alias'] for entry in case.of('read') if entry['fate'] == 'done'))}"
    pause = longest_pause([entry["at"] for entry in case.of(*WRITES) if entry["fate"] == "done"])
    yield f"pause        no write was acknowledged to anybody for {pause:.1f} s at the longest"


def longest_pause(moments: Sequence[float]) -> float:
    ordered = sorted(moments)
    return max((later - earlier for earlier, later in itertools.pairwise(ordered)), default=0.0)


def _counted(counter: Counter[str]) -> str:
    return ", ".join(f"{number} {name}" for name, number in counter.most_common()) or "nothing"
