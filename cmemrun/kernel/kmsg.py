"""The kernel log from some moment on: read where we may, else through a tool that may."""

import errno
import os
import re

from cmemrun.log import Log

__all__ = ["KernelLog"]

log = Log(__name__)

# One record never is longer (PRINTK_MESSAGE_MAX, kernel/printk/internal.h).
_RECORD_BYTES = 8192
_TOOL_SECONDS = 5.0
# Each prints what the kernel said since it was booted, without what programs did.
_TOOLS = (
    ("dmesg", "--kernel"),
    ("journalctl", "--dmesg", "--boot", "--quiet", "--no-pager", "--output=cat"),
)
_STAMP = re.compile(r"\[ *\d+\.\d+\] ")


class KernelLog:
    """What the kernel says after this was made, opened then and read at the end.

    ``source`` is where ``lines`` come from, ``None`` where nobody lets us read
    (``kernel.dmesg_restrict``, a container), and ``refusal`` is why.
    """

    def __init__(self) -> None:
        self.source: str | None = None
        self.refusal = ""
        self._fd: int | None = None
        try:
            self._fd = os.open("/dev/kmsg", os.O_RDONLY | os.O_NONBLOCK)
            os.lseek(self._fd, 0, os.SEEK_END)
            self.source = "/dev/kmsg"
        except OSError as error:
            self.close()
            self.refusal = f"/dev/kmsg: {error.strerror}"

    def lines(self) -> list[str]:
        """The kernel's lines; with a tool also those from before, which bear other names."""
        if self._fd is not None:
            return self._records(self._fd)
        for tool in _TOOLS:
            told = _run(tool)
            if told:
                self.source = tool[0]
                lines = told.removesuffix("\n").split("\n")
                return [_STAMP.sub("", line, count=1) for line in lines]
        return []

    def close(self) -> None:
        """Give the descriptor back."""
        if self._fd is not None:
            os.close(self._fd)
            self._fd = None

    def _records(self, fd: int) -> list[str]:
        found: list[str] = []
        while True:
            try:
                record = os.read(fd, _RECORD_BYTES)
            except BlockingIOError:
                return found
            except OSError as error:
                if error.errno == errno.EPIPE:  # some were overwritten; on with the next
                    continue
                self.refusal = f"/dev/kmsg: {error.strerror}"
                return found
            if not record:  # something else than the log is there
                return found
            head, _, text = record.partition(b";")
            # What a program wrote to the log has another facility than 0, which
            # the kernel keeps for itself (Documentation/ABI/testing/dev-kmsg).
            if head.partition(b",")[0].isdigit() and int(head.partition(b",")[0]) >> 3 == 0:
                found.append(text.partition(b"\n")[0].decode("utf-8", "backslashreplace"))


def _run(tool: tuple[str, ...]) -> str:
    """What a tool says; a carriage return in it, of a process's name, ends no line."""
    import subprocess

    try:
        done = subprocess.run(
            tool,
            capture_output=True,
            timeout=_TOOL_SECONDS,
            check=False,
            stdin=subprocess.DEVNULL,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        log.debug("tool=%s refused=%r", tool[0], error)
        return ""
    return done.stdout.decode("utf-8", "replace") if done.returncode == 0 else ""
