"""How a run goes: when the program is asked to end, when it is ended, and what outlives it."""

import math
import threading
from collections.abc import Callable
from typing import cast

import pytest

from cmemrun import runner
from cmemrun.backends import Group
from cmemrun.errors import BadInput, WayFailed
from cmemrun.identity import User
from cmemrun.kernel import process as processes
from cmemrun.launcher import Program
from cmemrun.model import Straggler
from cmemrun.runner import Settings, measure
from cmemrun.signals import Waiter


class Play:
    """A program, its group and whoever waits for them, on a clock that passes only by waiting.

    ``ends_after``: by itself; ``heeds``: it ends when it is asked to. ``left``: who is in
    the group until when.
    """

    def __init__(
        self,
        *,
        ends_after: float = math.inf,
        heeds: bool = False,
        left: dict[int, float] | None = None,
    ) -> None:
        self.now = 1000.0
        self.ends_at = self.now + ends_after
        self.heeds = heeds
        self.left = {pid: self.now + until for pid, until in (left or {}).items()}
        self.told: list[tuple[str, float]] = []
        self.stops: list[int] = []
        self.interrupted = True
        self.interrupts_at = math.inf
        self.pid = 7

    def elapsed(self) -> float:
        return round(self.now - 1000.0, 3)

    def monotonic(self) -> float:
        return self.now

    def poll(self) -> bool:
        return self.now >= self.ends_at

    def take_stop(self) -> int | None:
        return self.stops.pop() if self.stops else None

    def stopped(self, _: object, signum: int) -> None:
        self.told.append((f"stopped {signum}", self.elapsed()))

    def wait(self, _: object, seconds: float | None) -> None:
        # Nothing else happens before the end.
        self.now = min(self.ends_at, math.inf if seconds is None else self.now + seconds)

    def pause(self, seconds: float) -> None:
        self.now += seconds
        self.interrupted = self.now >= self.interrupts_at

    def terminate(self) -> None:
        assert len(self.told) < 9, "asked again and again"
        self.told.append(("asked", self.elapsed()))
        if self.heeds:
            self.ends_at = self.now + 0.125

    def kill(self) -> None:
        if not self.told or self.told[-1] != ("killed", self.elapsed()):
            self.told.append(("killed", self.elapsed()))
            self.ends_at = min(self.ends_at, self.now + 0.01)

    def members(self) -> set[int]:
        return {pid for pid, until in self.left.items() if until > self.now}


Staged = Callable[[Play], Play]


@pytest.fixture
def stage(monkeypatch: pytest.MonkeyPatch) -> Staged:
    """Has a play's time be that of the runner."""

    def put(play: Play) -> Play:
        monkeypatch.setattr(runner, "time", play)
        return play

    monkeypatch.setattr(processes, "describe", lambda pid: Straggler(pid, "it", ()))
    return put


def waited(play: Play, settings: Settings) -> tuple[bool, float]:
    return runner._wait_for_end(
        cast(Program, play), cast(Group, play), cast(Waiter, play), settings
    )


def others(play: Play, end_by: float = 0.0) -> tuple[Straggler, ...]:
    return runner._wait_for_others(cast(Group, play), cast(Waiter, play), end_by)


def test_program_that_ends_in_time_is_left_alone(stage: Staged) -> None:
    play = stage(Play(ends_after=3.0))
    assert waited(play, Settings(timeout_seconds=5.0)) == (False, 1005.0)
    assert (play.told, play.elapsed()) == ([], 3.0)


def test_without_a_time_limit_there_is_none(stage: Staged) -> None:
    play = stage(Play(ends_after=1e6))
    assert waited(play, Settings()) == (False, math.inf)
    assert play.told == []


def test_program_is_asked_to_end_at_its_time_limit(stage: Staged) -> None:
    play = stage(Play(heeds=True))
    timed_out, end_by = waited(play, Settings(timeout_seconds=5.0, grace_seconds=2.0))
    assert timed_out and end_by == 1007.0
    assert play.told == [("asked", 5.0)]
    assert play.elapsed() == 5.125


def test_program_that_does_not_heed_is_killed_after_its_grace(stage: Staged) -> None:
    play = stage(Play())
    assert waited(play, Settings(timeout_seconds=5.0, grace_seconds=2.0))[0]
    assert play.told == [("asked", 5.0), ("killed", 7.0)]


def test_stop_of_the_program_is_handed_on(stage: Staged) -> None:
    play = stage(Play(ends_after=3.0))
    play.stops = [19]
    waited(play, Settings())
    assert play.told == [("stopped 19", 0.0)]


def test_leftover_processes_have_20_ms_to_end(stage: Staged) -> None:
    play = stage(Play(left={8: 0.015}))
    assert others(play) == ()
    assert play.elapsed() <= 0.02
    play = stage(Play(left={8: 5.0, 9: 5.0, 10: 0.001}))
    assert [one.pid for one in others(play)] == [8, 9]
    assert play.elapsed() == 0.02


def test_linger_waits_for_leftover_processes_until_the_time_limit(stage: Staged) -> None:
    play = stage(Play(left={8: 5.0}))
    assert others(play, end_by=1009.0) == ()
    assert 5.0 <= play.elapsed() <= 5.05
    play = stage(Play(left={8: 50.0}))
    assert [one.pid for one in others(play, end_by=1009.0)] == [8]
    assert play.elapsed() == 9.0


def test_interrupt_ends_the_wait_for_leftover_processes(stage: Staged) -> None:
    """What was asked before the program's end has ended the program."""
    play = stage(Play(left={8: 50.0}))
    play.interrupts_at = 1003.0
    assert [one.pid for one in others(play, end_by=math.inf)] == [8]
    assert 3.0 <= play.elapsed() <= 3.05


@pytest.mark.parametrize("command", [[], ["true", "a\0b"]])
def test_command_that_cannot_be_is_refused(command: list[str]) -> None:
    with pytest.raises(BadInput):
        measure(command)


def test_only_root_runs_as_another(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.geteuid", lambda: 1234)
    user = User("other", 1235, 1235, (), "/", "/bin/sh")
    with pytest.raises(BadInput, match="only root can run a program as other"):
        measure(["true"], Settings(user=user))


def test_failed_backend_is_replaced_only_if_it_was_not_chosen(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    avoided: list[set[str]] = []

    def attempt(*rest: object) -> None:
        avoid = cast(set[str], rest[-1])
        avoided.append(set(avoid))
        raise WayFailed("late", way=f"way {len(avoided)}") if len(avoided) < 3 else KeyError

    monkeypatch.setattr(runner, "_attempt", attempt)
    with pytest.raises(KeyError):
        measure(["true"])
    assert avoided == [set(), {"way 1"}, {"way 1", "way 2"}]
    for chosen in (Settings(backend="v2"), Settings(parent="/x")):
        avoided.clear()
        with pytest.raises(WayFailed):
            measure(["true"], chosen)


@pytest.mark.parametrize("fails", [True, False])
def test_what_is_useful_meanwhile_is_no_reason_to_fail(fails: bool) -> None:
    done: list[str] = []
    over = threading.Event()

    def work() -> None:
        over.wait(0.1)  # which nobody sets before it has been waited for
        done.append("work")
        if fails:
            raise RuntimeError("on purpose")

    with runner._aside(work):
        done.append("attached")
    over.set()
    assert done == ["attached", "work"]
