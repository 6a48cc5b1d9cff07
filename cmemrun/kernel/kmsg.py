"""The kernel log from some moment on: read where we may, else through a tool that may."""

import errno
import os
import re
import stat

from cmemrun.log import Log

__all__ = ["KernelLog"]

log = Log(__name__)

# One record never is longer (PRINTK_MESSAGE_MAX, kernel/printk/internal.h).
_RECORD_BYTES = 8192
_TOOL_SECONDS = 5.0
# Each prints what the kernel said since it was booted, without what programs did.
_TOOLS = (
    ("dmesg", "--kernel"),
    ("journalctl", "--dmesg", "--boot", "--quiet", "--no-pager", "--output=short-monotonic"),
)
# The journal has the machine's name and who spoke besides.
_STAMP = re.compile(r"\[ *\d+\.\d+\] (?:\S+ kernel: )?")
# Documentation/admin-guide/devices.txt.
_DEVICE = os.makedev(1, 11)
# What is no printable ASCII, and the backslash itself (msg_add_ext_text, kernel/printk/printk.c).
_ESCAPED = re.compile(rb"\\x([0-9a-f]{2})")


class KernelLog:
    """What the kernel says after this was made, opened then and read at the end.

    ``source`` is where ``lines`` come from, ``None`` where nobody lets us read
    (``kernel.dmesg_restrict``, a container), and ``refusal`` is why. ``is_whole`` is
    unset where the kernel has overwritten lines that nobody read.
    """

    def __init__(self, *, without_earlier: bool = False) -> None:
        """``without_earlier``: from a tool, too, only what comes from now on.

        It must be asked now for that, which takes longer than to open the device.
        """
        self.source: str | None = None
        self.refusal = ""
        self.is_whole = True
        self._fd: int | None = None
        self._last_before = ""
        try:
            self._fd = os.open("/dev/kmsg", os.O_RDONLY | os.O_NONBLOCK)
            _require_log(self._fd)
            os.lseek(self._fd, 0, os.SEEK_END)
            self.source = "/dev/kmsg"
        except OSError as error:
            self.close()
            self.refusal = f"/dev/kmsg: {error.strerror}"
            if without_earlier:
                *_, self._last_before = "", *self._ask_tools()

    def lines(self) -> list[str]:
        """The kernel's lines; with a tool also those from before, unless it was asked then."""
        if self._fd is not None:
            return self._records(self._fd)
        lines = self._ask_tools()
        if self._last_before in lines:
            # Stamped to the microsecond, so it is there once; overwritten, all are new.
            lines = lines[lines.index(self._last_before) + 1 :]
        return [_STAMP.sub("", line, count=1) for line in lines]

    def close(self) -> None:
        """Give the descriptor back."""
        if self._fd is not None:
            os.close(self._fd)
            self._fd = None

    def _ask_tools(self) -> list[str]:
        """What the first tool says that says something, with its stamps."""
        for tool in _TOOLS:
            told = _run(tool)
            if told:
                self.source = tool[0]
                return told.removesuffix("\n").split("\n")
        return []

    def _records(self, fd: int) -> list[str]:
        found: list[str] = []
        while True:
            try:
                record = os.read(fd, _RECORD_BYTES)
            except BlockingIOError:
                return found
            except OSError as error:
                if error.errno == errno.EPIPE:  # some were overwritten; on with the next
                    self.is_whole = False
                    continue
                self.refusal = f"/dev/kmsg: {error.strerror}"
                self.is_whole = False
                return found
            if not record:
                return found
            head, _, text = record.partition(b";")
            # What a program wrote to the log has another facility than 0, which
            # the kernel keeps for itself (Documentation/ABI/testing/dev-kmsg).
            if head.partition(b",")[0].isdigit() and int(head.partition(b",")[0]) >> 3 == 0:
                said = _ESCAPED.sub(_byte, text.partition(b"\n")[0])
                found.append(said.decode("utf-8", "backslashreplace"))


def _require_log(fd: int) -> None:
    """A container may have another device there, /dev/null or its console."""
    told = os.fstat(fd)
    if not stat.S_ISCHR(told.st_mode) or told.st_rdev != _DEVICE:
        raise OSError(errno.ENODEV, "it is not the kernel log")


def _byte(escaped: re.Match[bytes]) -> bytes:
    return bytes([int(escaped[1], 16)])


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
