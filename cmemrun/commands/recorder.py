"""``--record``: every sample goes to a file as it comes, and to the disk behind it."""

import contextlib
import os
import queue
import stat
import threading
from collections.abc import Callable
from typing import Final

from cmemrun.commands.console import write_all
from cmemrun.commands.output import Stream, identity_of
from cmemrun.errors import OutputError, start_thread
from cmemrun.model import Run, Sample
from cmemrun.report import record

__all__ = ["Recorder"]

# Of what waits to be written. A disk that is behind by so much is behind for good,
# and our memory must stay flat.
_MOST_WAITING = 10_000


class Recorder:
    """An observer that writes lines to an open descriptor, in a thread of its own.

    What has come meanwhile is written together and then brought to the disk, so
    that a crash of the machine costs what came since: at most one refresh, or
    what the disk takes for one write. A reader or a disk that is slow never
    keeps the sampler waiting.
    """

    def __init__(self, stream: Stream) -> None:
        """Takes the descriptor over."""
        self._fd: Final = stream.fd
        self._made = stream.made
        self.identity = identity_of(os.fstat(self._fd))
        self._waiting: queue.SimpleQueue[Callable[[], str] | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._write, name="cmemrun-recorder", daemon=True)
        self._failure: OSError | None = None
        self._lost = 0
        self._before: Sample | None = None
        self._closed = False

    def begin(self, run: Run) -> None:
        start_thread(self._thread)
        # What a file held before goes now, when there is something to take its place.
        if stat.S_ISREG(os.fstat(self._fd).st_mode):
            os.ftruncate(self._fd, 0)
        if self._made is not None:
            self._made.close()
            self._made = None
        self._waiting.put(lambda: record.first_line(run))

    def sample(self, sample: Sample) -> None:
        if self._failure is not None or self._waiting.qsize() > _MOST_WAITING:
            self._lost += 1
        else:
            self._waiting.put(lambda: self._line(sample))

    def _line(self, sample: Sample) -> str:
        """In the writing thread, which knows what the line before has."""
        before, self._before = self._before, sample
        return record.sample_line(sample, before)

    def end(self, run: Run) -> None:
        """Write the last line; ``OutputError`` where not everything could be written."""
        self._waiting.put(lambda: record.last_line(run))
        self.close()
        if self._failure is not None:
            raise OutputError(
                f"--record: writing ended before the run did: {self._failure.strerror}",
                hint="cmemrun report reads what is there",
            )
        if self._lost:
            raise OutputError(
                f"--record: {self._lost} samples were not written, as they came too fast",
                hint="record to a faster disk, or with a longer --refresh",
            )

    def close(self) -> None:
        """Write what is left and give the descriptor back; harmless if done before.

        A file that was made for a run which never began goes again.
        """
        if self._thread.is_alive():
            self._waiting.put(None)
            self._thread.join()
        if not self._closed:
            self._closed = True
            os.close(self._fd)
            if self._made is not None:
                self._made.remove()
                self._made.close()

    def _write(self) -> None:
        more = True
        while more:
            lines = [self._waiting.get()]
            while not self._waiting.empty():
                lines.append(self._waiting.get())
            more = None not in lines
            text = "".join(line() for line in lines if line is not None)
            try:
                if self._failure is None:
                    write_all(self._fd, text)
                    _bring_to_disk(self._fd)
            except OSError as error:
                self._failure = error


def _bring_to_disk(fd: int) -> None:
    # A pipe has no disk behind it (EINVAL).
    with contextlib.suppress(OSError):
        os.fdatasync(fd)
