"""Topology: whose word counts about who writes."""

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from django_aurora_routing.core.endpoints import Address
from django_aurora_routing.core.topology import NOTHING_KNOWN, Instance, Observation, Role, Topology, updated_topology


def instance(name: str, role: Role = Role.READER, **facts: float) -> Instance:
    return Instance(name, Address(f"127.0.0.{name}"), role, **facts)


def seen(by: str, writer: str | None, *, refuses: bool, names: str = "11 12 13") -> Observation:
    rows = (instance(n, Role.WRITER if n == writer else Role.READER) for n in names.split())
    return Observation(by, refuses, tuple(rows))


def after(*observations: Observation) -> Topology:
    topology = NOTHING_KNOWN
    for observation in observations:
        topology = updated_topology(topology, observation)
    return topology


FIRST = seen("11", "11", refuses=False)


@pytest.mark.parametrize(
    ("observation", "writer"),
    [
        pytest.param(seen("12", "12", refuses=False), "12", id="the new writer's own word"),
        pytest.param(seen("12", "11", refuses=True), "11", id="a reader that agrees"),
        pytest.param(seen("13", "12", refuses=True), "11", id="a reader's word about another"),
        pytest.param(seen("12", "12", refuses=True), "11", id="one that calls itself the writer but takes no writes"),
        pytest.param(seen("12", None, refuses=True), "11", id="a reader that knows no writer"),
        pytest.param(seen("11", "12", refuses=True), None, id="the old writer says that it is none any more"),
        pytest.param(seen("13", "13", refuses=True, names="13"), "11", id="a reader that sees itself alone"),
    ],
)
def test_the_writer_changes_by_the_new_writers_own_word_only(observation: Observation, writer: str | None) -> None:
    topology = after(FIRST, observation)
    assert (topology.writer.id if topology.writer else None) == writer


@pytest.mark.parametrize(
    ("observation", "asked_at", "writer"),
    [
        pytest.param(seen("11", "11", refuses=False), 105.0, "12", id="the former writer, before the new one spoke"),
        pytest.param(seen("11", "11", refuses=False), 115.0, "11", id="and after that"),
        pytest.param(seen("12", "11", refuses=True), 105.0, "12", id="the new writer, when it was none"),
        pytest.param(seen("12", "11", refuses=True), 115.0, None, id="and when it is none any more"),
    ],
)
def test_an_older_word_takes_no_role_from_who_has_spoken_since(
    observation: Observation, asked_at: float, writer: str | None
) -> None:
    """Answers overtake each other."""
    known = updated_topology(after(FIRST), seen("12", "12", refuses=False), 110.0)
    topology = updated_topology(known, observation, asked_at, confirmed_at=110.0)
    assert (topology.writer.id if topology.writer else None) == writer


def test_before_any_writer_is_known_a_reader_is_believed() -> None:
    topology = after(seen("12", "11", refuses=True))
    assert topology.writer is not None
    assert topology.writer.id == "11"


def test_after_a_demotion_hearsay_makes_no_writer() -> None:
    demoted = seen("11", "12", refuses=True)
    assert after(FIRST, demoted, seen("13", "11", refuses=True)).writer is None
    confirmed = after(FIRST, demoted, seen("12", "12", refuses=False)).writer
    assert confirmed is not None
    assert confirmed.id == "12"


def test_the_generation_rises_with_roles_and_membership_only() -> None:
    one = after(FIRST)
    loaded = Observation("11", False, tuple(instance(i.id, i.role, cpu=50.0, lag=1.0) for i in FIRST.instances))
    same = updated_topology(one, loaded, asked_at=7.0)
    assert same.generation == one.generation
    assert same.asked_at == 7.0
    assert same.instances[0].cpu == 50.0
    assert updated_topology(one, seen("12", "12", refuses=False)).generation == one.generation + 1
    assert updated_topology(one, seen("11", "11", refuses=False, names="11 12")).generation == one.generation + 1


def test_an_empty_answer_changes_nothing() -> None:
    one = after(FIRST)
    assert updated_topology(one, Observation("", True, ())) is one
    assert updated_topology(one, Observation("12", True, ())) is one


def test_a_writer_that_knows_nothing_but_that_it_writes_no_more_is_none() -> None:
    """So does a member that has lost its group."""
    cut_off = after(FIRST, Observation("11", True, ()))
    assert [(i.id, i.role) for i in cut_off.instances] == [("12", Role.READER), ("13", Role.READER)]


def test_a_topology_reads_well() -> None:
    assert str(after(seen("11", "11", refuses=False, names="11"))) == "11 (writer, 127.0.0.11:3306)"
    assert str(NOTHING_KNOWN) == "no instance known"


# -- any topology, and anything said of it in any order

_ids = st.sampled_from(["11", "12", "13", "14"])
_members = st.sets(_ids).map(lambda names: " ".join(sorted(names)))
_said = st.builds(seen, _ids, st.none() | _ids, refuses=st.booleans(), names=_members)
_steps = st.lists(st.tuples(_said, st.floats(0, 1000)), min_size=5, max_size=20)


@settings(max_examples=400)
@given(steps=_steps)
def test_never_two_writers_and_once_one_is_known_none_by_hearsay(steps: list[tuple[Observation, float]]) -> None:
    """In thousands of topologies, each with whoever may speak next, what he says, and how late that comes."""
    topology, confirmed_at = NOTHING_KNOWN, -math.inf
    for observation, asked_at in steps:
        old, topology = topology, updated_topology(topology, observation, asked_at, confirmed_at=confirmed_at)

        assert sum(i.role is Role.WRITER for i in topology.instances) <= 1
        assert len({i.id for i in topology.instances}) == len(topology.instances)
        shapes = [{(i.id, i.address, i.role) for i in of.instances} for of in (old, topology)]
        assert topology.generation == old.generation + (shapes[0] != shapes[1])

        before, now = (of.writer.id if of.writer else None for of in (old, topology))
        if old.instances and now != before:
            is_own_word = observation.is_from_writer and observation.server_id == now
            has_stepped_down = now is None and observation.refuses_writes and observation.server_id == before
            assert is_own_word or has_stepped_down
            assert before is None or asked_at >= confirmed_at
        if topology.is_word_of_the_writer(observation):
            confirmed_at = max(confirmed_at, asked_at)
