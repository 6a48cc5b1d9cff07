"""Which runtime a program is of, by its file, or by that of what interprets it."""

import contextlib
import os
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from cmemrun.launcher import search
from cmemrun.model import Runtime
from cmemrun.runtimes import kind_of
from cmemrun.runtimes.bounds import MIB
from cmemrun.runtimes.elf import Elf, opened

__all__ = ["Program", "find", "recognize"]

# Linux's own bounds: BINPRM_BUF_SIZE, and how often exec_binprm() follows a script.
_FIRST_LINE_BYTES = 256
_MOST_SCRIPTS = 5

# What Go's debug/buildinfo looks for; the linker leaves it in stripped programs, too.
_GO_SECTION, _GO_MAGIC = b".go.buildinfo", b"\xff Go buildinf:"
# What `java` and the JDK's tools have of libjli.so, and what a program that links
# libnode.so has of that: node::Start(int, char**), which Node itself offers.
_JLI_LAUNCH, _NODE_START = b"\0JLI_Launch\0", b"\0_ZN4node5StartEiPPc\0"
# What `dotnet` looks up in libhostfxr.so; and the mark of a host that is a program's
# own, single file or not (SHA-256 of ".net core bundle\n", corehost's bundle_marker).
_HOST_MAIN = b"hostfxr_main"
_BUNDLE = bytes.fromhex("8b1202b96a612038727b930214d7a03213f5b9e6efae3318ee3b2dce24b36aae")

# Node has 8 MiB of names, and a .NET host, which is small, a few KiB of constants.
_MOST_NAMES_BYTES, _MOST_CONSTANTS_BYTES = 32 * MIB, 4 * MIB

# Longer than any that means something; a file of somebody's may have a MiB there.
_LONGEST_SETTING = 1000


class Program(NamedTuple):
    """The file that the kernel executes in the end, and what it is given."""

    path: str
    arguments: tuple[str, ...]


def find(command: Sequence[str], environment: Mapping[str, str]) -> Program | None:
    """What a command executes, scripts followed, through ``env`` as well; ``None`` if nothing."""
    words = tuple(command)
    for _ in range(_MOST_SCRIPTS):
        paths = [path for path in search(words[0], environment) if os.access(path, os.X_OK)]
        path = next((path for path in paths if os.path.isfile(path)), None)
        if path is None:
            return None
        interpreter = _interpreter_of(path)
        if not interpreter:
            return Program(os.path.realpath(path), words[1:])
        words = (*interpreter, path, *words[1:])
    return None


def recognize(
    program: Program, environment: Mapping[str, str], *, sparing: bool = False
) -> Runtime | None:
    """Its runtime and what that was told; ``None`` where it is none of those known.

    ``sparing`` is for before it runs: no version that takes many pages to find,
    which would then be charged to us and not to the program.
    """
    with contextlib.suppress(OSError, ValueError), opened(program.path) as fd:
        elf = Elf(fd)
        name = _told_by(elf)
        kind = kind_of(name)
        if kind is not None:
            skipped = sparing and name == "node"
            version = "" if skipped else kind.version(elf, *program)
            if version is not None:
                settings = tuple(
                    one if len(one) <= _LONGEST_SETTING else f"{one[:_LONGEST_SETTING]}…"
                    for one in kind.settings(*program, environment)
                )
                return Runtime(name, version or None, program.path, settings)
    return None


def _told_by(elf: Elf) -> str:
    if elf.section(_GO_SECTION, MIB).startswith(_GO_MAGIC):
        return "go"
    names = elf.section(b".dynstr", _MOST_NAMES_BYTES)
    if _JLI_LAUNCH in names:
        return "jvm"
    if _NODE_START in names:
        return "node"
    if _HOST_MAIN in elf.section(b".rodata", _MOST_CONSTANTS_BYTES):
        return "dotnet"
    return "dotnet" if _BUNDLE in elf.section(b".data", _MOST_CONSTANTS_BYTES) else ""


def _interpreter_of(path: str) -> tuple[str, ...]:
    """The first line of a script: one interpreter and one word for it, as execve(2) reads it."""
    with contextlib.suppress(OSError), opened(path) as fd:
        line = os.pread(fd, _FIRST_LINE_BYTES, 0).partition(b"\n")[0].partition(b"\0")[0]
        if line.startswith(b"#!"):
            words = tuple(os.fsdecode(line[2:]).split(maxsplit=1))
            if words and os.path.basename(words[0]) == "env":
                return _named_to_env(words[1:])
            return tuple(word.strip() for word in words)
    return ()


def _named_to_env(words: Sequence[str]) -> tuple[str, ...]:
    """What env(1) executes: ``node``, and with ``-S`` what follows it as words of their own."""
    split = " ".join(words).split()
    while split and (split[0].startswith("-") or "=" in split[0]):
        split.pop(0)
    return tuple(split)
