"""Servers that tell of themselves alone: what a primary and its replicas come to, in whatever order they speak."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from django_aurora_routing.core.endpoints import Address
from django_aurora_routing.core.topology import (
    NOTHING_KNOWN,
    Instance,
    Observation,
    Role,
    Topology,
    Trust,
    updated_topology,
)

NAMES = tuple(Address(f"db{number}") for number in range(1, 5))


def says(ident: str, role: Role | None, *, at: str | None = None, **facts: Any) -> Observation:
    """What a server says of itself; None for one that is neither a writer nor a reader."""
    address = Address(at or f"db{ident}")
    instances = () if role is None else (Instance(str(address), address, role, server=ident, **facts),)
    return Observation(ident, role is Role.READER, instances, is_alone=True)


def writes(ident: str, **more: str) -> Observation:
    return says(ident, Role.WRITER, **more)  # type: ignore[arg-type]


def reads(ident: str, **more: str) -> Observation:
    return says(ident, Role.READER, **more)  # type: ignore[arg-type]


def after(*steps: Observation | Trust, old: Topology = NOTHING_KNOWN) -> Topology:
    """A trust holds for all that is said after it."""
    trust = Trust.GOOD
    for step in steps:
        if isinstance(step, Trust):
            trust = step
        else:
            old = updated_topology(old, step, names=NAMES, trust=trust)
    return old


def roles(topology: Topology) -> dict[str, str]:
    return {i.server: i.role.value for i in topology.instances} | {i.server: "rival" for i in topology.rivals}


START = (writes("1"), reads("2"), reads("3"))


@pytest.mark.parametrize(
    ("steps", "expected"),
    [
        pytest.param((), {"1": "writer", "2": "reader", "3": "reader"}, id="as they have said"),
        pytest.param((writes("2"),), {"1": "writer", "2": "rival", "3": "reader"}, id="a second one that takes writes"),
        pytest.param(
            (writes("2"), reads("2")), {"1": "writer", "2": "reader", "3": "reader"}, id="it has been put right"
        ),
        pytest.param(
            (reads("1"), writes("2")), {"1": "reader", "2": "writer", "3": "reader"}, id="a planned switchover"
        ),
        pytest.param(
            (writes("2"), reads("1"), writes("2")),
            {"1": "reader", "2": "writer", "3": "reader"},
            id="a switchover in the wrong order",
        ),
        pytest.param(
            (Trust.DOUBTED, writes("2")),
            {"2": "writer", "3": "reader"},
            id="a reader was promoted, and the one in doubt has no say until it speaks",
        ),
        pytest.param(
            (writes("2"), Trust.DOUBTED, writes("2")),
            {"2": "writer", "3": "reader"},
            id="a reader was promoted before anybody had noticed that the writer is silent",
        ),
        pytest.param(
            (writes("2"), writes("1"), Trust.DOUBTED, writes("2")),
            {"1": "writer", "2": "rival", "3": "reader"},
            id="who took writes all along has not been promoted just now",
        ),
        pytest.param(
            (Trust.DOUBTED, writes("4")),
            {"1": "writer", "2": "reader", "3": "reader", "4": "rival"},
            id="nor has one that nobody knew",
        ),
        pytest.param(
            (writes("2"), Trust.GONE, writes("2")), {"2": "writer", "3": "reader"}, id="the writer is gone for good"
        ),
        pytest.param(
            (Trust.DOUBTED, writes("2"), Trust.GOOD, writes("1")),
            {"1": "rival", "2": "writer", "3": "reader"},
            id="the old writer comes back, and does not know",
        ),
        pytest.param(
            (says("2", None),), {"1": "writer", "3": "reader"}, id="a replica that takes writes is not read from"
        ),
        pytest.param((says("1", None),), {"2": "reader", "3": "reader"}, id="nor is a writer that follows another"),
    ],
)
def test_who_is_what(steps: tuple[Observation | Trust, ...], expected: dict[str, str]) -> None:
    assert roles(after(*START, *steps)) == expected


def test_an_older_word_takes_no_role_from_who_has_spoken_since() -> None:
    known = updated_topology(after(*START, reads("1")), writes("2"), 110.0)

    def then(seen: Observation, asked_at: float) -> dict[str, str]:
        return roles(updated_topology(known, seen, asked_at, trust=Trust.DOUBTED, confirmed_at=110.0))

    assert then(writes("1"), 105.0) == {"1": "rival", "2": "writer", "3": "reader"}
    assert then(writes("1"), 115.0) == {"1": "writer", "3": "reader"}
    assert then(reads("2"), 105.0) == {"1": "reader", "2": "writer", "3": "reader"}
    assert then(reads("2"), 115.0) == {"1": "reader", "2": "reader", "3": "reader"}


def test_a_server_with_two_names_has_the_first_of_those_that_are_listed() -> None:
    """The other, a proxy's or a virtual one, leads to another server tomorrow."""
    one = after(writes("1", at="vip"), reads("2"))
    assert one.at(Address("vip")) is not None
    both = after(writes("1"), writes("1", at="vip"), old=one)
    assert [i.address.host for i in both.instances] == ["db1", "db2"]
    moved = after(reads("1"), writes("2", at="vip"), old=both)
    assert [(i.address.host, i.role) for i in moved.instances] == [("db1", Role.READER), ("db2", Role.WRITER)]


