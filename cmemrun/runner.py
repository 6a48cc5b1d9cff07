"""``measure``: have a group, launch into it, sample, and make a Run of it all."""

import contextlib
import math
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import NamedTuple, Protocol

from cmemrun import account
from cmemrun.backends import Group, choose
from cmemrun.backends.base import CpuTime
from cmemrun.backends.surrounding import Surrounding
from cmemrun.errors import BadInput, NoGroup, NotOffered, WayFailed
from cmemrun.identity import User
from cmemrun.keeper import Keeper
from cmemrun.kernel.hierarchy import Hierarchy, detect
from cmemrun.kernel.kmsg import KernelLog
from cmemrun.launcher import OUR_STREAMS, Program, Streams
from cmemrun.log import Log
from cmemrun.model import Limits, Run, Sample, Setting, Straggler
from cmemrun.sampler import Sampler, Sampling
from cmemrun.signals import Background, Waiter

__all__ = ["Observer", "Settings", "measure"]

log = Log(__name__)

# Processes that are ending anyway, such as the other half of a pipeline, are
# given this long before they count as having outlived the program.
_SETTLE_SECONDS = 0.02
_LOOK_SECONDS = 0.05


class Settings(NamedTuple):
    """How to measure; all times in seconds.

    ``timeout_seconds``: after which the main process gets SIGTERM, and
    ``grace_seconds`` later the whole group SIGKILL.
    ``linger``: wait for what outlives the main process instead of ending it.
    Without ``strict_limits`` one that the kernel has none of is a note. ``rules``
    are whose the limits are, and ``notes`` what to say of them; the Run has both.
    ``parent``: the group to work below. ``backend`` and ``require``: see
    ``backends.choose``. ``user``: whom the program is run as, by root. ``needs``:
    metrics without which there is no use in running it. ``is_users_environment``:
    the environment is to be left as it is for ``user``. ``directory`` and
    ``streams``: what it has in place of ours.
    """

    sampling: Sampling = Sampling()
    limits: Limits = Limits()
    strict_limits: bool = True
    rules: tuple[Setting, ...] = ()
    notes: tuple[str, ...] = ()
    timeout_seconds: float | None = None
    grace_seconds: float = 5.0
    linger: bool = False
    parent: str | None = None
    backend: str = "auto"
    require: str | None = None
    user: User | None = None
    needs: tuple[str, ...] = ()
    is_users_environment: bool = False
    directory: str | None = None
    streams: Streams = OUR_STREAMS


class Observer(Protocol):
    """Somebody who is told of a run while it goes on."""

    def begin(self, run: Run) -> None:
        """Told the run as it is known before it starts."""
        ...

    def sample(self, sample: Sample) -> None:
        """Told every full sample, in the sampler's thread, which must not be kept waiting."""
        ...


def measure(
    command: Sequence[str],
    settings: Settings | None = None,
    *,
    waiter: Waiter | None = None,
    environment: Mapping[str, str] | None = None,
    meanwhile: Callable[[], None] | None = None,
    observers: Sequence[Observer] = (),
) -> Run:
    """Run a command in a group of its own and return what it used.

    The program's process group and terminal are the caller's, and so are its
    streams and directory unless others are given. Afterwards nothing of it is left.
    ``meanwhile`` is something useful to do, in a thread, while the kernel moves the
    program into its group, which takes it 5 to 20 ms of waiting. Raises ``BadInput`` for an empty
    command or a limit this kernel cannot enforce, ``NoGroup`` where no group
    can be had, ``NotOffered`` where it does not tell what ``settings.needs``,
    ``ProgramNotFound`` and ``ProgramNotExecutable``.
    """
    if not command:
        raise BadInput("there is no program to run", hint="cmemrun [OPTIONS] [--] PROGRAM [ARG]...")
    if any("\0" in word for word in command):
        raise BadInput("an argument cannot hold a NUL byte", hint="give it in a file")
    settings, waiter = settings or Settings(), waiter or Background()
    if settings.user is not None and os.geteuid() != 0:
        if settings.user.uid != os.geteuid():
            raise BadInput(
                f"only root can run a program as {settings.user.name}",
                hint=f"sudo cmemrun --user {settings.user.name} …",
            )
        settings = settings._replace(user=None)
    hierarchy = detect()
    avoid: set[str] = set()
    while True:
        try:
            return _attempt(
                command, settings, waiter, environment, meanwhile, observers, hierarchy, avoid
            )
        except WayFailed as failure:
            if settings.backend != "auto" or settings.parent is not None:
                raise
            log.debug("way=%s failed=%r", failure.way, failure.message)
            avoid.add(failure.way)


