"""HotSpot: takes a share of the limit for its heap.

Sources: the man page java(1); JDK's src/hotspot/share/runtime/arguments.cpp
(set_heap_size) and gc/shared/gc_globals.hpp; JDK-8146115 (limits of v1, in 10 and
8u191), JDK-8230305 (of v2, in 15, 11.0.16 and 8u372).
"""

import os
import re
from collections.abc import Mapping, Sequence

from cmemrun.runtimes.bounds import BESIDE, MIB, Bounds, at_least, set_in
from cmemrun.runtimes.elf import Elf, opened
from cmemrun.units import format_size

TITLE = "HotSpot JVM"

_MOST_RELEASE_BYTES = 65536
_VERSION = rb'(?m)^JAVA_VERSION="(?:1\.)?(\d[\d._]{0,20})'

# MaxHeapSize's default, 96 MiB and on 64 bits 30 % more: a machine with less than
# twice that is a small one, where MinRAMPercentage counts and MaxRAMPercentage does not.
_SMALLEST_USUAL_HEAP_BYTES = 96 * MIB * 13 // 10
_MAX_PERCENT, _MIN_PERCENT = 25.0, 50.0
_ASKED_PERCENT = 75
_ALIGNMENT_BYTES = 2 * MIB

_SETTING = (
    r"-Xmx.+|-XX:(Max|Min)RAM(Percentage|Fraction)=.+|-XX:(MaxHeapSize|MaxRAM|Flags|VMOptionsFile)=.+"
    r"|-XX:-UseContainerSupport|@.+"
)
_FILES = ("@", "-XX:Flags=", "-XX:VMOptionsFile=")
_PERCENTAGE = r"-XX:(Max|Min)RAMPercentage=(\d{1,3}(?:\.\d{1,3})?) .*"

# Those of the launcher's options whose value is a word of its own.
_WITH_VALUE = (
    r"-cp|-classpath|--class-path|-p|--(?:upgrade-)?module-path|--add-\w+|--limit-modules"
    r"|--patch-module|--enable-native-access|--source"
)


def version(elf: Elf, path: str, arguments: Sequence[str]) -> str | None:
    """What the JDK's ``release`` says, 8 as 8; ``None`` where it is OpenJ9, not HotSpot."""
    home = os.path.dirname(os.path.dirname(path))
    for directory in (home, os.path.dirname(home)):  # JDK 8 has the launcher in its jre, too
        try:
            with opened(f"{directory}/release") as fd:
                written = os.pread(fd, _MOST_RELEASE_BYTES, 0)
        except OSError:
            continue
        if found := re.search(_VERSION, written):
            return None if b'"Openj9"' in written else found[1].decode().replace("_", ".")
    return ""


def settings(
    path: str, arguments: Sequence[str], environment: Mapping[str, str]
) -> tuple[str, ...]:
    """What tells it the size of its heap, the last of a kind being the one that counts."""
    found: list[str] = []
    for name in ("JAVA_TOOL_OPTIONS", "JDK_JAVA_OPTIONS"):
        found += set_in(environment.get(name, ""), _SETTING, name)
    is_value = False
    for word in arguments:
        if is_value:
            is_value = False
            continue
        if word == "-jar" or not word.startswith(("-", "@")):
            break
        is_value = bool(re.fullmatch(_WITH_VALUE, word))
        if re.fullmatch(_SETTING, word):
            found.append(f"{word} (command line)")
    found += set_in(environment.get("_JAVA_OPTIONS", ""), _SETTING, "_JAVA_OPTIONS")
    return tuple(found)


def is_told(version: str, settings: Sequence[str]) -> bool:
    """Whether somebody has given its heap a size."""
    return bool(settings)


def does(version: str, settings: Sequence[str], bounds: Bounds) -> str:
    """What it does with a limit."""
    limit, on_top = format_size(bounds.limit_bytes), "threads, classes and code come on top"
    percents = {"Max": _MAX_PERCENT, "Min": _MIN_PERCENT}
    for setting in settings:
        found = re.fullmatch(_PERCENTAGE, setting)
        if setting.startswith(_FILES):
            return f"may have its heap from {', '.join(settings)}: no such file is read here"
        if found is None:
            return f"has its heap from {', '.join(settings)}; {on_top}"
        percents[found[1]] = float(found[2])
    if not _reads_limit(version, bounds):
        why = "in this version"
        if not bounds.unified and not bounds.whole:
            why = f"unless {', '.join(BESIDE)} are mounted, too,"
        return (
            f"reads no limit of cgroup {'v2' if bounds.unified else 'v1'} {why} and sizes its heap"
            f" by the machine's memory; {_options(version, bounds)} would fit it in"
        )
    heap = format_size(_heap(bounds.limit_bytes, percents["Max"], percents["Min"]))
    told = f"takes a heap of at most {heap} of {limit}"
    if settings:
        return f"{told}, by {', '.join(settings)}; {on_top}"
    if _is_small(bounds.limit_bytes, _MIN_PERCENT):
        share = f"{_MIN_PERCENT:g} %, as of all so small"
    elif bounds.limit_bytes * _MAX_PERCENT / 100 < _SMALLEST_USUAL_HEAP_BYTES:
        share = "the least it takes of any but a small one"
    else:
        share = f"{_MAX_PERCENT:g} %"
    return (
        f"{told} ({share}); {on_top}; {_options(version, bounds)} would have it take"
        f" {format_size(_heap(bounds.limit_bytes, _ASKED_PERCENT, _ASKED_PERCENT))}"
    )


def variables(version: str, environment: Mapping[str, str], bounds: Bounds) -> dict[str, str]:
    """What has it keep within a limit; options that it has for something else stay."""
    before = environment.get("JAVA_TOOL_OPTIONS", "").strip()
    return {"JAVA_TOOL_OPTIONS": f"{before} {_options(version, bounds)}".strip()}


def _options(version: str, bounds: Bounds) -> str:
    # A JVM that does not read the limit may not know the percentage either.
    if not _reads_limit(version, bounds):
        return f"-Xmx{_share(bounds) // MIB}m"
    options = f"-XX:MaxRAMPercentage={_ASKED_PERCENT}"
    if _is_small(bounds.limit_bytes, _MIN_PERCENT):
        options += f" -XX:MinRAMPercentage={_ASKED_PERCENT}"
    return options


def _share(bounds: Bounds) -> int:
    return bounds.limit_bytes * _ASKED_PERCENT // 100


def _is_small(limit_bytes: int, min_percent: float) -> bool:
    return limit_bytes * min_percent / 100 < _SMALLEST_USUAL_HEAP_BYTES


def _heap(limit_bytes: int, max_percent: float, min_percent: float) -> int:
    """MaxHeapSize as ``Arguments::set_heap_size`` has it."""
    if _is_small(limit_bytes, min_percent):
        heap = limit_bytes * min_percent / 100
    else:
        heap = max(limit_bytes * max_percent / 100, _SMALLEST_USUAL_HEAP_BYTES)
    return -(-int(heap) // _ALIGNMENT_BYTES) * _ALIGNMENT_BYTES


def _reads_limit(version: str, bounds: Bounds) -> bool:
    eight = not at_least(version, 9)
    if not bounds.unified:
        return bounds.whole and at_least(version, *((8, 0, 191) if eight else (10,)))
    if eight:
        return at_least(version, 8, 0, 372)
    eleven = at_least(version, 11, 0, 16) and not at_least(version, 12)
    return eleven or at_least(version, 15)
