"""Loads of known size, and what each costs by the kernel's own arithmetic.

The programs are those of ``tests/kernels/loads.py``. What is known is how much *more* one
costs than the same program holding nothing: for most that is the interpreter alone (kind
``none``), and where processes or threads cost something themselves, as many of them that
hold nothing. Both are measured by the same tool in the same round, and their difference is
what is compared with the figure here. Their addresses are not randomised: where a mapping
lies decides how many page tables it takes, 0.4 MiB more or less for a hundred processes.

Expected is what the kernel charges to the program's group. By such a rule a tool that adds
up RSS is wrong about the page cache, which is no fault of its: it is meant to show what its
number can be used for.
"""

import mmap
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from cmemrun.kernel.hierarchy import detect

__all__ = ["LOADS", "NOTHING", "Load", "Places", "program"]

MIB = 2**20
PAGE = mmap.PAGESIZE
NOTHING = ("none",)
_PROGRAMS = Path(__file__).parents[2] / "tests/kernels/loads.py"


@dataclass(frozen=True)
class Places:
    """Directories: on a disk, where a file's pages are page cache, and in a tmpfs."""

    disk: str
    tmpfs: str

    @property
    def file(self) -> str:
        """The file that is there to be read."""
        return f"{self.disk}/cmemrun-accuracy"


@dataclass(frozen=True)
class Load:
    """A program with something to be measured, and the same without it."""

    name: str
    arguments: tuple[str, ...]
    """Those of ``tests/kernels/loads.py``, with the names of ``Places`` in braces."""
    expected_bytes: Callable[[Places], int]
    without: tuple[str, ...] = NOTHING
    holds: bool = True
    """Whether it can be told for how long to hold what it has."""
    reads_file: bool = False
    """Whether the file must not be in the page cache when it starts."""

    def command(self, places: Places, seconds: float) -> list[str]:
        words = [
            word.format(disk=places.disk, tmpfs=places.tmpfs, file=places.file)
            for word in self.arguments
        ]
        return program(*words, *([str(seconds)] if self.holds else []))

    def command_without(self, seconds: float) -> list[str]:
        return program(*self.without, str(seconds))


def program(*arguments: str) -> list[str]:
    """One of the loads, with its addresses where they always are."""
    return ["setarch", "-R", sys.executable, "-S", "-E", str(_PROGRAMS), *arguments]


def tables(size: int, mappings: int = 1) -> int:
    """Page tables: one page for each 2 MiB that has a page in it.

    That is 512 entries of 8 bytes, on x86-64 and on arm64 with pages of 4 KiB, and so with
    huge pages, for each of which one is laid aside to split it (pgtable_trans_huge_deposit).
    The levels above are a page for each GiB and nothing beside it.
    """
    return mappings * -(-size // (2 * MIB)) * PAGE


def touched(size: int) -> int:
    return size + tables(size)


def cached(size: int) -> int:
    """Page cache: its pages and the tree that finds them.

    A node of 576 bytes (struct xa_node, charged as XA_FLAGS_ACCOUNT says) has 64 pages. Where
    the file system has larger folios, a node of theirs does for more; that is 0.2 % at most.
    """
    return size + size // PAGE // 64 * 576


def written(size: int, disk: str) -> int:
    """On ext4 each block in a page that was written to has a buffer_head of 104 bytes.

    Not so on xfs or btrfs, of which the pages and their tree are all that is known here.
    """
    # One name for all of ext2, ext3 and ext4, which also have one magic number.
    said = subprocess.run(
        ["stat", "--file-system", "--format=%T", disk], capture_output=True, text=True, check=True
    )
    heads = size // os.statvfs(disk).f_bsize * 104 if said.stdout == "ext2/ext3\n" else 0
    return cached(size) + heads


def tcp_buffers(size: int) -> int:
    """Socket buffers are charged on v2; on v1 to ``memory.kmem.tcp`` alone, which is no usage."""
    memory = detect().memory
    return size if memory is not None and memory.version == 2 else 0


def pipes(size: int) -> int:
    """Beside the pages 256 struct pipe_buffer of 40 bytes for each MiB, from kmalloc-16k."""
    return size + size // MIB * 16384


def unix_buffers(size: int) -> int:
    """Each 32 KiB sent has 8 pages, a sk_buff (256 bytes) and its small head (704)."""
    return size + size // 32768 * (256 + 704)


def _spike(milliseconds: int) -> Load:
    name = f"spike of {milliseconds} ms"
    return Load(name, ("spike", "64", str(milliseconds)), lambda at: touched(64 * MIB), holds=False)


SMALL = ("pages", "64", "small")

LOADS = (
    Load("anonymous memory, small pages", SMALL, lambda at: touched(64 * MIB)),
    Load("anonymous memory, huge pages", ("pages", "64", "huge"), lambda at: touched(64 * MIB)),
    Load("file read", ("read", "{file}"), lambda at: cached(64 * MIB), reads_file=True),
    Load("file written", ("file", "64", "{disk}"), lambda at: written(64 * MIB, at.disk)),
    Load(
        "file mapped and read",
        ("mapped", "{file}"),
        lambda at: cached(64 * MIB) + tables(64 * MIB),
        reads_file=True,
    ),
    Load("shared memory", ("shared", "64"), lambda at: cached(64 * MIB) + tables(64 * MIB)),
    Load("file in a tmpfs", ("file", "64", "{tmpfs}"), lambda at: cached(64 * MIB)),
    # 4096 pages and a table for each, and above them a table for each GiB.
    Load("page tables", ("sparse", "4096"), lambda at: 4096 * 2 * PAGE + 8 * PAGE),
    Load("pipes", ("kernel", "32"), lambda at: pipes(32 * MIB)),
    Load("unix socket", ("unix", "32"), lambda at: unix_buffers(32 * MIB)),
    Load("TCP socket", ("tcp", "32"), lambda at: tcp_buffers(32 * MIB)),
    # Of 1 MiB, so that those of two threads are in one page table, which both have anyway.
    Load(
        "stacks of 32 threads", ("stacks", "32", "768"), lambda at: 24 * MIB, ("stacks", "32", "0")
    ),
    Load("child that holds", ("tree", "1", "64"), lambda at: touched(64 * MIB), ("tree", "1", "0")),
    Load(
        "parent and copies of two children",
        ("rewrite", "2", "32"),
        lambda at: 3 * touched(32 * MIB),
        ("rewrite", "2", "0"),
    ),
    Load("after three execs", ("execs", "3", *SMALL), lambda at: touched(64 * MIB)),
    # Over a tree that holds 1 MiB each, as 2 MiB more are one page table more wherever they lie.
    Load(
        "tree of 100 processes",
        ("tree", "100", "3"),
        lambda at: 100 * touched(2 * MIB),
        ("tree", "100", "1"),
    ),
    *map(_spike, (1, 5, 20, 100)),
    Load("freed before the end", ("freed", "64"), lambda at: touched(64 * MIB)),
    Load("charged to inner groups", ("inner", "64"), lambda at: touched(64 * MIB), ("inner", "0")),
)
