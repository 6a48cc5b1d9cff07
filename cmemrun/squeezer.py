"""Takes memory from a program that runs, as long as it does not notice."""

import contextlib
import errno
import os
import queue
import threading

from cmemrun.analysis.squeeze import Steering
from cmemrun.errors import NotOffered, start_thread
from cmemrun.kernel.files import parse_scalar, read_text, write_text
from cmemrun.log import Log
from cmemrun.model import Run, Sample

__all__ = ["Squeezer"]

log = Log(__name__)


class Squeezer:
    """An observer that has the kernel reclaim from the group, in a thread of its own.

    Reclaiming may take long, and the sampler must not be kept waiting.
    """

    def __init__(self) -> None:
        self.steering = Steering(os.sysconf("SC_PAGESIZE"))
        self.way = ""
        """The file it is done by: ``memory.reclaim``, or ``memory.high`` before Linux 5.19."""
        self._group = ""
        self._samples: queue.SimpleQueue[Sample | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._work, name="cmemrun-squeezer", daemon=True)

    def begin(self, run: Run) -> None:
        """Raises ``NotOffered`` where the group is none of v2."""
        self._group = run.method.group
        for way in ("memory.reclaim", "memory.high"):
            if os.path.exists(f"{self._group}/{way}"):
                self.way = way
                break
        else:
            raise NotOffered(
                "only a group of cgroup v2 can be squeezed while it runs, and here it is"
                f" {run.method.backend}",
                hint="without --squeeze the smallest limit is searched by running it again",
            )
        start_thread(self._thread)

    def sample(self, sample: Sample) -> None:
        self._samples.put(sample)

    def close(self) -> None:
        """Take no more; harmless where it never began."""
        if self._thread.is_alive():
            self._samples.put(None)
            self._thread.join()

    def _work(self) -> None:
        while (sample := self._samples.get()) is not None:
            wanted = self.steering.look(sample)
            # What has come meanwhile is to be looked at first.
            if wanted and self._samples.empty():
                try:
                    self._reclaim(wanted)
                except OSError as error:
                    log.debug("squeeze ends: %r", error)  # the group has gone
                    return

    def _reclaim(self, size_bytes: int) -> None:
        if self.way == "memory.reclaim":
            try:
                write_text(f"{self._group}/memory.reclaim", str(size_bytes))
            except OSError as error:
                # There was less to be had, or a signal came (memory_reclaim, mm/memcontrol.c).
                if error.errno not in (errno.EAGAIN, errno.EINTR):
                    raise
            return
        # As oomd does without it: the write reclaims down to the mark, and nobody is
        # slowed down by one that has gone again.
        usage = parse_scalar(read_text(f"{self._group}/memory.current") or b"")
        try:
            write_text(f"{self._group}/memory.high", str(max(0, usage - size_bytes)))
        finally:
            with contextlib.suppress(OSError):
                write_text(f"{self._group}/memory.high", "max")
