"""What a run's account says of numbers that are not whole, and of kills that may be others'."""

import errno
from typing import cast

import pytest

from cmemrun import account
from cmemrun.account import close
from cmemrun.backends.base import Source, Taken
from cmemrun.kernel.kmsg import KernelLog
from cmemrun.model import Events, Exit, Limits, Process, Run, Sample
from cmemrun.sampler import Sampler, Sampling
from tests.made_up import RUN

MIB = 2**20
PAGE = RUN.environment.page_bytes
RESOLUTION = MIB // 2
OURS = "/machine/cmemrun-1-abc"
OTHER = "/machine/other"
PROCESS = Process(7, 1, "it", ("it",), 10 * MIB, None, None, None, 1)


class Told:
    """A source that says one sample after another, and the last one again and again."""

    name = "cgroup-v2"
    notes: tuple[str, ...] = ()
    resolution_bytes = RESOLUTION

    def __init__(self, *samples: Sample, strangers: bool = False, seen: set[int] | None = None):
        self.samples = list(samples)
        self.strangers = strangers
        self.seen = seen or set()

    def take(self, elapsed_seconds: float) -> Taken:
        told = self.samples.pop(0) if len(self.samples) > 1 else self.samples[0]
        sample = told._replace(elapsed_seconds=elapsed_seconds)
        return Taken(elapsed_seconds, sample.usage_bytes, lambda: sample)

    def composition(self) -> None:
        return None

    def members(self) -> set[int]:
        return set()

    def has_strangers(self) -> bool:
        return self.strangers

    def has_seen(self, pid: int) -> bool:
        return pid in self.seen

    def root_in(self, path: str) -> str | None:
        return OURS if f"{path}/".startswith(f"{OURS}/") else None


class ScriptedLog:
    """What the kernel log says of some kills, and whether it has all of them."""

    refusal = ""

    def __init__(self, *events: list[str], whole: bool = True, source: str = "/dev/kmsg") -> None:
        self.events = events
        self.is_whole = whole
        self.source = source

    def lines(self) -> list[str]:
        return [line for event in self.events for line in event]


NOTHING_LOGGED = ScriptedLog()


def killed(pid: int, victim: str | None, limit: str | None = None) -> list[str]:
    """The log's lines on one victim, in the group ``victim``; ``None``: rate-limited away."""
    last = (
        f"Memory cgroup out of memory: Killed process {pid} (x) total-vm:10kB, anon-rss:8kB,"
        " file-rss:1kB, shmem-rss:0kB, UID:0 pgtables:40kB oom_score_adj:0"
    )
    if victim is None:
        return [last]
    at = f",oom_memcg={limit}" if limit else ",global_oom"
    kind = "CONSTRAINT_MEMCG" if limit else "CONSTRAINT_NONE"
    return [
        "x invoked oom-killer: gfp_mask=0xcc0(GFP_KERNEL), order=0, oom_score_adj=0",
        f"oom-kill:constraint={kind},nodemask=(null),cpuset=/,mems_allowed=0{at}"
        f",task_memcg={victim},task=x,pid={pid},uid=0",
        last,
    ]


def used(mib: float, kills: int = 0) -> Sample:
    """A sample all of whose parts are known."""
    size = int(mib * MIB)
    return Sample(
        0.0, size, anon_bytes=size, file_bytes=0, kernel_bytes=0, events=Events(oom_kill=kills)
    )


def watched(source: Told) -> Sampler:
    """A sampler that has taken the first and the last sample."""
    sampler = Sampler(cast(Source, source), Sampling(refresh_seconds=3600, probe=None))
    sampler.start(at_gate=True)
    sampler.stop()
    sampler.final()
    return sampler


def closed(
    source: Told,
    log: ScriptedLog = NOTHING_LOGGED,
    *,
    peak: int | None,
    begun: Run = RUN,
    high_water_bytes: int = 0,
) -> Run:
    return close(
        begun,
        cast(Source, source),
        watched(source),
        cast(KernelLog, log),
        cpu=None,
        peak=peak,
        high_water_bytes=high_water_bytes,
    )


