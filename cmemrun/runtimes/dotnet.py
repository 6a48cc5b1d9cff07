"""CoreCLR: three quarters of the limit, but never less than 20 MiB, for its heap.

Sources: .NET's documentation of its garbage collector's settings (learn.microsoft.com,
core/runtime-config/garbage-collector), src/coreclr/gc/gc.cpp (compute_memory_settings),
src/native/corehost (bundle_marker, apphost); cgroup v2 is read since .NET 5
(dotnet/runtime issue 30337), the variables' prefix is DOTNET_ since .NET 6.
"""

import os
import re
from collections.abc import Mapping, Sequence
from typing import Any

from cmemrun.runtimes.bounds import MIB, Bounds, at_least
from cmemrun.runtimes.elf import Elf, opened
from cmemrun.units import format_size

TITLE = ".NET"

_LEAST_BYTES = 20 * MIB
_PERCENT = 75

_VARIABLE = r"(DOTNET|COMPlus)_GCHeapHardLimit\w*"
_SETTING = r"(?:DOTNET_|COMPlus_)GCHeapHardLimit(Percent)?=(?:0[xX])?([0-9a-fA-F]{1,16})"
_CONFIGURED = "System.GC.HeapHardLimit"


def version(elf: Elf, path: str, arguments: Sequence[str]) -> str:
    """What the program's ``runtimeconfig.json`` asks for, else the newest that is installed."""
    options = _configuration(path, arguments)
    several = options.get("frameworks") or options.get("includedFrameworks")
    first = several[0] if isinstance(several, list) and several else None
    framework = options.get("framework") or first
    if isinstance(framework, dict) and isinstance(framework.get("version"), str):
        return framework["version"] if re.fullmatch(r"[\w.-]{1,40}", framework["version"]) else ""
    try:
        installed = os.listdir(f"{os.path.dirname(path)}/host/fxr")
    except OSError:
        return ""
    numbered = [name for name in installed if re.fullmatch(r"\d{1,4}\.\d[\w.-]{0,40}", name)]
    return max(
        numbered, key=lambda name: [int(one) for one in re.findall(r"\d+", name)], default=""
    )


def settings(
    path: str, arguments: Sequence[str], environment: Mapping[str, str]
) -> tuple[str, ...]:
    """What gives its heap a hard limit: the environment goes before the program's own file."""
    found = [f"{name}={environment[name]}" for name in environment if re.fullmatch(_VARIABLE, name)]
    configured = _configuration(path, arguments).get("configProperties")
    for name, value in (configured if isinstance(configured, dict) else {}).items():
        if name.startswith(_CONFIGURED):
            found.append(f"{name}={value} (runtimeconfig.json)")
    return tuple(found)


def is_told(version: str, settings: Sequence[str]) -> bool:
    """Whether somebody has given its heap a limit, in a variable that this version reads."""
    return bool(_read(version, settings))


def does(version: str, settings: Sequence[str], bounds: Bounds) -> str:
    """What it does with a limit."""
    limit, told = format_size(bounds.limit_bytes), _read(version, settings)
    reads = not bounds.unified or at_least(version, 5)
    known = re.fullmatch(_SETTING, told[0]) if len(told) == 1 else None
    if known and (reads or not known[1]):
        heap = int(known[2], 16) if not known[1] else bounds.limit_bytes * int(known[2], 16) // 100
        above = f", MORE than the limit of {limit}" * (heap > bounds.limit_bytes)
        return f"keeps its heap within {format_size(heap)} by {told[0]} (in hexadecimal){above}"
    if told:
        return f"has its heap's limit from {', '.join(told)}"
    if not reads:
        return (
            "reads no limit of cgroup v2 (.NET 5 does) and sizes its heap by the machine's memory;"
            f" {_prefix(version)}GCHeapHardLimit={_share(bounds):X} would fit it in"
        )
    return (
        f"keeps its heap within {format_size(max(_share(bounds), _LEAST_BYTES))} of {limit}"
        f" ({_PERCENT} %, at least {format_size(_LEAST_BYTES)}); what is not managed comes on top"
    )


def variables(version: str, environment: Mapping[str, str], bounds: Bounds) -> dict[str, str]:
    """What has it keep within a limit, in hexadecimal as it reads them."""
    if bounds.unified and not at_least(version, 5):
        return {f"{_prefix(version)}GCHeapHardLimit": f"{_share(bounds):X}"}
    return {f"{_prefix(version)}GCHeapHardLimitPercent": f"{_PERCENT:X}"}


def _prefix(version: str) -> str:
    return "DOTNET_" if at_least(version, 6) else "COMPlus_"


def _share(bounds: Bounds) -> int:
    return bounds.limit_bytes * _PERCENT // 100


def _read(version: str, settings: Sequence[str]) -> list[str]:
    return [one for one in settings if at_least(version, 6) or not one.startswith("DOTNET_")]


def _configuration(path: str, arguments: Sequence[str]) -> dict[str, Any]:
    """The ``runtimeOptions`` beside the program: ``dotnet``'s is the first argument that is one."""
    import json

    programs = [word.removesuffix(".dll") for word in arguments if word.endswith(".dll")]
    for program in (path, *programs[:1]):
        try:
            with opened(f"{program}.runtimeconfig.json") as fd:
                read = json.loads(os.pread(fd, MIB, 0).decode("utf-8-sig"))
        except (OSError, ValueError, RecursionError):
            continue
        options = read.get("runtimeOptions") if isinstance(read, dict) else None
        if isinstance(options, dict):
            return options
    return {}
