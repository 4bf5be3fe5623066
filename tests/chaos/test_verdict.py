"""A verdict finds what is wrong in a ledger that was doctored, and says which row it is."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from .figures import longest_pause
from .ledger import Entry, Ledger, Reading
from .verdict import CHECKS, SHOWN, Broken, Case, Stored, broken


def entry(kind: str, at: float, **facts: Any) -> Entry:
    return {"kind": kind, "at": at, "who": "p0t0", "seconds": 0.1, **facts}


def good() -> Case:
    """A small run in which all is as it should be."""
    entries = [
        entry("begun", 1, of="transfer", name="t1"),
        entry("transfer", 1, name="t1", fate="done", hooks=1),
        entry("begun", 2, of="exactly once", name="t2"),
        entry("exactly once", 2, name="t2", fate="done", hooks=1),
        entry("begun", 3, of="transfer", name="t3"),
        entry("transfer", 3, name="t3", fate="failed", error="FailoverSuccessError", hooks=0),
        entry("begun", 4, of="transfer", name="t4"),
        entry("transfer", 4, name="t4", fate="unknown", error="TransactionResolutionUnknownError", hooks=0),
        entry("begun", 5, of="receipt", name="r1"),
        entry("receipt", 5, name="r1", fate="done"),
        entry("begun", 6, of="receipt", name="r2"),
        entry("receipt", 6, name="r2", fate="unknown", error="TransactionResolutionUnknownError"),
        entry("write", 7, unit="u1", page=1, version=1, fate="done"),
        entry("read", 8, unit="u1", page=1, version=1, fate="done", own=True, alias="default", server="11"),
        entry("read", 9, unit="u2", page=1, version=0, fate="done", own=True, alias="reader", server="12"),
        entry("end", 10),
    ]
    stored = Stored(
        balances={1: 95, 2: 105}, transfers=[("t1", 1, 2, 3), ("t2", 1, 2, 2)], receipts=["r1", "r2"], pages={1: 1}
    )
    return Case(entries, stored, opening=100, customers=["p0t0"])


def with_stored(**changed: Any) -> Callable[[Case], Case]:
    return lambda case: replace(case, stored=replace(case.stored, **changed))


def with_entries(*more: Entry) -> Callable[[Case], Case]:
    return lambda case: replace(case, entries=[*case.entries, *more])


def without(kind: str) -> Callable[[Case], Case]:
    return lambda case: replace(case, entries=[one for one in case.entries if one["kind"] != kind])


DOCTORED = [
    ("the total of all accounts is unchanged", with_stored(balances={1: 95, 2: 106}), "201 instead of 200"),
    ("no transfer is there by half", with_stored(balances={1: 94, 2: 106}), "account 1 has 94, its transfers make 95"),
    ("every acknowledged transfer is there", with_stored(transfers=[("t1", 1, 2, 5)]), "'name': 't2'"),
    ("every acknowledged receipt is there", with_stored(receipts=["r2"]), "'name': 'r1'"),
    ("nothing is there twice", with_stored(receipts=["r1", "r2", "r2"]), "receipt r2 is there 2 times"),
    (
        "nothing is there twice",
        with_stored(transfers=[("t1", 1, 2, 3), ("t2", 1, 2, 1), ("t2", 1, 2, 1)]),
        "transfer t2 is there 2 times",
    ),
    (
        "nothing is there that was said not to have happened",
        with_stored(transfers=[("t1", 1, 2, 3), ("t2", 1, 2, 1), ("t3", 1, 2, 1)]),
        "'name': 't3'",
    ),
    ("nothing is there that nobody began", with_stored(receipts=["r1", "r9"]), "r9"),
    (
        "hooks ran once for what was acknowledged, and for nothing else",
        with_entries(entry("transfer", 11, name="t1", fate="done", hooks=2)),
        "ran its on_commit() hook 2 times",
    ),
    (
        "hooks ran once for what was acknowledged, and for nothing else",
        with_entries(entry("transfer", 11, name="t3", fate="failed", error="Deadlock", hooks=1)),
        "'fate': 'failed'",
    ),
    (
        "no exactly_once transfer is of unknown fate",
        with_entries(entry("exactly once", 11, name="t5", fate="unknown", error="?", hooks=0)),
        "'name': 't5'",
    ),
    ("every acknowledged version of a page is there", with_stored(pages={1: 0}), "page 1 is of version 0, 1 was"),
    (
        "no read went back in time within a scope",
        with_entries(
            entry("read", 11, unit="u1", page=1, version=0, fate="done", own=True, alias="reader", server="13")
        ),
        "3.000 s after read",
    ),
    (
        "no read went back in time within a scope",
        with_entries(
            entry("write", 11, unit="u3", page=1, version=2, fate="done"),
            entry("read", 12, unit="u3", page=1, version=1, fate="done", own=True, alias="reader", server="13"),
        ),
        "1.000 s after write",
    ),
    (
        "no operation took longer than its bound",
        with_entries(entry("overdue", 11, what="read")),
        "p0t0: read took 0.1 s",
    ),
    (
        "every exception is a documented one",
        with_entries(entry("surprise", 11, error="KeyError(1)", trace="in line 7")),
        "p0t0: KeyError(1)\nin line 7",
    ),
    ("every thread came to its end", without("end"), "p0t0"),
    ("each kind of work was done", without("read"), "read"),
    ("all readers have what the writer has", with_stored(differing=["chaos_page on 12"]), "chaos_page on 12"),
    ("the servers did what they were told", lambda case: replace(case, trouble=["12 died"]), "12 died"),
]


def test_a_good_run_is_found_good() -> None:
    assert broken(good()) == []


@pytest.mark.parametrize(("promise", "doctor", "row"), DOCTORED, ids=[f"{one[0]}: {one[2]}" for one in DOCTORED])
def test_what_is_wrong_is_found(promise: str, doctor: Callable[[Case], Case], row: str) -> None:
    found = {one.promise: one.rows for one in broken(doctor(good()))}
    assert promise in found
    assert any(row in told for told in found[promise]), found[promise]


def test_every_check_has_been_seen_to_fail() -> None:
    assert {promise for promise, _, _ in DOCTORED} == set(CHECKS)


def test_reads_of_two_scopes_are_not_compared_nor_what_was_not_acknowledged() -> None:
    more = with_entries(
        entry("read", 11, unit="u4", page=1, version=0, fate="done", own=True, alias="reader", server="13"),
        entry("write", 12, unit="u4", page=1, version=2, fate="unknown", error="TransactionResolutionUnknownError"),
        entry("read", 13, unit="u4", page=1, version=1, fate="done", own=True, alias="default", server="11"),
    )
    assert broken(more(good())) == []


def page_of_others(*reads: tuple[str, int]) -> Callable[[Case], Case]:
    return with_entries(
        *(
            entry("read", 11 + at, unit="u5", page=2, version=version, fate="done", own=False, alias=alias, server="?")
            for at, (alias, version) in enumerate(reads)
        )
    )


@pytest.mark.parametrize(
    ("reads", "is_wrong"),
    [
        ([("default", 5), ("reader", 4)], False),
        ([("default", 5), ("reader", 4), ("reader", 4), ("reader", 3)], True),
        ([("default", 5), ("reader", 4), ("default", 4)], True),
        ([("reader", 5), ("default", 6), ("reader", 5)], False),
        ([("reader", 5), ("default", 6), ("reader", 4)], True),
        ([("reader", 5), ("reader", 4)], True),
        ([("reader", 5), ("default", 4)], True),
        ([("default", 5), ("default", 4)], True),
    ],
)
def test_pages_of_others_may_be_older_on_a_reader_than_on_the_writer_and_no_more(
    reads: list[tuple[str, int]], is_wrong: bool
) -> None:
    assert bool(broken(page_of_others(*reads)(good()))) is is_wrong


def test_a_broken_promise_lists_the_first_rows() -> None:
    lines = list(Broken("it holds", tuple(f"row {number}" for number in range(SHOWN + 5))).lines())
    assert lines[0] == "BROKEN: it holds: 15"
    assert lines[1] == "    row 0"
    assert lines[-1] == "    and 5 more"


def test_a_ledger_is_read_on_from_where_one_was(tmp_path: Path) -> None:
    reading, ledger = Reading(tmp_path), Ledger(tmp_path / "1.ledger")
    assert reading.go_on() == []
    ledger.note("receipt", name="r1")
    assert [one["name"] for one in reading.go_on()] == ["r1"]
    (tmp_path / "2.ledger").write_bytes(b'{"kind": "receipt", "at": 1, "name": "r2"}\n{"kind": "cut o')
    ledger.note("receipt", name="r3")
    assert [one["name"] for one in reading.go_on()] == ["r3", "r2"]
    assert reading.go_on() == []
    assert [one["name"] for one in reading.entries] == ["r1", "r3", "r2"]
    ledger.close()


def test_the_longest_pause() -> None:
    assert longest_pause([3.0, 1.0, 1.5, 4.0]) == 1.5
    assert longest_pause([]) == longest_pause([1.0]) == 0.0
