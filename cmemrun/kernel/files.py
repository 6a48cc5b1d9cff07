"""Control files: text to value, and a file that is opened once and read often."""

import os
import re

from cmemrun.errors import KernelTextError
from cmemrun.model import UNLIMITED, Unlimited

__all__ = ["ControlFile", "parse_keyed", "parse_limit", "parse_pressure", "parse_scalar"]

_LINE = re.compile(rb"^([^\s]+) ([0-9]{1,20})\n", re.MULTILINE)

_TOTAL = re.compile(rb" total=([0-9]{1,20})$")

# The largest of them, memory.numa_stat apart, is memory.stat with 2 KiB; a
# control file comes whole in one read of a page or more.
_READ_BYTES = 16384


def parse_scalar(text: bytes) -> int:
    """One number: ``memory.current``, ``memory.peak``, v1's ``memory.usage_in_bytes``."""
    # A number that was cut off would be another number.
    if not text.endswith(b"\n") or not text.strip().isdigit() or len(text) > 24:
        raise KernelTextError(f"expected one number, found {text[:40]!r}")
    return int(text)


def parse_limit(text: bytes) -> int | Unlimited:
    """One number or ``max``: ``memory.max``, ``memory.high``, ``pids.max``."""
    return UNLIMITED if text.strip() == b"max" else parse_scalar(text)


def parse_keyed(text: bytes) -> dict[bytes, int]:
    """Lines of a key and a number: ``memory.stat``, ``memory.events``, v1's ``oom_control``.

    Unknown keys are kept, as every kernel adds some; a line of another shape is
    an error, so that a half-understood file is never half-believed.
    """
    found = _LINE.findall(text)
    if len(found) != text.count(b"\n") or (text and not text.endswith(b"\n")):
        raise KernelTextError(f"expected lines of a key and a number, found {text[:80]!r}")
    return {key: int(value) for key, value in found}


def parse_pressure(text: bytes) -> tuple[int, int | None]:
    """Microseconds that some and that all tasks have waited: ``memory.pressure``.

    (Documentation/accounting/psi.rst; the line for all came with it on memory.)
    """
    found = {line.split(b" ", 1)[0]: _TOTAL.search(line) for line in text.splitlines()}
    some, full = found.get(b"some"), found.get(b"full")
    if some is None or not text.endswith(b"\n"):
        raise KernelTextError(f"expected lines of pressure, found {text[:80]!r}")
    return int(some[1]), int(full[1]) if full else None


class ControlFile:
    """A file of a group, opened once: a read then costs a microsecond instead of ten."""

    __slots__ = ("_number", "_text", "fd", "path")

    def __init__(self, path: str, flags: int = os.O_RDONLY) -> None:
        """Open ``path`` to be read; ``OSError`` where it cannot be."""
        self.path = path
        self.fd = os.open(path, flags)
        self._text: bytes | None = None
        self._number = 0

    @classmethod
    def offered(cls, path: str) -> "ControlFile | None":
        """The file, or ``None`` where this kernel has none or lets nobody read it.

        Files are asked for, never deduced from a version: distributions backport.
        """
        try:
            return cls(path)
        except (FileNotFoundError, PermissionError):
            return None

    def read(self) -> bytes:
        """What it says now; ``OSError`` with ``ENODEV`` where the group is gone."""
        return os.pread(self.fd, _READ_BYTES, 0)

    def scalar(self) -> int:
        """``read`` as one number."""
        text = os.pread(self.fd, 32, 0)
        # Many times a second, and mostly what it said before.
        if text != self._text:
            self._number = parse_scalar(text)
            self._text = text
        return self._number

    def keyed(self) -> dict[bytes, int]:
        """``read`` as lines of a key and a number."""
        return parse_keyed(self.read())

    def close(self) -> None:
        """Give the descriptor back."""
        os.close(self.fd)


def read_text(path: str) -> bytes | None:
    """A file's whole text, or ``None`` where there is none that we may read."""
    try:
        with open(path, "rb") as file:
            return file.read()
    except OSError:
        return None


def write_text(path: str, text: str) -> None:
    """Write one value to a control file, in one ``write``; ``OSError`` where the kernel refuses.

    Not through a buffered file: Python would report the refusal only on closing,
    and an empty line, which the kernel reads as 0, must never get out.
    """
    if not text.strip():
        raise ValueError(f"refusing to write an empty value to {path}")
    fd = os.open(path, os.O_WRONLY)
    try:
        os.write(fd, text.encode())
    except OSError as error:
        raise OSError(error.errno, error.strerror, path) from None
    finally:
        os.close(fd)