def test_an_address_that_leads_to_another_server_now_is_that_ones() -> None:
    moved = after(writes("1", at="vip"), writes("2", at="vip"))
    assert [(i.server, i.role) for i in moved.instances] == [("2", Role.WRITER)]


def test_what_was_said_grows_old() -> None:
    first = updated_topology(NOTHING_KNOWN, says("2", Role.READER, lag=1.0, age=0.5), 100.0)
    later = updated_topology(first, says("3", Role.READER, lag=2.0, age=0.0), 110.0)
    assert {i.server: later.asked_at - i.age for i in later.instances} == {"2": 99.5, "3": 110.0}
    overtaken = updated_topology(later, says("4", Role.READER, age=0.0), 105.0)
    assert {i.server: overtaken.asked_at - i.age for i in overtaken.instances} == {"2": 99.5, "3": 110.0, "4": 105.0}


def shown_until(topology: Topology, server: str) -> float:
    """Until when a reader shows every commit, as `core.staleness` counts."""
    (reader,) = (i for i in topology.readers if i.server == server)
    return topology.asked_at - reader.age - reader.lag


def test_a_position_proves_what_a_reader_shows() -> None:
    def at(ident: str, role: Role, position: str, lag: float = 0.0) -> Observation:
        age = 0.0 if role is Role.WRITER else math.inf
        return says(ident, role, lag=lag, age=age, position=position)

    topology = updated_topology(NOTHING_KNOWN, at("1", Role.WRITER, "0-1-100"), 50.0)
    topology = updated_topology(topology, at("2", Role.READER, "0-1-99"), 50.5)
    topology = updated_topology(topology, at("3", Role.READER, "0-1-100"), 51.0)
    assert shown_until(topology, "2") == -math.inf
    assert shown_until(topology, "3") == 50.0
    topology = updated_topology(topology, at("1", Role.WRITER, "0-1-200"), 60.0)
    topology = updated_topology(topology, at("2", Role.READER, "0-1-200", lag=0.0), 61.0)
    topology = updated_topology(topology, at("3", Role.READER, "0-1-150", lag=2.0), 62.0)
    assert shown_until(topology, "2") == 60.0
    assert shown_until(topology, "3") == 50.0  # as before, for it has not gone back
    topology = updated_topology(topology, at("3", Role.READER, "0-1-80"), 63.0)
    assert shown_until(topology, "3") == -math.inf  # it was set up anew, from an old copy
    assert shown_until(topology, "2") == 60.0


def test_the_lag_of_others_is_what_they_have_said_themselves() -> None:
    """Where all are named by each and each knows its own lag, as in a Multi-AZ DB cluster."""

    def seen(by: str, lag: float) -> Observation:
        instances = tuple(
            Instance(
                ident,
                Address(f"db{ident}"),
                Role.WRITER if ident == "1" else Role.READER,
                lag if ident == by else math.inf,
            )
            for ident in "123"
        )
        return Observation(by, by != "1", instances, lags_of_all=False)

    topology = updated_topology(NOTHING_KNOWN, seen("2", 2.0), 1.0)
    assert [i.lag for i in topology.readers] == [2.0, math.inf]
    topology = updated_topology(topology, seen("3", 3.0), 2.0)
    assert [i.lag for i in topology.readers] == [2.0, 3.0]
    topology = updated_topology(topology, seen("2", 0.0), 3.0)
    assert [i.lag for i in topology.readers] == [0.0, 3.0]


# -- any topology, and anything said of it in any order

_idents = st.sampled_from("12345")
_said = st.builds(
    says,
    _idents,
    st.sampled_from([Role.WRITER, Role.READER, None]),
    at=st.sampled_from(["db1", "db2", "db3", "db4", "db5", "vip", None]),
    lag=st.sampled_from([0.0, 2.0, math.inf]),
)
_steps = st.lists(st.tuples(_said, st.sampled_from(Trust), st.floats(0, 1000)), max_size=25)


@settings(max_examples=400)
@given(steps=_steps)
def test_never_two_writers_never_hearsay_and_the_generation_tells_of_each_change(
    steps: list[tuple[Observation, Trust, float]],
) -> None:
    topology = NOTHING_KNOWN
    last_word: dict[str, Role | None] = {}
    for seen, trust, asked_at in steps:
        old, topology = topology, updated_topology(topology, seen, asked_at, names=NAMES, trust=trust)
        said = next(iter(seen.instances), None)
        last_word[seen.server_id] = None if said is None else said.role

        assert sum(i.role is Role.WRITER for i in topology.instances) <= 1
        everyone = (*topology.instances, *topology.rivals)
        assert len({i.server for i in everyone}) == len(everyone)
        assert len({i.address for i in everyone}) == len(everyone)
        for instance in topology.instances:
            assert last_word[instance.server] is instance.role
        for rival in topology.rivals:
            assert last_word[rival.server] is Role.WRITER

        def shape(of: Topology) -> set[tuple[str, Address, Role]]:
            return {(i.id, i.address, i.role) for i in of.instances}

        assert topology.generation == old.generation + (shape(topology) != shape(old))
        if old.writer is not None and trust is Trust.GOOD and topology.writer != old.writer:
            # A good writer gives way to its own word alone, or to another server at its address.
            taken_over = said is not None and said.address == old.writer.address
            assert (
                old.writer.server == seen.server_id
                or taken_over
                or (topology.writer is not None and topology.writer.server == old.writer.server)
            )
