"""Regions: who is a candidate, in which order, by mode and by where the writer is; from tables and by chance."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from django_aurora_routing.core.endpoints import Address
from django_aurora_routing.core.failover import (
    AwaitTopology,
    Connect,
    GiveUp,
    Place,
    Plan,
    View,
    candidates,
    next_step,
    place_of,
)
from django_aurora_routing.core.options import FailoverMode
from django_aurora_routing.core.regions import ALL_REGIONS, REGION_MODES, Duty, Regions, has_to_be_believed
from django_aurora_routing.core.topology import Instance, Observation, Role, Topology

EU, US, AP = "eu-west-1", "us-east-1", "ap-south-1"


def instance(number: int, region: str, role: Role = Role.READER) -> Instance:
    return Instance(str(number), Address(f"127.0.0.{number}"), role, region=region)


def view_of(*instances: Instance, set_aside: str = "") -> View:
    """A view in which the writer is trusted, and the readers with these numbers are set aside."""
    primary = next((i.region for i in instances if i.role is Role.WRITER), "")
    absent = frozenset(Address(f"127.0.0.{number}") for number in set_aside.split())
    return View(Topology(instances, 1, 0.0, primary), confirmed_at=100.0, set_aside=absent, version=7)


# The writer at home and readers in three regions; and the same after a switch to another region.
AT_HOME = view_of(instance(11, EU, Role.WRITER), instance(12, EU), instance(13, US), instance(14, US), instance(15, AP))
ABROAD = view_of(instance(11, EU), instance(12, EU), instance(13, US, Role.WRITER), instance(14, US), instance(15, AP))


def found(view: View, regions: Regions, mode: FailoverMode = FailoverMode.STRICT_WRITER) -> str:
    """The ids of the candidates: the readers, and after a bar the writer."""
    them = candidates(view, mode, regions)
    return " ".join([*(i.id for i in them.readers), *(["|", them.writer.id] if them.writer else [])])


def with_modes(active: str, inactive: str = "strict_writer", **facts: object) -> Regions:
    return Regions(home=EU, active=REGION_MODES[active], inactive=REGION_MODES[inactive], **facts)  # type: ignore[arg-type]


MODES = [
    ("strict_writer", "| 11", "| 13"),
    ("strict_home_reader", "12", "11 12"),
    ("strict_out_of_home_reader", "13 14 15", "14 15"),
    ("strict_any_reader", "12 13 14 15", "11 12 14 15"),
    ("home_reader_or_writer", "12 | 11", "11 12 | 13"),
    ("out_of_home_reader_or_writer", "13 14 15 | 11", "14 15 | 13"),
    ("any_reader_or_writer", "12 13 14 15 | 11", "11 12 14 15 | 13"),
]


@pytest.mark.parametrize(("mode", "at_home", "abroad"), MODES)
def test_each_mode_has_its_candidates_in_their_order(mode: str, at_home: str, abroad: str) -> None:
    assert found(AT_HOME, with_modes(mode)) == at_home
    assert found(ABROAD, with_modes("strict_writer", mode)) == abroad


@pytest.mark.parametrize(("mode", "at_home", "abroad"), MODES)
def test_the_mode_is_that_of_where_the_writer_is(mode: str, at_home: str, abroad: str) -> None:
    other = "strict_any_reader" if mode == "strict_writer" else "strict_writer"
    assert found(AT_HOME, with_modes(mode, other)) == at_home
    assert found(ABROAD, with_modes(other, mode)) == abroad


def test_there_are_seven_modes() -> None:
    assert sorted(REGION_MODES) == sorted(mode for mode, _, _ in MODES)


@pytest.mark.parametrize(
    ("regions", "at_home", "abroad"),
    [
        pytest.param({"accessible": {EU}}, "| 11", "", id="a writer out of reach is none"),
        pytest.param({"accessible": {EU, US}}, "| 11", "| 13", id="one within reach is followed"),
        pytest.param({"rw_home": EU, "writer_stays": True}, "| 11", "", id="nor is one that it may not follow"),
        pytest.param({"rw_home": EU}, "| 11", "| 13", id="a home alone keeps nobody"),
        pytest.param({"rw_home": EU, "writer_stays": True, "forwards_writes": True}, "| 11", "11 12", id="it need not"),
        pytest.param({"rw_home": EU, "forwards_writes": True}, "| 11", "11 12 | 13", id="where readers forward writes"),
    ],
)
def test_a_writer_alias_follows_the_writer_where_it_may(regions: dict[str, object], at_home: str, abroad: str) -> None:
    given = Regions(**{name: frozenset(v) if isinstance(v, set) else v for name, v in regions.items()})  # type: ignore[arg-type]
    assert (found(AT_HOME, given), found(ABROAD, given)) == (at_home, abroad)


@pytest.mark.parametrize(
    ("mode", "regions", "at_home", "abroad"),
    [
        (FailoverMode.STRICT_READER, Regions(accessible=frozenset({EU})), "12", "11 12"),
        (FailoverMode.READER_OR_WRITER, Regions(accessible=frozenset({EU})), "12 | 11", "11 12"),
        (FailoverMode.STRICT_READER, Regions(rw_home=US, readers_stay=True), "13 14", "14"),
        (FailoverMode.READER_OR_WRITER, Regions(rw_home=US, readers_stay=True), "13 14 | 11", "14 | 13"),
        (FailoverMode.READER_OR_WRITER, Regions(rw_home=US, readers_stay=True, writer_stays=True), "13 14", "14 | 13"),
        (FailoverMode.READER_OR_WRITER, Regions(rw_home=US, writer_stays=True), "12 13 14 15", "11 12 14 15 | 13"),
    ],
)
def test_readers_stay_where_they_are_to(mode: FailoverMode, regions: Regions, at_home: str, abroad: str) -> None:
    assert (found(AT_HOME, regions, mode), found(ABROAD, regions, mode)) == (at_home, abroad)


def test_what_is_not_accessible_is_out_before_anything_else() -> None:
    assert found(AT_HOME, with_modes("any_reader_or_writer", accessible=frozenset({US}))) == "13 14"
    assert found(AT_HOME, with_modes("out_of_home_reader_or_writer", accessible=frozenset({EU}))) == "| 11"


def test_while_no_writer_is_known_the_mode_is_that_of_the_last_ones_region() -> None:
    nobody = replace(ABROAD, topology=replace(ABROAD.topology, instances=(instance(11, EU), instance(14, US))))
    assert found(nobody, with_modes("strict_writer", "strict_home_reader")) == "11"


@pytest.mark.parametrize("mode", list(FailoverMode))
def test_a_cluster_of_one_region_is_as_if_nothing_were_said_of_regions(mode: FailoverMode) -> None:
    view = view_of(instance(11, "", Role.WRITER), instance(12, ""), instance(13, ""))
    kept = Regions(frozenset({EU}), rw_home=EU, writer_stays=True, readers_stay=True, forwards_writes=True)
    assert found(view, kept, mode) == found(view, ALL_REGIONS, mode) != ""


# -- the next step, and the place


def step(view: View, regions: Regions, mode: FailoverMode = FailoverMode.STRICT_WRITER) -> object:
    return next_step(Plan(mode, 120.0, "round_robin", regions=regions), view, 110.0, random.Random(1))


def test_a_writer_that_is_out_of_the_question_is_not_waited_for() -> None:
    outcome = step(ABROAD, Regions(accessible=frozenset({EU, AP})))
    assert isinstance(outcome, GiveUp)
    assert "the writer, 13, is in the region us-east-1" in outcome.reason
    assert "OPTIONS['gdb_accessible_regions'] (ap-south-1, eu-west-1)" in outcome.reason
    kept = step(ABROAD, Regions(rw_home=EU, writer_stays=True))
    assert isinstance(kept, GiveUp)
    assert "OPTIONS['gdb_rw_restrict_writer_to_home_region']" in kept.reason
    assert "eu-west-1" in kept.reason


def test_while_the_writer_is_in_doubt_its_region_decides_nothing() -> None:
    doubted = replace(ABROAD, suspected_at=101.0)
    assert step(doubted, Regions(accessible=frozenset({EU}))) == AwaitTopology(7, 120.0)


def test_readers_that_are_away_are_waited_for_and_the_writer_stands_in() -> None:
    alone = view_of(instance(11, EU, Role.WRITER), instance(12, EU), instance(13, US), set_aside="12")
    assert step(alone, with_modes("strict_home_reader")) == AwaitTopology(7, 120.0)
    assert step(alone, with_modes("home_reader_or_writer")) == Connect(alone.topology.instances[0])
    late = next_step(
        Plan(FailoverMode.STRICT_WRITER, 100.0, regions=with_modes("strict_home_reader")),
        alone,
        110.0,
        random.Random(1),
    )
    assert isinstance(late, GiveUp)
    assert late.reason.startswith("no reader in the home region could be reached in time.")


@pytest.mark.parametrize(
    ("number", "mode", "view", "place"),
    [
        (11, "strict_writer", AT_HOME, Place.RIGHT),
        (11, "strict_writer", ABROAD, Place.WRONG),
        (13, "strict_writer", ABROAD, Place.RIGHT),
        (12, "home_reader_or_writer", AT_HOME, Place.RIGHT),
        (13, "home_reader_or_writer", AT_HOME, Place.WRONG),
        (11, "home_reader_or_writer", AT_HOME, Place.WRONG),
        (11, "home_reader_or_writer", replace(AT_HOME, set_aside=frozenset({Address("127.0.0.12")})), Place.FALLBACK),
    ],
)
def test_where_a_connection_should_be(number: int, mode: str, view: View, place: Place) -> None:
    regions = with_modes(mode, mode)
    assert place_of(Address(f"127.0.0.{number}"), FailoverMode.STRICT_WRITER, view, regions) is place


def test_a_reader_that_forwards_writes_is_the_right_place_until_the_writer_comes_home() -> None:
    regions = Regions(rw_home=EU, writer_stays=True, forwards_writes=True)
    for view, place in ((ABROAD, Place.RIGHT), (AT_HOME, Place.WRONG)):
        assert place_of(Address("127.0.0.12"), FailoverMode.STRICT_WRITER, view, regions) is place


# -- a writer that nobody here can ask


@pytest.mark.parametrize(
    ("known", "by", "claimed", "is_trusted", "expected"),
    [
        pytest.param(11, 12, 13, True, False, id="the known writer can be asked"),
        pytest.param(11, 11, 13, True, True, id="it says itself that it is none any more"),
        pytest.param(11, 12, 13, False, True, id="it is in doubt"),
        pytest.param(None, 12, 13, False, True, id="there is none"),
        pytest.param(13, 12, 15, True, True, id="that one could not be asked either"),
        pytest.param(13, 12, 13, True, False, id="that is no news"),
        pytest.param(13, 12, 11, True, False, id="who is within reach speaks for itself"),
        pytest.param(11, 12, None, False, False, id="nobody is named"),
    ],
)
def test_hearsay_counts_about_a_writer_that_is_out_of_reach_alone(
    known: int | None, by: int, claimed: int | None, is_trusted: bool, expected: bool
) -> None:
    def named(writer: int | None) -> tuple[Instance, ...]:
        where = {11: EU, 12: EU, 13: US, 15: AP}
        return tuple(instance(n, r, Role.WRITER if n == writer else Role.READER) for n, r in where.items())

    seen = Observation(str(by), True, named(claimed))
    topology = Topology(named(known), 1)
    assert has_to_be_believed(seen, topology, is_trusted=is_trusted, accessible=frozenset({EU})) is expected
    assert not has_to_be_believed(seen, topology, is_trusted=is_trusted, accessible=frozenset())


# -- by chance

NAMES = st.sampled_from([EU, US, AP])
WISHES = st.sampled_from(list(REGION_MODES.values()))
VIEWS = st.builds(
    lambda where, writer, absent: view_of(
        *(instance(n, region, Role.WRITER if n == writer else Role.READER) for n, region in enumerate(where, 11)),
        set_aside=" ".join(map(str, absent)),
    ),
    st.lists(NAMES, min_size=1, max_size=9),
    st.integers(10, 20),
    st.sets(st.integers(11, 19)),
)
REGIONS = st.builds(
    Regions, st.frozensets(NAMES), NAMES, st.none() | WISHES, WISHES, NAMES, st.booleans(), st.booleans(), st.booleans()
)


@given(VIEWS, st.sampled_from(list(FailoverMode)), REGIONS)
def test_nobody_is_connected_to_who_is_out_of_reach(view: View, mode: FailoverMode, regions: Regions) -> None:
    them = candidates(view, mode, regions)
    for candidate in (*them.readers, *((them.writer,) if them.writer else ())):
        assert not regions.accessible or candidate.region in regions.accessible
    assert set(them.readers) <= set(view.live_readers)
    assert them.writer in (None, view.topology.writer)
    if them.writer is not None and regions.writer_stays:
        assert them.writer.region == regions.rw_home
    if regions.readers_stay or them.duty is Duty.FORWARD:
        assert {i.region for i in them.readers} <= {regions.rw_home}
    if them.duty is Duty.WRITE:
        assert not them.readers
    if them.refusal:
        assert them.writer is None


@given(VIEWS, st.sampled_from(list(FailoverMode)), REGIONS)
def test_a_connection_that_was_just_made_is_not_in_the_wrong_place(
    view: View, mode: FailoverMode, regions: Regions
) -> None:
    outcome = step(view, regions, mode)
    if isinstance(outcome, Connect):
        assert place_of(outcome.instance.address, mode, view, regions) is not Place.WRONG
