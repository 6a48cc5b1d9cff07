"""Docker's and Podman's memory options: to files of a group (cgroup v2), with their sources."""

import argparse
import re
import shlex
from collections.abc import Callable
from typing import Any, NoReturn

from cmemrun.errors import BadInput
from cmemrun.model import Setting

__all__ = ["docker_settings", "parse_size", "podman_settings"]

_DOCKER = "docs.docker.com/engine/containers/resource_constraints"
_CGROUPS = "opencontainers/cgroups"
_PODMAN = "containers/podman pkg/specgenutil/specgen.go, getMemoryLimits"
_PODMAN_PIDS = "containers/common pkg/config/default.go, DefaultPidsLimit"
_PODMAN_SCORE = "containers/podman libpod/container_internal_common.go, maybeClampOOMScoreAdj"
_CRUN = "containers/crun src/libcrun/cgroup-resources.c"

# go-units RAMInBytes, both have it: powers of 1024, whatever is written after the letter.
_SIZE = re.compile(r"(\d{1,18}(?:\.\d{0,18})?) ?([bkmgtp]?)(?:i?b)?", re.IGNORECASE)
_POWERS = {"": 0, "b": 0, "k": 1, "m": 2, "g": 3, "t": 4, "p": 5}
# moby daemon/daemon_unix.go, linuxMinMemory; Podman leaves it to the kernel.
_LEAST_BYTES = 6 * 2**20


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise BadInput(
            message, hint=f"give memory options only: --{self.prog} '-m 1g --memory-swap 2g'"
        )


def parse_size(text: str) -> int:
    """Bytes as Docker reads them: ``512m``, ``1g``, ``1.5GB``, ``1024``; ``BadInput`` else."""
    match = _SIZE.fullmatch(text)
    if match is None:
        raise BadInput(f"{text!r} is no size", hint="write 512m or 1g")
    size: int = int(float(match[1]) * 1024 ** _POWERS[match[2].lower()])
    if size >= 2**63:
        raise BadInput(f"{text!r} is more than any kernel counts", hint="write 512m for example")
    return size


def docker_settings(options: str) -> tuple[list[Setting], list[str]]:
    """What Docker writes for these options of ``docker run``, and its warnings.

    Raises ``BadInput`` for what Docker refuses, and for options that are not of memory.
    """
    return _settings("docker", options, _docker)


def podman_settings(options: str, least_score: int = -1000) -> tuple[list[Setting], list[str]]:
    """The same for ``podman run`` and crun, the runtime it takes.

    ``least_score``: the ``oom_score_adj`` below which the caller may not go.
    """
    return _settings("podman", options, lambda told: _podman(told, least_score))


def _settings(
    program: str, options: str, rules: Callable[[Any], list[Setting]]
) -> tuple[list[Setting], list[str]]:
    try:
        told = _parse(program, options)
        return rules(told), _discarded(told)
    except BadInput as error:
        raise BadInput(f"--{program}: {error.message}", hint=error.hint) from error


def _parse(program: str, options: str) -> Any:
    parser = _Parser(prog=program, add_help=False, allow_abbrev=False)
    parser.add_argument("-m", "--memory", type=parse_size, default=0)
    parser.add_argument("--memory-swap", type=_size_or_none)
    parser.add_argument("--memory-reservation", type=parse_size, default=0)
    parser.add_argument("--memory-swappiness", type=int, default=-1)
    parser.add_argument("--kernel-memory", type=parse_size)
    parser.add_argument("--oom-kill-disable", action="store_true")
    parser.add_argument("--oom-score-adj", type=int)
    parser.add_argument("--pids-limit", type=int)
    try:
        told = parser.parse_args(shlex.split(options))
    except ValueError as error:
        raise BadInput(str(error), hint="close the quotes") from error
    # Docker checks it, Podman leaves it to the kernel, which refuses it, too (EINVAL).
    if told.oom_score_adj is not None and not -1000 <= told.oom_score_adj <= 1000:
        raise BadInput(
            f"--oom-score-adj {told.oom_score_adj} is not between -1000 and 1000",
            hint="write 500 for example",
        )
    return told


def _size_or_none(text: str) -> int:
    return -1 if text == "-1" else parse_size(text)


