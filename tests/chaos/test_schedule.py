"""A schedule is a function of its seed, and leaves the cluster able to go on at every moment."""

from __future__ import annotations

import pytest

from .schedule import SCENES, Act, Fault, schedule

INSTANCES = ("11", "12", "13")
SEEDS = range(100)

TAKEN_AWAY = {Act.KILL: "dead", Act.FREEZE: "frozen"}
"""What an instance is after these, until it is brought back."""
BROUGHT_BACK = {Act.REVIVE: "dead", Act.THAW: "frozen"}
CUT = {Act.BLACK_HOLE, Act.LOSE_ANSWERS, Act.REFUSE}


class Servers:
    """What would have become of the servers, by the acts alone."""

    def __init__(self) -> None:
        self.writer = INSTANCES[0]
        self.states = dict.fromkeys(INSTANCES, "running")
        self.on_the_wire: dict[str, set[Act]] = {instance: set() for instance in INSTANCES}
        self.late: set[str] = set()
        self.lost_at: float | None = None

    def are_away(self) -> set[str]:
        return {one for one in INSTANCES if self.states[one] != "running" or self.on_the_wire[one] & CUT}

    def meet(self, fault: Fault) -> None:
        act, instance = fault.act, fault.instance
        if act in TAKEN_AWAY:
            assert self.states[instance] == "running"
            self.states[instance] = TAKEN_AWAY[act]
        elif act in BROUGHT_BACK:
            assert self.states[instance] == BROUGHT_BACK[act]
            self.states[instance] = "running"
        elif act is Act.PROMOTE:
            assert instance != self.writer
            assert instance not in self.are_away() | self.late
            self.writer = instance
        elif act is Act.HEAL:
            assert self.on_the_wire[instance]
            self.on_the_wire[instance].clear()
        elif act in (Act.LAG, Act.KEEP_UP):
            assert instance != self.writer
            (self.late.add if act is Act.LAG else self.late.remove)(instance)
        elif act is not Act.RESET:
            self.on_the_wire[instance].add(act)

    def note_loss(self, at: float) -> None:
        if self.states[self.writer] != "dead":
            self.lost_at = None
        elif self.lost_at is None:
            self.lost_at = at


@pytest.mark.parametrize("seed", SEEDS)
def test_the_cluster_can_always_go_on(seed: int) -> None:
    servers, before = Servers(), 0.0
    for fault in schedule(seed, 300, INSTANCES):
        assert before <= fault.at <= 300
        if servers.lost_at is not None and fault.act is Act.PROMOTE:
            assert 0.2 <= fault.at - servers.lost_at <= 3.001
        servers.meet(fault)
        servers.note_loss(fault.at)
        assert len(servers.are_away()) <= 1, fault
        assert servers.lost_at is None or fault.at - servers.lost_at <= 3.001, "a writer that is gone for good"
        before = fault.at
    assert servers.are_away() == set(), "each is brought back"
    assert not servers.late
    assert not any(servers.on_the_wire.values())


@pytest.mark.parametrize("longest", [0.0, 1.0, 20.0, 60.0])
def test_it_ends_in_time_and_never_in_the_middle_of_a_scene(longest: float) -> None:
    for seed in SEEDS:
        faults = schedule(seed, longest, INSTANCES)
        assert all(fault.at <= longest for fault in faults)
        assert faults == schedule(seed, 300, INSTANCES)[: len(faults)]


def test_it_is_a_function_of_the_seed() -> None:
    assert schedule(7, 60, INSTANCES) == schedule(7, 60, INSTANCES)
    assert len({schedule(seed, 60, INSTANCES) for seed in SEEDS}) == len(SEEDS)


def test_every_scene_is_played_before_any_is_played_again() -> None:
    for seed in SEEDS:
        scenes = list(dict.fromkeys(fault.scene for fault in schedule(seed, 300, INSTANCES)))
        assert len(scenes) == len(SCENES)


def test_a_minute_has_failovers_and_faults_of_the_network() -> None:
    for seed in SEEDS:
        acts = [fault.act for fault in schedule(seed, 60, INSTANCES)]
        assert acts.count(Act.PROMOTE) >= 3
        assert {Act.KILL, Act.FREEZE, Act.BLACK_HOLE} & set(acts)
