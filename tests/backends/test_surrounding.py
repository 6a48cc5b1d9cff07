"""The group that we are in: its rise is an upper bound, its kills are of whoever is in it."""

import os
from pathlib import Path

import pytest

from cmemrun.backends.reading import charge_resolution_bytes
from cmemrun.backends.surrounding import Surrounding
from cmemrun.kernel.hierarchy import Hierarchy
from tests.backends.made_up import V1, V2_6_12, fill, legacy, unified

UNSEEN = charge_resolution_bytes(has_inner_groups=True)
KINDS = {
    "v2": (unified, V2_6_12, "memory.current", "memory.peak", "memory.events"),
    "v1": (
        *(legacy, V1, "memory.usage_in_bytes", "memory.max_usage_in_bytes"),
        "memory.oom_control",
    ),
}


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def test_upper_bound_is_the_highest_rise_that_was_seen(kind: str, tmp_path: Path) -> None:
    make, files, usage, _, _ = KINDS[kind]
    surrounding = Surrounding(make(fill(tmp_path, files), "/"))
    # What the process has at the gate is given back when it executes: from before that.
    fill(tmp_path, {usage: "10500000\n"})
    assert surrounding.highest_rise_bytes() is None
    surrounding.watch()
    for now in (10_500_000, 10_900_000, 10_200_000):
        fill(tmp_path, {usage: f"{now}\n"})
        surrounding.look()
    assert surrounding.highest_rise_bytes() == 900_000 + UNSEEN
    surrounding.close()


def test_upper_bound_is_the_mark_where_it_was_raised(kind: str, tmp_path: Path) -> None:
    make, files, _, mark, _ = KINDS[kind]
    surrounding = Surrounding(make(fill(tmp_path, files), "/"))
    surrounding.watch()
    surrounding.look()
    # An older, higher one says nothing.
    assert surrounding.highest_rise_bytes() == UNSEEN
    fill(tmp_path, {mark: "12500000\n"})
    assert surrounding.highest_rise_bytes() == 2_500_000 + UNSEEN
    surrounding.close()


def test_kills_are_those_since_the_watch_began(kind: str, tmp_path: Path) -> None:
    make, files, _, _, kills = KINDS[kind]
    surrounding = Surrounding(make(fill(tmp_path, files | {kills: "oom_kill 4\n"}), "/"))
    surrounding.watch()
    assert surrounding.oom_kills() == 0
    fill(tmp_path, {kills: "oom_kill 6\n"})
    assert surrounding.oom_kills() == 2
    surrounding.close()
    assert surrounding.oom_kills() is None


@pytest.mark.parametrize(
    ("limit", "said"), [("max\n", None), ("104857600\n", "has a limit of 100.0 MiB")]
)
def test_limit_of_the_group_around_is_told(limit: str, said: str | None, tmp_path: Path) -> None:
    fill(tmp_path, V2_6_12 | {"memory.max": limit})
    surrounding = Surrounding(unified(tmp_path, "/"))
    notes = surrounding.watch()
    assert len(notes) == (1 if said is None else 2)
    assert said is None or said in notes[1]
    surrounding.close()


def test_v1_without_a_limit_has_none(tmp_path: Path) -> None:
    surrounding = Surrounding(legacy(fill(tmp_path, V1), "/"))
    assert len(surrounding.watch()) == 1
    surrounding.close()


def test_group_that_cannot_be_read_bounds_nothing(tmp_path: Path) -> None:
    for hierarchy in (Hierarchy((), {}), unified(tmp_path, "/"), unified(tmp_path, "/../x")):
        surrounding = Surrounding(hierarchy)
        assert surrounding.watch() == []
        surrounding.look()
        assert surrounding.highest_rise_bytes() is None
        assert surrounding.oom_kills() is None
        surrounding.close()


def test_others_are_all_but_those_that_are_known(tmp_path: Path) -> None:
    own = os.getpid()
    fill(tmp_path, V2_6_12 | {"cgroup.procs": f"{own}\n12\n"})
    surrounding = Surrounding(unified(tmp_path, "/"))
    assert not surrounding.has_others_than({own, 12})
    assert surrounding.has_others_than({own})
    # One of another PID namespace, one in a group inside.
    fill(tmp_path, {"cgroup.procs": f"{own}\n12\n0\n"})
    assert surrounding.has_others_than({own, 12})
    fill(tmp_path, {"cgroup.procs": f"{own}\n12\n"})
    fill(tmp_path / "inner", {"cgroup.procs": "13\n"})
    assert surrounding.has_others_than({own, 12})
    # Not even we are seen: nobody lets us see who is.
    (tmp_path / "inner/cgroup.procs").unlink()
    fill(tmp_path, {"cgroup.procs": ""})
    assert surrounding.has_others_than({own, 12})
    assert Surrounding(Hierarchy((), {})).has_others_than({own})
