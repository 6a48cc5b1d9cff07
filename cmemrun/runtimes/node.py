"""Node: half of the limit for the old space of its heap, but never less than 256 MiB.

Sources: Node's src/api/environment.cc (SetIsolateCreateParamsForNode), libuv's
src/unix/linux.c (uv_get_constrained_memory), V8's src/heap/heap.cc
(HeapSizeFromPhysicalMemory, YoungGenerationSizeFromOldGenerationSize), the CLI
documentation of --max-old-space-size (1536 where there are 2 GiB).
"""

import re
from collections.abc import Mapping, Sequence

from cmemrun.runtimes.bounds import MIB, Bounds, at_least, set_in
from cmemrun.runtimes.elf import Elf
from cmemrun.units import format_size

TITLE = "Node"

_MOST_STRINGS_BYTES = 32 * MIB
_RELEASE = rb"https://nodejs\.org/download/release/v(\d{1,4}\.\d{1,4}\.\d{1,4})/"
_SHARED = rb"\0libnode\.so\.(\d{1,4})\0"
# doc/abi_version_registry.json
_BY_ABI = {b"93": "16", b"108": "18", b"115": "20", b"127": "22", b"137": "24"}

_LEAST_OLD_BYTES, _MOST_OLD_BYTES = 256 * MIB, 2048 * MIB
_MUCH_MEMORY_BYTES = 15 * 1024 * MIB
_LOW_MEMORY_RATIO = 256

_SETTING = r"--max[-_](old[-_]space|semi[-_]space|heap)[-_]size(-percentage)?=.+"
_OLD_SPACE = r"--max[-_]old[-_]space[-_]size=(\d{1,9}) .*"
# Options whose value may be a word of its own.
_WITH_VALUE = (
    r"-r|--require|--import|-C|--conditions|--(?:experimental-)?loader|--env-file|--title"
    r"|--input-type|-e|--eval|-p|-pe|--print"
)


def version(elf: Elf, path: str, arguments: Sequence[str]) -> str:
    """As in the addresses of its release, or by the version of its libnode.so."""
    shared = re.search(_SHARED, elf.section(b".dynstr", _MOST_STRINGS_BYTES))
    if shared:
        return _BY_ABI.get(shared[1], "")
    for chunk in elf.chunks(b".rodata", overlap=64):
        if found := re.search(_RELEASE, chunk):
            return found[1].decode()
    return ""


def settings(
    path: str, arguments: Sequence[str], environment: Mapping[str, str]
) -> tuple[str, ...]:
    """What tells V8 the size of its heap, the last of a kind being the one that counts."""
    found = list(set_in(environment.get("NODE_OPTIONS", ""), _SETTING, "NODE_OPTIONS"))
    is_value = False
    for word in arguments:
        if is_value:
            is_value = False
        elif not word.startswith("-") or word in ("-", "--"):
            break
        elif re.fullmatch(_SETTING, word):
            found.append(f"{word} (command line)")
        else:
            is_value = bool(re.fullmatch(_WITH_VALUE, word))
    return tuple(found)


def is_told(version: str, settings: Sequence[str]) -> bool:
    """Whether somebody has given its heap a size."""
    return bool(settings)


def does(version: str, settings: Sequence[str], bounds: Bounds) -> str:
    """What it does with a limit."""
    limit = format_size(bounds.limit_bytes)
    read = min(bounds.limit_bytes, bounds.soft_bytes or bounds.limit_bytes)
    reads = at_least(version, 20, 3)
    old, young = _old(read), _young(version, _old(read))
    if settings:
        last = re.fullmatch(_OLD_SPACE, settings[-1])
        if len(settings) > 1 or last is None or not reads:
            return f"has its heap from {', '.join(settings)}; buffers and code come on top"
        heap = int(last[1]) * MIB + young
        told = f"takes a heap of at most {format_size(heap)} by {settings[0]}"
        return told + (f", MORE than the limit of {limit}" * (heap > bounds.limit_bytes))
    advice = f"--max-old-space-size={_share(bounds)} would fit it in"
    if not reads:
        return (
            "reads no limit but of the root of v1, and sizes its heap by the machine's memory"
            f" (Node 20.3 reads the limit); {advice}"
        )
    told = f"takes a heap of at most {format_size(old + young)} with a limit of {limit}"
    if read != bounds.limit_bytes:
        told += f", as it goes by the soft limit of {format_size(read)}"
    if old + young > bounds.limit_bytes:
        return f"{told}: it can be killed before it collects in earnest; {advice}"
    return f"{told}; buffers and code come on top; {advice}"


def variables(version: str, environment: Mapping[str, str], bounds: Bounds) -> dict[str, str]:
    """What has it keep within a limit; options that it has for something else stay."""
    before = environment.get("NODE_OPTIONS", "").strip()
    return {"NODE_OPTIONS": f"{before} --max-old-space-size={_share(bounds)}".strip()}


def _share(bounds: Bounds) -> int:
    return max(1, bounds.limit_bytes * 3 // 4 // MIB)


def _old(limit_bytes: int) -> int:
    most = _MOST_OLD_BYTES * (2 if limit_bytes >= _MUCH_MEMORY_BYTES else 1)
    return min(max(limit_bytes // 2, _LEAST_OLD_BYTES), most)


def _young(version: str, old_bytes: int) -> int:
    """Three semispaces, each a power of two; V8 13.6 of Node 24 has four times larger ones."""
    most, ratio = (64, 32) if at_least(version, 24) else (16, 128)
    share = old_bytes // (_LOW_MEMORY_RATIO if old_bytes <= _LEAST_OLD_BYTES else ratio)
    semispace = MIB
    while semispace < min(share, most * MIB):
        semispace *= 2
    return 3 * semispace