def _attempt(
    command: Sequence[str],
    settings: Settings,
    waiter: Waiter,
    environment: Mapping[str, str] | None,
    meanwhile: Callable[[], None] | None,
    observers: Sequence[Observer],
    hierarchy: Hierarchy,
    avoid: set[str],
) -> Run:
    surrounding = Surrounding(hierarchy)
    with contextlib.ExitStack() as stack:
        kernel_log = KernelLog()
        stack.callback(kernel_log.close)
        program = Program(
            command,
            restore=waiter.restore,
            environment=environment,
            user=settings.user,
            is_users_environment=settings.is_users_environment,
            directory=settings.directory,
            streams=settings.streams,
        )
        stack.callback(program.abandon)
        keeper = stack.enter_context(Keeper())
        group = choose(
            hierarchy,
            program.pid,
            keeper,
            surrounding,
            parent=settings.parent,
            backend=settings.backend,
            require=settings.require,
            avoid=avoid,
            owns_process=waiter.owns_process,
        )
        stack.callback(group.remove)
        limits = group.limit(settings.limits, strict=settings.strict_limits)
        if settings.limits.oom_score_adj is not None:
            program.adjust_oom_score(settings.limits.oom_score_adj)
            limits = limits._replace(oom_score_adj=settings.limits.oom_score_adj)
        with _aside(meanwhile):
            try:
                group.attach(program.pid)
            except NoGroup as refusal:
                raise WayFailed(refusal.message, hint=refusal.hint, way=group.way) from refusal
        listeners = [observer.sample for observer in observers]
        sampler = Sampler(group, settings.sampling, listeners)
        stack.callback(group.close)
        stack.callback(sampler.stop)
        return _run(
            program, group, sampler, waiter, settings, limits, observers, hierarchy, kernel_log
        )


@contextlib.contextmanager
def _aside(work: Callable[[], None] | None) -> Iterator[None]:
    """Do something in a thread meanwhile."""
    if work is None:
        yield
        return

    def attempt() -> None:
        # What is only useful is no reason to fail; whoever needs it meets the fault again.
        with contextlib.suppress(Exception):
            work()

    thread = threading.Thread(target=attempt, name="cmemrun-meanwhile")
    with contextlib.suppress(RuntimeError):  # the kernel makes none for us
        thread.start()
    try:
        yield
    finally:
        if thread.is_alive():
            thread.join()


