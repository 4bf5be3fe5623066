"""News: what a change is called, and which events it makes; and how a picture of a cluster reads."""

from __future__ import annotations

import itertools
import math
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from django_aurora_routing.core.endpoints import Address
from django_aurora_routing.core.failover import View
from django_aurora_routing.core.news import Doubt, changes, doubt_after, events
from django_aurora_routing.core.snapshot import snapshot
from django_aurora_routing.core.topology import Instance, Role, Topology


def topology(text: str, generation: int = 1) -> Topology:
    """ "a* b" is a writer, a, and a reader, b; "b@c" is at the address c."""
    instances = []
    for word in text.split():
        ident, _, host = word.rstrip("*").partition("@")
        role = Role.WRITER if word.endswith("*") else Role.READER
        instances.append(Instance(ident, Address(host or ident), role, lag=0.02, cpu=7.0))
    return Topology(tuple(instances), generation)


def view(text: str, generation: int = 1, *, doubted: bool = False, out: str = "", at: float = 10.0) -> View:
    set_aside = frozenset(Address(host) for host in out.split())
    return View(
        topology(text, generation),
        confirmed_at=at,
        suspected_at=at + 1 if doubted else -math.inf,
        set_aside=set_aside,
        generation=generation,
    )


@pytest.mark.parametrize(
    ("before", "after", "words"),
    [
        ("", "a* b", "a is the writer now; a (writer) was added; b (reader) was added"),
        ("a* b", "a b*", "b is the writer now, a was"),
        ("a* b", "a b", "a is not the writer any more, and nobody else is known to be"),
        ("a b", "a* b", "a is the writer now"),
        ("a* b", "a* b c", "c (reader) was added"),
        ("a* b c", "a* b", "c has left"),
        ("a* b", "b*", "b is the writer now, a was; a has left"),
        ("a* b", "a* b@x", "b is at x:3306 now"),
        ("a* b", "a* b", "nothing has changed"),
    ],
)
def test_a_change_in_words(before: str, after: str, words: str) -> None:
    assert str(changes(topology(before), topology(after))) == words


@pytest.mark.parametrize(
    ("before", "after", "told"),
    [
        (View(), view("a* b"), ["TopologyChanged"]),
        (view("a* b"), view("a* b", doubted=True), ["FailoverStarted"]),
        (view("a* b", doubted=True), view("a* b", at=20), ["FailoverCompleted"]),
        (
            view("a* b", doubted=True),
            view("a b*", 2, at=20, out="a"),
            ["TopologyChanged", "ReaderSetAside", "FailoverCompleted"],
        ),
        (view("a* b"), view("a b*", 2), ["TopologyChanged"]),  # a switchover that nobody has noticed otherwise
        (view("a* b"), view("a b", 2), ["FailoverStarted", "TopologyChanged"]),
        (view("a* b"), view("a* b", out="b"), ["ReaderSetAside"]),
        (view("a* b", out="b"), view("a* b"), ["ReaderRestored"]),
        (view("a* b", out="b"), view("a* c", 2), ["TopologyChanged"]),
        (view("a* b"), view("a* b", at=11), []),
    ],
)
def test_what_a_change_means(before: View, after: View, told: list[str]) -> None:
    doubt = (
        None if before.trusted_writer or not before.topology.instances else Doubt(before.topology.instances[0], 11.5)
    )
    assert [type(event).__name__ for event in events(before, after, doubt)] == told


def test_a_failover_is_as_long_as_the_doubt() -> None:
    steps = [view("a* b"), view("a* b", doubted=True), view("a b", 2, doubted=True), view("a b*", 3, at=20)]
    doubt, told = None, []
    for number, (before, after) in enumerate(itertools.pairwise(steps)):
        told += [str(event) for event in events(before, after, doubt) if type(event).__name__ == "FailoverCompleted"]
        doubt = doubt_after(doubt, before, after, 12.0 + number)
    (completed,) = told
    assert "seconds=8.0" in completed
    assert doubt is None


texts = st.lists(st.sampled_from("abcdef"), unique=True, max_size=6).flatmap(
    lambda ids: (
        st.sampled_from([" ".join(ids), " ".join(f"{ident}*" if ident == ids[0] else ident for ident in ids)])
        if ids
        else st.just("")
    )
)


@given(texts, texts)
def test_words_name_all_that_has_changed_and_nothing_else(before: str, after: str) -> None:
    old, new = topology(before), topology(after)
    told = changes(old, new)
    known = {i.id for i in old.instances}
    assert known - {i.id for i in told.removed} | {i.id for i in told.added} == {i.id for i in new.instances}
    is_same = [(i.id, i.role) for i in old.instances] == [(i.id, i.role) for i in new.instances]
    assert (str(told) == "nothing has changed") is (is_same or {*before.split()} == {*after.split()})


def test_a_picture_reads_well() -> None:
    known = replace(view("a* b c", 3, out="c"), topology=replace(topology("a* b c", 3), asked_at=5.0))
    picture = snapshot("shop", "aurora-mysql", known, 7.1)
    assert repr(picture) == (
        "<ClusterSnapshot shop (aurora-mysql), generation 3, asked 2.1 s ago: a writer, cpu 7 %; "
        "b reader, 20 ms behind, cpu 7 %; c reader, 20 ms behind, cpu 7 %, set aside>"
    )
    assert (picture.writer, picture.readers, picture.set_aside) == (
        *picture.instances[:1],
        *((i,) for i in picture.instances[1:]),
    )
    in_doubt = snapshot("shop", "aurora-mysql", view("a*", doubted=True), 7.1)
    assert in_doubt.writer is None
    assert "never asked: a writer, in doubt, cpu 7 %" in repr(in_doubt)
    assert "no instance is known" in repr(snapshot("shop", "mysql", View(), 0.0))