def _discarded(told: Any) -> list[str]:
    """What v2 has nothing for: Docker's warnings (moby#42865); Podman has refused two before."""
    warnings = []
    if told.oom_kill_disable:
        warnings.append("--oom-kill-disable: v2 has nothing of the kind; Docker discards it")
    if told.memory_swappiness != -1:
        warnings.append("--memory-swappiness: v2 has nothing of the kind; Docker discards it")
    if told.kernel_memory is not None:
        warnings.append("--kernel-memory: no kernel enforces it since Linux 5.16")
    return warnings


def _docker(told: Any) -> list[Setting]:
    for option, size in {
        "--memory": told.memory,
        "--memory-reservation": told.memory_reservation,
    }.items():
        if 0 < size < _LEAST_BYTES:
            raise BadInput(
                f"{option}: {size} bytes are less than Docker's least, 6m", hint="give 6m or more"
            )
    if 0 < told.memory < told.memory_reservation:
        raise BadInput(
            "--memory-reservation is more than --memory",
            hint="lower or drop --memory-reservation",
        )
    # 0 is not to have given it.
    told.memory_swap = told.memory_swap or None
    found = _sizes(told, _DOCKER, f"{_CGROUPS}, ConvertMemorySwapToCgroupV2Value", _CGROUPS)
    if told.oom_score_adj is not None:
        found.append(Setting("oom_score_adj", str(told.oom_score_adj), "--oom-score-adj", _DOCKER))
    if told.pids_limit is not None:
        found.append(Setting("pids.max", _pids(told.pids_limit), "--pids-limit", _DOCKER))
    return found


def _podman(told: Any, least_score: int) -> list[Setting]:
    if told.oom_kill_disable:
        raise BadInput(
            f"--oom-kill-disable: on v2 the container does not start ({_CRUN})", hint="leave it out"
        )
    if told.memory_swappiness != -1:
        raise BadInput(
            f"--memory-swappiness: on v2 the container does not start ({_CRUN})",
            hint="leave it out",
        )
    found = _sizes(told, _PODMAN, _CRUN, _CRUN)
    if told.oom_score_adj is not None:
        score, rule = told.oom_score_adj, "--oom-score-adj"
        if score < least_score:
            score, rule = least_score, "--oom-score-adj, rootless not below one's own"
        found.append(Setting("oom_score_adj", str(score), rule, _PODMAN_SCORE))
    if told.pids_limit is None:
        rule = "2048 without --pids-limit, if containers.conf has no other"
        found.append(Setting("pids.max", "2048", rule, _PODMAN_PIDS))
    else:
        found.append(Setting("pids.max", _pids(told.pids_limit), "--pids-limit", _CRUN))
    return found


def _pids(limit: int) -> str:
    return str(limit) if limit > 0 else "max"


def _sizes(told: Any, of_memory: str, of_swap: str, of_reservation: str) -> list[Setting]:
    memory, swap, reservation = told.memory, told.memory_swap, told.memory_reservation
    if swap is not None and swap > 0 and not memory:
        raise BadInput("--memory-swap wants --memory beside it", hint="add -m, for example -m 512m")
    if swap is not None and 0 < swap < memory:
        raise BadInput(
            "--memory-swap is less than --memory, and is both together",
            hint="give what memory and swap may be in all",
        )
    found = []
    if memory:
        found.append(Setting("memory.max", str(memory), "--memory", of_memory))
    if swap == -1:
        rule = "--memory-swap -1: without a limit"
        found.append(Setting("memory.swap.max", "max", rule, of_swap))
    elif swap == 0:
        rule = "--memory-swap 0: no swap (crun before 1.8.6 refuses it)"
        found.append(Setting("memory.swap.max", "0", rule, of_swap))
    elif swap is not None:
        rule = "--memory-swap is memory and swap together: less --memory"
        found.append(Setting("memory.swap.max", str(swap - memory), rule, of_swap))
    elif memory:
        rule = "without --memory-swap as much again as --memory"
        found.append(Setting("memory.swap.max", str(memory), rule, of_memory))
    if reservation:
        rule = "--memory-reservation: a protection, no limit"
        found.append(Setting("memory.low", str(reservation), rule, of_reservation))
    return found
