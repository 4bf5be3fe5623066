"""Holds what the threads were told against what the servers have: a check for each promise."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from .ledger import Entry

SHOWN = 10
"""How many rows a broken promise lists."""
READER = "reader"
"""The alias that leads to readers."""


@dataclass(frozen=True)
class Stored:
    """What the writer has at the end; `transfers` are (name, payer, payee, amount)."""

    balances: Mapping[int, int]
    transfers: Sequence[tuple[str, int, int, int]]
    receipts: Sequence[str]
    pages: Mapping[int, int]
    differing: Sequence[str] = ()
    """Readers that have something else, once they have caught up."""


@dataclass(frozen=True)
class Broken:
    """A promise that was not kept, and the rows that show it."""

    promise: str
    rows: tuple[str, ...]

    def lines(self) -> Iterator[str]:
        yield f"BROKEN: {self.promise}: {len(self.rows)}"
        yield from (f"    {row}" for row in self.rows[:SHOWN])
        if len(self.rows) > SHOWN:
            yield f"    and {len(self.rows) - SHOWN} more"


@dataclass
class Case:
    """All that is known at the end of a run. `opening` is what each account began with, `trouble` what else failed."""

    entries: Sequence[Entry]
    stored: Stored
    opening: int
    customers: Sequence[str]
    trouble: Sequence[str] = ()
    kinds: dict[str, list[Entry]] = field(init=False)

    def __post_init__(self) -> None:
        self.kinds = defaultdict(list)
        for entry in self.entries:
            self.kinds[entry["kind"]].append(entry)

    def of(self, *kinds: str) -> list[Entry]:
        return [entry for kind in kinds for entry in self.kinds.get(kind, ())]


def total(case: Case) -> Iterator[str]:
    found, expected = sum(case.stored.balances.values()), case.opening * len(case.stored.balances)
    if found != expected:
        yield f"{found} instead of {expected}"


def halves(case: Case) -> Iterator[str]:
    """Each transfer's row is in the transaction that moves the money, so the one tells the other."""
    expected = Counter(dict.fromkeys(case.stored.balances, case.opening))
    for _, payer, payee, amount in case.stored.transfers:
        expected[payer] -= amount
        expected[payee] += amount
    for account, balance in case.stored.balances.items():
        if balance != expected[account]:
            yield f"account {account} has {balance}, its transfers make {expected[account]}"


def transfers_lost(case: Case) -> Iterator[str]:
    return _lost(case.of("exactly once", "transfer"), [row[0] for row in case.stored.transfers])


def receipts_lost(case: Case) -> Iterator[str]:
    return _lost(case.of("receipt"), case.stored.receipts)


def _lost(entries: Iterable[Entry], stored: Iterable[str]) -> Iterator[str]:
    there = set(stored)
    return (_told(entry) for entry in entries if entry["fate"] == "done" and entry["name"] not in there)


def doubled(case: Case) -> Iterator[str]:
    for what, names in (("transfer", [row[0] for row in case.stored.transfers]), ("receipt", case.stored.receipts)):
        yield from (f"{what} {name} is there {count} times" for name, count in Counter(names).items() if count > 1)


def denied(case: Case) -> Iterator[str]:
    """An error that says that nothing happened, and something has."""
    there = {row[0] for row in case.stored.transfers} | set(case.stored.receipts)
    for entry in case.of("exactly once", "transfer", "receipt"):
        if entry["fate"] == "failed" and entry["name"] in there:
            yield _told(entry)


def unheard_of(case: Case) -> Iterator[str]:
    known = {entry["name"] for entry in case.of("begun")}
    for name in (*(row[0] for row in case.stored.transfers), *case.stored.receipts):
        if name not in known:
            yield name


def hooks(case: Case) -> Iterator[str]:
    for entry in case.of("exactly once", "transfer"):
        if entry["hooks"] != (entry["fate"] == "done"):
            yield f"{_told(entry)} ran its on_commit() hook {entry['hooks']} times"


def left_unknown(case: Case) -> Iterator[str]:
    return (_told(entry) for entry in case.of("exactly once") if entry["fate"] == "unknown")


def pages_lost(case: Case) -> Iterator[str]:
    """A page is written by one thread, and only upwards."""
    acknowledged: dict[int, int] = {}
    for entry in case.of("write"):
        if entry["fate"] == "done":
            acknowledged[entry["page"]] = entry["version"]
    for page, version in acknowledged.items():
        if case.stored.pages.get(page, -1) < version:
            yield f"page {page} is of version {case.stored.pages.get(page)}, {version} was acknowledged"


def back_in_time(case: Case) -> Iterator[str]:
    """A read that is older than what its unit of work has written or read before.

    But for pages of others that the writer has shown to a pinned unit: a reader may show them older when the pin ends,
    which counts from the unit's own writes. So these are held against what readers have shown.
    """
    seen: dict[tuple[str, int, bool], Entry] = {}
    for entry in case.entries:
        if entry["kind"] not in ("read", "write") or entry["fate"] != "done":
            continue
        is_read_elsewhere = entry["kind"] == "read" and entry["alias"] == READER
        key = entry["unit"], entry["page"]
        before = seen.get((*key, is_read_elsewhere and not entry["own"]))
        if before is not None and entry["version"] < before["version"]:
            yield f"{_told(entry)}, {entry['at'] - before['at']:.3f} s after {_told(before)}"
        for latest in {(*key, False), (*key, is_read_elsewhere)}:
            if latest not in seen or seen[latest]["version"] <= entry["version"]:
                seen[latest] = entry


def hangs(case: Case) -> Iterator[str]:
    return (f"{entry['who']}: {entry['what']} took {entry['seconds']:.1f} s" for entry in case.of("overdue"))


def surprises(case: Case) -> Iterator[str]:
    return (f"{entry['who']}: {entry['error']}\n{entry['trace']}" for entry in case.of("surprise"))


def unfinished(case: Case) -> Iterator[str]:
    ended = {entry["who"] for entry in case.of("end", "surprise")}
    yield from (name for name in case.customers if name not in ended)


def nobody_could(case: Case) -> Iterator[str]:
    for kind in ("exactly once", "transfer", "receipt", "write", "read"):
        if not any(entry["fate"] == "done" for entry in case.of(kind)):
            yield kind


CHECKS: dict[str, Callable[[Case], Iterator[str]]] = {
    "the total of all accounts is unchanged": total,
    "no transfer is there by half": halves,
    "every acknowledged transfer is there": transfers_lost,
    "every acknowledged receipt is there": receipts_lost,
    "nothing is there twice": doubled,
    "nothing is there that was said not to have happened": denied,
    "nothing is there that nobody began": unheard_of,
    "hooks ran once for what was acknowledged, and for nothing else": hooks,
    "no exactly_once transfer is of unknown fate": left_unknown,
    "every acknowledged version of a page is there": pages_lost,
    "no read went back in time within a scope": back_in_time,
    "no operation took longer than its bound": hangs,
    "every exception is a documented one": surprises,
    "every thread came to its end": unfinished,
    "each kind of work was done": nobody_could,
    "all readers have what the writer has": lambda case: iter(case.stored.differing),
    "the servers did what they were told": lambda case: iter(case.trouble),
}


def broken(case: Case) -> list[Broken]:
    """The promises that were not kept."""
    found = ((promise, tuple(check(case))) for promise, check in CHECKS.items())
    return [Broken(promise, rows) for promise, rows in found if rows]


def _told(entry: Entry) -> str:
    facts = {name: value for name, value in entry.items() if name not in ("kind", "seconds")}
    return f"{entry['kind']} {facts}"
