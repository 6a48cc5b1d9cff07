"""``watch``: sample a group that others made and use, and make a Run of what was seen."""

import contextlib
import math
import time
from collections.abc import Sequence

from cmemrun import account
from cmemrun.backends.attached import Attached
from cmemrun.errors import NoGroup
from cmemrun.kernel.hierarchy import Hierarchy
from cmemrun.kernel.kmsg import KernelLog
from cmemrun.kernel.process import identify, is_alive
from cmemrun.model import Run
from cmemrun.runner import Observer
from cmemrun.sampler import Sampler, Sampling
from cmemrun.signals import Waiter

__all__ = ["watch"]

_LOOK_SECONDS = 0.1


def watch(
    source: Attached,
    hierarchy: Hierarchy,
    sampling: Sampling,
    waiter: Waiter,
    *,
    seconds: float | None = None,
    pid: int | None = None,
    command: Sequence[str] = (),
    observers: Sequence[Observer] = (),
) -> Run:
    """Watch a group until it is empty or gone, its process ``pid`` has ended, or time is over.

    Or until somebody asks to end (``waiter.interrupted``). ``command`` is what to
    call it, ``seconds`` for how long at most. Raises ``NoGroup`` where there is nobody in it.
    """
    with contextlib.ExitStack() as stack:
        stack.callback(source.close)
        process = identify(pid) if pid is not None else None
        members = source.members()
        if not members:
            raise NoGroup(f"there is no process in {source.where}", hint="start it, then attach")
        if pid is not None and len(members) > 1:
            source.notes.append(f"the numbers are of the whole group: {len(members)} processes")
        # The group has been there for long, with kills of its own.
        kernel_log = KernelLog(without_earlier=True)
        stack.callback(kernel_log.close)
        sampler = Sampler(source, sampling, [observer.sample for observer in observers])
        stack.callback(sampler.stop)
        begun = account.begin(
            source,
            hierarchy,
            command=command,
            user=None,
            pid=pid,
            limits=source.limits(),
            started_at=time.time(),
            refresh_seconds=sampling.refresh_seconds,
            attached=True,
        )
        for observer in observers:
            observer.begin(begun)
        started = time.monotonic()
        sampler.start(at_gate=False)
        deadline = math.inf if seconds is None else started + seconds
        while not waiter.interrupted and sampler.failure is None:
            left = deadline - time.monotonic()
            if left <= 0 or (process and not is_alive(process)) or not source.members():
                break
            waiter.pause(min(left, _LOOK_SECONDS))
        wall_seconds = time.monotonic() - started
        sampler.stop()
        sampler.final()
        return account.close(
            begun._replace(wall_seconds=wall_seconds),
            source,
            sampler,
            kernel_log,
            cpu=source.cpu_time(),
            peak=account.kernel_peak(source),
            main_lives=process is not None and is_alive(process),
        )
