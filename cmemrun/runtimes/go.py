"""Go: reads no memory limit, and takes one from ``GOMEMLIMIT``.

Sources: pkg.go.dev/runtime (Environment Variables), go.dev/doc/gc-guide (its
advice on containers: 5 to 10 % of headroom), Go's src/debug/buildinfo.
"""

import re
from collections.abc import Mapping, Sequence

from cmemrun.runtimes.bounds import MIB, Bounds, at_least
from cmemrun.runtimes.elf import Elf
from cmemrun.units import format_size

TITLE = "Go"

# debug/buildinfo: 14 bytes of magic, size of a pointer, flags, and since Go 1.18
# (flag 2) at 32 the version behind its length.
_INLINE = 2
_VERSION = rb"go(\d+(?:\.\d+){1,2}(?:rc\d+|beta\d+)?)"

# runtime/string.go parseByteCount
_COUNT = r"GOMEMLIMIT=(\d{1,19})(B|KiB|MiB|GiB|TiB)?"
_UNITS = {None: 1, "B": 1, "KiB": 2**10, "MiB": 2**20, "GiB": 2**30, "TiB": 2**40}

_HEADROOM_PERCENT = 7


def version(elf: Elf, path: str, arguments: Sequence[str]) -> str:
    """The toolchain that built it; empty before Go 1.18, which has that behind a pointer."""
    written = elf.section(b".go.buildinfo", MIB)
    if len(written) <= 32 or not written[15] & _INLINE:
        return ""
    found = re.search(_VERSION, written[33 : 33 + written[32]])
    return found[1].decode() if found else ""


def settings(
    path: str, arguments: Sequence[str], environment: Mapping[str, str]
) -> tuple[str, ...]:
    """What tells its collector when to run."""
    return tuple(
        f"{name}={environment[name]}" for name in ("GOMEMLIMIT", "GOGC") if environment.get(name)
    )


def is_told(version: str, settings: Sequence[str]) -> bool:
    """Whether somebody has given it a memory limit."""
    return any(setting.startswith("GOMEMLIMIT=") for setting in settings)


def does(version: str, settings: Sequence[str], bounds: Bounds) -> str:
    """What it does with a limit."""
    limit = format_size(bounds.limit_bytes)
    grown = next((one for one in settings if one.startswith("GOGC=")), "GOGC=100")
    grows = f"reads no memory limit, its heap grows by {grown} as if there was none"
    if not _has_variable(version):
        return f"{grows} (GOMEMLIMIT is Go 1.19's)"
    if not is_told(version, settings) or "GOMEMLIMIT=off" in settings:
        return f"{grows}; GOMEMLIMIT={_limit(bounds)} would have it collect in time"
    told = next(one for one in settings if one.startswith("GOMEMLIMIT="))
    count = re.fullmatch(_COUNT, told)
    if count and int(count[1]) * _UNITS[count[2]] > bounds.limit_bytes:
        return f"collects harder towards {told}, which is above the limit of {limit}"
    return f"collects harder towards {told}; what it has beside its heap and stacks comes on top"


def variables(version: str, environment: Mapping[str, str], bounds: Bounds) -> dict[str, str]:
    """What has it keep within a limit; nothing where it cannot be told."""
    return {"GOMEMLIMIT": _limit(bounds)} if _has_variable(version) else {}


def _has_variable(version: str) -> bool:
    return bool(version) and at_least(version, 1, 19)


def _limit(bounds: Bounds) -> str:
    size = bounds.limit_bytes * (100 - _HEADROOM_PERCENT) // 100
    return f"{size // MIB}MiB" if size >= MIB else f"{size}B"
