"""The sections of a program's file, which may be anybody's: bounded reads of what is asked for.

Not mapped and not read whole: its pages are charged to who reads them first, and
that should be the program.
"""

import contextlib
import os
import stat
import struct
from collections.abc import Iterator
from typing import NamedTuple

__all__ = ["Elf", "opened"]

# elf(5): after the identification a header's own fields, by class, 1 of 32 and 2 of 64 bits.
_HEADERS = {1: "HHIIIIIHHHHHH", 2: "HHIQQQIHHHHHH"}
_SECTIONS = {1: "IIIIII", 2: "IIQQQQ"}
_ORDERS = {1: "<", 2: ">"}
_IDENTIFICATION_BYTES = 16
_SHT_NOBITS = 8

_MOST_SECTIONS = 4096
_MOST_NAMES_BYTES = 2**16
_CHUNK_BYTES = 2**20
_MOST_CHUNKED_BYTES = 2**28
_MOST_OFFSET = 2**62


class _Section(NamedTuple):
    offset: int
    size: int


class Elf:
    """An open ELF file, as far as it is one: what is not there, or not whole, is empty."""

    def __init__(self, fd: int) -> None:
        """Read which sections it has; ``ValueError`` where it is no ELF file."""
        self._fd = fd
        try:
            self._sections = self._read_sections()
        except (struct.error, KeyError) as error:
            raise ValueError("no ELF file") from error

    def section(self, name: bytes, most: int) -> bytes:
        """A section's bytes; none where there is none, or it is larger than ``most``."""
        found = self._sections.get(name)
        return self._read(found.size, found.offset) if found and found.size <= most else b""

    def chunks(self, name: bytes, overlap: int) -> Iterator[bytes]:
        """A section piece by piece, each beginning with the end of the one before."""
        offset, size = self._sections.get(name, _Section(0, 0))
        end = offset + min(size, _MOST_CHUNKED_BYTES)
        while offset < end:
            chunk = self._read(min(_CHUNK_BYTES, end - offset), offset)
            yield chunk
            offset += max(len(chunk) - overlap, 0) or _MOST_CHUNKED_BYTES

    def _read(self, size: int, offset: int) -> bytes:
        # Some file systems (9p) give less at once than there is. What lies beyond
        # the end is empty, also where no file can be that long.
        found = b""
        while len(found) < size and offset + size < _MOST_OFFSET:
            more = os.pread(self._fd, size - len(found), offset + len(found))
            if not more:
                break
            found += more
        return found

    def _read_sections(self) -> dict[bytes, _Section]:
        identification = self._read(_IDENTIFICATION_BYTES, 0)
        if identification[:4] != b"\x7fELF" or len(identification) < _IDENTIFICATION_BYTES:
            raise ValueError("no ELF file")
        order = _ORDERS[identification[5]]
        header = struct.Struct(order + _HEADERS[identification[4]])
        fields = header.unpack(self._read(header.size, _IDENTIFICATION_BYTES))
        at, (entry_bytes, count, names_index) = fields[5], fields[-3:]
        entry = struct.Struct(order + _SECTIONS[identification[4]])
        if not entry.size <= entry_bytes <= 256 or not names_index < count <= _MOST_SECTIONS:
            return {}
        table = self._read(entry_bytes * count, at)
        entries = [
            entry.unpack_from(table, entry_bytes * index)
            for index in range(len(table) // entry_bytes)
        ]
        _, _, _, _, offset, size = entries[names_index] if names_index < len(entries) else (0,) * 6
        names = self._read(min(size, _MOST_NAMES_BYTES), offset)
        return {
            names[name : names.find(b"\0", name)]: _Section(offset, size)
            for name, kind, _, _, offset, size in entries
            if kind != _SHT_NOBITS and name < len(names)
        }


@contextlib.contextmanager
def opened(path: str) -> Iterator[int]:
    """A regular file to be read; ``OSError`` for any other.

    It is looked at first, as to open a FIFO wakes who waits to write to it, and
    opened without waiting, as it may be another one by then.
    """
    if not stat.S_ISREG(os.stat(path).st_mode):
        raise OSError("no regular file")
    fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY)
    try:
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            raise OSError("no regular file")
        yield fd
    finally:
        os.close(fd)