def _run(
    program: Program,
    group: Group,
    sampler: Sampler,
    waiter: Waiter,
    settings: Settings,
    limits: Limits,
    observers: Sequence[Observer],
    hierarchy: Hierarchy,
    kernel_log: KernelLog,
) -> Run:
    waiter.is_relative = group.holds
    begun = account.begin(
        group,
        hierarchy,
        command=program.command,
        user=settings.user.name if settings.user else None,
        pid=program.pid,
        limits=limits,
        started_at=time.time(),
        refresh_seconds=settings.sampling.refresh_seconds,
    )
    for observer in observers:
        observer.begin(begun)
    sampler.start(at_gate=True)
    if settings.needs:
        _refuse_unmeasurable(settings.needs, sampler, group)
    program.open_gate()
    started = time.monotonic()
    timed_out, end_by = _wait_for_end(program, group, waiter, settings)
    wall_seconds = time.monotonic() - started
    end = program.ended(timed_out=timed_out)
    stragglers = _wait_for_others(group, waiter, end_by if settings.linger else 0.0)
    if stragglers and settings.linger and time.monotonic() >= end_by:
        end = end._replace(timed_out=True)
    sampler.stop()
    sampler.final()
    if stragglers:
        group.kill()
    notes = list(settings.notes)
    peak, cpu = account.kernel_peak(group), group.cpu_time()
    high_water_bytes = group.high_water_bytes(program.usage)
    upper_bound_bytes = group.upper_bound_bytes()
    if upper_bound_bytes is not None and upper_bound_bytes < max(
        peak or 0, sampler.highest_usage_bytes, high_water_bytes
    ):
        notes.append(
            "there is no upper bound: the group we are in gave memory back meanwhile, or rose"
            " unseen between two looks"
        )
        upper_bound_bytes = None
    if cpu is None:
        cpu = _waited_for(program)
        notes.append("CPU time is of the main process and the children it waited for")
    if end.status is None:
        notes.append(
            "how it ended is not known: this process has SIGCHLD ignored, or waits for every child"
        )
    if end.signal == signal.SIGKILL and not program.has_executed:
        notes.append(
            "it was killed before it was the program: a limit is less than it takes to start one"
        )
    if not group.remove():
        notes.append(
            f"{group.where} could not be removed: what is in it cannot be killed, or somebody goes"
            " on making groups in it"
        )
    return account.close(
        begun._replace(
            wall_seconds=wall_seconds,
            exit=end,
            stragglers=stragglers,
            upper_bound_bytes=upper_bound_bytes,
            rules=settings.rules,
        ),
        group,
        sampler,
        kernel_log,
        cpu=cpu,
        peak=peak,
        high_water_bytes=high_water_bytes,
        notes=notes,
    )


def _refuse_unmeasurable(needs: tuple[str, ...], sampler: Sampler, group: Group) -> None:
    """Raise ``NotOffered`` where the group does not tell of something that is to be judged."""
    from cmemrun.analysis.metrics import missing

    first = sampler.series.last
    assert first is not None  # noqa: S101 (start() took one)
    absent = missing(needs, first)
    if absent:
        raise NotOffered(
            f"{' and '.join(absent)} cannot be measured here ({group.name})",
            hint="cmemrun doctor tells what can; assert something else",
        )


def _wait_for_end(
    program: Program, group: Group, waiter: Waiter, settings: Settings
) -> tuple[bool, float]:
    """Until the main process has ended; whether our time limit ended it, and when all must be over.

    The second is on the monotonic clock, infinite without a limit.
    """
    timeout = math.inf if settings.timeout_seconds is None else settings.timeout_seconds
    end_by, timed_out = time.monotonic() + timeout, False
    while not program.poll():
        stop = program.take_stop()
        if stop is not None:
            waiter.stopped(program, stop)
            continue
        left = end_by - time.monotonic()
        if left > 0:
            waiter.wait(program, None if left == math.inf else left)
        elif not timed_out:
            log.debug("time limit pid=%d", program.pid)
            timed_out, end_by = True, time.monotonic() + settings.grace_seconds
            program.terminate()
        else:
            group.kill()
            program.kill()
            waiter.wait(program, _LOOK_SECONDS)
    return timed_out, end_by


def _wait_for_others(group: Group, waiter: Waiter, end_by: float) -> tuple[Straggler, ...]:
    """Wait a little, or until ``end_by``, for the group to be empty; what is left in it."""
    waiter.interrupted = False
    deadline = max(time.monotonic() + _SETTLE_SECONDS, end_by)
    wait, left = 0.0005, group.members()
    while left and time.monotonic() < deadline and not waiter.interrupted:
        waiter.pause(min(wait, deadline - time.monotonic()))
        wait, left = min(wait * 2, _LOOK_SECONDS), group.members()
    if not left:
        return ()
    from cmemrun.kernel.process import describe

    return tuple(describe(pid) for pid in sorted(left))


def _waited_for(program: Program) -> CpuTime:
    usage = program.usage
    return CpuTime(usage.ru_utime, usage.ru_stime) if usage else CpuTime(0.0, 0.0)
