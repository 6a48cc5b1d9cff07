"""``watch``: measure a process, a group or a container that is there already."""

import contextlib
import threading
from types import TracebackType

from cmemrun import model, watcher
from cmemrun.api.job import Job, Stoppable
from cmemrun.api.run import Run
from cmemrun.api.values import seconds
from cmemrun.backends.attached import Attached
from cmemrun.backends.places import find, group_of_container, group_of_process
from cmemrun.errors import BadInput
from cmemrun.kernel.hierarchy import Hierarchy, Mount, detect
from cmemrun.kernel.process import describe
from cmemrun.sampler import Sampling

__all__ = ["Watch", "watch"]


def watch(
    *,
    pid: int | None = None,
    cgroup: str | None = None,
    container: str | None = None,
    refresh: float | str = 0.5,
) -> "Watch":
    """Measure a group that is there already, for as long as a ``with`` block takes.

    One of ``pid`` (the group that this process is in), ``cgroup`` (a directory, or a
    path as ``/proc/PID/cgroup`` has it) and ``container`` (its ID, or the start of
    that). ``refresh`` is the time between two full samples, in seconds or as
    ``"100ms"``. Nothing in the group is changed, and counters are what they rose by::

        with cmemrun.watch(pid=server.pid) as watching:
            requests()
        print(watching.run.peak_bytes)

    Raises ``BadInput`` for what cannot be used, and on entering ``BadInput`` or
    ``NoGroup`` where there is no such group or it cannot be read.
    """
    if sum(one is not None for one in (pid, cgroup, container)) != 1:
        raise BadInput(
            "watch() wants one of pid, cgroup and container", hint="for example watch(pid=1234)"
        )
    return Watch(pid, cgroup, container, seconds("refresh", refresh, least=0.001))


class Watch:
    """A group being watched: a context, to be entered once."""

    def __init__(
        self, pid: int | None, cgroup: str | None, container: str | None, refresh_seconds: float
    ) -> None:
        self._pid, self._cgroup, self._container = pid, cgroup, container
        self._refresh_seconds = refresh_seconds
        self._job: Job[Run] | None = None
        self._latest = _Latest()
        self._run: Run | None = None

    @property
    def sample(self) -> model.Sample:
        """The latest full one; ``RuntimeError`` before the block."""
        if self._latest.seen is None:
            raise RuntimeError("nothing is watched before the block")
        return self._latest.seen

    @property
    def run(self) -> Run:
        """What was measured; ``RuntimeError`` before the end of the block."""
        if self._run is None:
            raise RuntimeError("there is no run before the end of the block")
        return self._run

    def __enter__(self) -> "Watch":
        if self._job is not None:
            raise RuntimeError("a watch is entered once")
        job = self._job = Job(self._watch)
        with contextlib.ExitStack() as stack:
            stack.enter_context(job)
            job.future.add_done_callback(lambda _: self._latest.ready.set())
            job.start()
            self._latest.ready.wait()
            if self._latest.seen is None:
                job.future.result()
            self._stack = stack.pop_all()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        job = self._job
        assert job is not None, "it was entered"  # noqa: S101
        with self._stack:
            job.finish()
        # What went wrong in the block matters more than what did here.
        if error is None or job.future.exception() is None:
            self._run = job.future.result()

    def _watch(self, waiter: Stoppable) -> Run:
        hierarchy = detect()
        run = watcher.watch(
            Attached(hierarchy, *self._group(hierarchy)),
            hierarchy,
            Sampling(refresh_seconds=self._refresh_seconds),
            waiter,
            pid=self._pid,
            command=() if self._pid is None else describe(self._pid).command,
            observers=[self._latest],
        )
        return Run._make(run)

    def _group(self, hierarchy: Hierarchy) -> tuple[Mount, str]:
        if self._pid is not None:
            return group_of_process(hierarchy, self._pid)
        if self._cgroup is not None:
            return find(hierarchy, "cgroup", self._cgroup)
        return group_of_container(hierarchy, self._container or "")


class _Latest:
    """An observer that remembers."""

    def __init__(self) -> None:
        self.ready = threading.Event()
        self.seen: model.Sample | None = None

    def begin(self, run: model.Run) -> None:
        pass

    def sample(self, sample: model.Sample) -> None:
        self.seen = sample
        self.ready.set()