@pytest.fixture(params=[True, False], ids=["first PID namespace", "inner PID namespace"])
def pids_are_ours(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> bool:
    """Whether the log's PIDs are those that we see, which no test can choose."""
    return _have_pids(monkeypatch, ours=bool(request.param))


def _have_pids(monkeypatch: pytest.MonkeyPatch, *, ours: bool) -> bool:
    monkeypatch.setattr(account, "_in_first_pid_namespace", lambda: ours)
    return ours


@pytest.mark.parametrize(
    ("anon_mib", "peak_mib", "said"),
    [
        (98, 100, None),
        (60, 100, "39.0 MiB of the usage at peak are in none of its parts"),
        (99, 160, "no sample was closer to the peak than 60.0 MiB"),
    ],
)
def test_parts_that_are_not_those_of_the_peak_say_so(
    anon_mib: int, peak_mib: int, said: str | None
) -> None:
    sample = Sample(
        0.0, 100 * MIB, anon_bytes=anon_mib * MIB, file_bytes=0, kernel_bytes=MIB, events=Events()
    )
    run = closed(Told(sample), peak=peak_mib * MIB)
    assert run.peak_bytes == peak_mib * MIB
    if said is None:
        assert run.method.notes == ()
    else:
        [note] = run.method.notes
        assert said in note


def test_sample_above_the_kernels_mark_is_the_peak() -> None:
    run = closed(Told(used(100)), peak=100 * MIB - PAGE)
    assert run.peak_bytes == 100 * MIB


def test_only_the_kernels_mark_is_exact() -> None:
    exact, sampled = closed(Told(used(1)), peak=MIB), closed(Told(used(1)), peak=None)
    assert (exact.method.peak_source, exact.method.lower_bound) == ("kernel", False)
    assert (sampled.method.peak_source, sampled.method.lower_bound) == ("sampled", True)


def test_high_water_mark_of_one_process_is_a_peak_where_it_is_higher() -> None:
    higher = closed(Told(used(100)), peak=None, high_water_bytes=130 * MIB)
    assert higher.peak_bytes == 130 * MIB
    assert any("VmHWM" in note for note in higher.method.notes)
    lower = closed(Told(used(100)), peak=None, high_water_bytes=100 * MIB)
    assert lower.peak_bytes == 100 * MIB
    assert lower.method.notes == ()


@pytest.mark.parametrize(
    ("limit_mib", "peak"), [(64, 100 * MIB), (160, 160 * MIB - RESOLUTION - 8 * PAGE)]
)
def test_kill_at_our_limit_raises_a_sampled_peak_and_never_lowers_it(
    limit_mib: int, peak: int
) -> None:
    begun = RUN._replace(limits=Limits(max_bytes=limit_mib * MIB))
    log = ScriptedLog(killed(7, OURS, OURS))
    run = closed(Told(used(1), used(100, kills=1)), log, peak=None, begun=begun)
    assert run.peak_bytes == peak
    told = [note for note in run.method.notes if "what the limit's OOM kill says" in note]
    assert len(told) == (peak > 100 * MIB)


def test_kill_at_our_limit_says_nothing_of_a_peak_the_kernel_keeps() -> None:
    begun = RUN._replace(limits=Limits(max_bytes=160 * MIB))
    log = ScriptedLog(killed(7, OURS, OURS))
    run = closed(Told(used(1), used(100, kills=1)), log, peak=101 * MIB, begun=begun)
    assert run.peak_bytes == 101 * MIB


@pytest.mark.parametrize(
    ("victim", "limit", "whose"),
    [
        (OURS, OURS, "own"),
        (f"{OURS}/inner", f"{OURS}/inner", "inner"),
        (f"{OURS}/inner", OURS, "own"),
        (OURS, "/machine", "ancestor"),
        (OURS, f"{OURS}x", "ancestor"),
        (OURS, None, None),
    ],
)
def test_limit_in_the_log_is_own_inner_or_an_ancestors(
    victim: str, limit: str | None, whose: str | None
) -> None:
    run = closed(Told(used(1, kills=1)), ScriptedLog(killed(7, victim, limit)), peak=MIB)
    assert run.oom_log is not None
    assert [event.whose for event in run.oom_log.events] == [whose]
    assert [victim.pid for victim in run.oom.victims] == [7]


def test_kill_in_another_group_is_not_the_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where a process with that number was in ours before."""
    _have_pids(monkeypatch, ours=True)
    log = ScriptedLog(killed(7, OTHER, OTHER), killed(8, OURS, OURS))
    run = closed(Told(used(1, kills=1), seen={7, 8}), log, peak=MIB)
    assert [victim.pid for victim in run.oom.victims] == [8]
    assert run.events.oom_kill == 1


def test_log_is_not_read_where_no_kill_was_counted() -> None:
    run = closed(Told(used(1)), ScriptedLog(killed(7, OURS, OURS)), peak=MIB)
    assert run.oom_log is None
    assert run.oom.verdict == "none"


def test_kill_whose_group_is_not_told_is_known_by_its_process(pids_are_ours: bool) -> None:
    """Of as many kills as there are, the one whose process was seen in the group."""
    log = ScriptedLog(killed(7, None), killed(8, None))
    run = closed(Told(used(1, kills=1), seen={7}), log, peak=MIB)
    assert [victim.pid for victim in run.oom.victims] == ([7] if pids_are_ours else [])


def test_as_many_kills_without_a_group_as_are_missing_are_the_runs() -> None:
    log = ScriptedLog(killed(7, OURS, OURS), killed(8, None), killed(9, None))
    run = closed(Told(used(1, kills=3)), log, peak=MIB)
    assert [victim.pid for victim in run.oom.victims] == [7, 8, 9]
    assert run.oom_log is not None and run.oom_log.unplaced == 0


@pytest.mark.parametrize(
    "log",
    [
        ScriptedLog(killed(7, OURS, OURS), killed(8, None), whole=False),
        # A tool has older lines, too.
        ScriptedLog(killed(7, OURS, OURS), killed(8, None), source="dmesg"),
    ],
)
def test_kills_without_a_group_stay_unplaced_if_the_log_is_incomplete(log: ScriptedLog) -> None:
    run = closed(Told(used(1, kills=2)), log, peak=MIB)
    assert [victim.pid for victim in run.oom.victims] == [7]
    assert run.oom_log is not None and run.oom_log.unplaced == 1


def test_more_kills_without_a_group_than_are_missing_stay_unplaced() -> None:
    log = ScriptedLog(killed(7, OURS, OURS), killed(8, None), killed(9, None))
    run = closed(Told(used(1, kills=2)), log, peak=MIB)
    assert [victim.pid for victim in run.oom.victims] == [7]
    assert run.oom_log is not None and run.oom_log.unplaced == 2


def test_kills_without_a_group_are_not_reported_if_none_is_missing() -> None:
    log = ScriptedLog(killed(7, OURS, OURS), killed(8, None))
    run = closed(Told(used(1, kills=1)), log, peak=MIB)
    assert run.oom_log is not None and run.oom_log.unplaced == 0
    assert not any("more killed" in line for line in run.oom.evidence)


def test_kill_in_a_shared_group_is_attributed_by_pid(pids_are_ours: bool) -> None:
    """In a group that others are in, too, as many kills as were counted may be theirs."""
    log = ScriptedLog(killed(8, None))
    run = closed(Told(used(1, kills=1), strangers=True), log, peak=None)
    assert run.oom.victims == ()
    told = any("struck others than the program's processes" in one for one in run.method.notes)
    # Whoever is told by number can be told apart: the kill was of another.
    assert told == pids_are_ours
    assert run.events.oom_kill == (0 if pids_are_ours else 1)
    assert run.oom.verdict == ("none" if pids_are_ours else "unknown")


def test_kills_of_other_processes_are_subtracted(monkeypatch: pytest.MonkeyPatch) -> None:
    _have_pids(monkeypatch, ours=True)
    log = ScriptedLog(killed(7, None), killed(8, None), killed(9, None))
    source = Told(used(1, kills=3), strangers=True, seen={8})
    run = closed(source, log, peak=None, begun=RUN._replace(exit=Exit(0, None)))
    assert run.events.oom_kill == 1
    assert [victim.pid for victim in run.oom.victims] == [8]
    assert any(note.startswith("2 of the OOM kills") for note in run.method.notes)
    assert run.oom_log is not None and run.oom_log.unplaced == 0


@pytest.mark.parametrize("whole", [True, False])
def test_kills_are_not_subtracted_if_the_log_is_incomplete(
    monkeypatch: pytest.MonkeyPatch, whole: bool
) -> None:
    _have_pids(monkeypatch, ours=True)
    lines = [killed(7, None), killed(8, None)]
    log = ScriptedLog(*lines[: 1 if whole else 2], whole=whole)
    run = closed(Told(used(1, kills=2), strangers=True, seen={7}), log, peak=None)
    assert run.events.oom_kill == 2


def test_without_a_group_a_kill_is_known_by_its_process(pids_are_ours: bool) -> None:
    """The log names the group that we are in, and with it everybody's."""
    source = Told(used(1, kills=1), seen={7})
    source.name = "proc"
    run = closed(source, ScriptedLog(killed(7, OTHER, OTHER)), peak=None)
    assert [victim.pid for victim in run.oom.victims] == ([7] if pids_are_ours else [])


def test_processes_seen_before_the_kill_are_reported() -> None:
    source = Told(used(1), used(100, kills=1))
    sampler = Sampler(cast(Source, source), Sampling(refresh_seconds=3600, probe=None))
    sampler.start(at_gate=True)
    sampler.stop()
    sampler.census.last = (0.25, (PROCESS,))
    sampler.final()
    log = cast(KernelLog, ScriptedLog(killed(7, OURS, OURS)))
    run = close(RUN, cast(Source, source), sampler, log, cpu=None, peak=100 * MIB)
    assert run.oom.processes == (PROCESS,)
    assert run.oom.processes_elapsed_seconds == 0.25


@pytest.mark.parametrize(
    ("failure", "said"),
    [
        (OSError(errno.ENODEV, "No such device"), "somebody else removed the group"),
        (OSError(errno.ENOENT, "No such file"), "somebody else removed the group"),
        (OSError(errno.EIO, "Input/output error"), "sampling failed: [Errno 5]"),
        (ZeroDivisionError("x"), "a defect in cmemrun"),
    ],
)
def test_sampling_that_failed_is_told_with_its_reason(failure: Exception, said: str) -> None:
    source = Told(used(1))
    sampler = watched(source)
    sampler.failure = failure
    log = cast(KernelLog, NOTHING_LOGGED)
    run = close(RUN, cast(Source, source), sampler, log, cpu=None, peak=MIB)
    [note] = run.method.notes
    assert said in note and "the numbers end there" in note


def test_peak_of_a_group_that_has_gone_is_unknown() -> None:
    class Gone:
        def peak(self) -> int:
            raise OSError(errno.ENODEV, "No such device")

    assert account.kernel_peak(cast(Source, Gone())) is None
