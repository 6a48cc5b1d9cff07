"""Docker's and Podman's memory options: to files of a group (cgroup v2), with their sources."""

import argparse
import re
import shlex
from typing import Any, NoReturn

from cmemrun.errors import BadInput
from cmemrun.model import Setting

__all__ = ["parse_size", "settings"]

_RUN = "docs.docker.com/engine/containers/resource_constraints"
_SWAP = "opencontainers/cgroups, ConvertMemorySwapToCgroupV2Value"
_DISABLED = "moby#42865, podman#17848"

# go-units RAMInBytes: powers of 1024, whatever is written after the letter.
_SIZE = re.compile(r"(\d{1,18}(?:\.\d{0,18})?) ?([bkmgtp]?)(?:i?b)?", re.IGNORECASE)
_POWERS = {"": 0, "b": 0, "k": 1, "m": 2, "g": 3, "t": 4, "p": 5}
_LEAST_BYTES = 6 * 2**20


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise BadInput(
            f"--docker: {message}",
            hint="give memory options only: --docker '-m 1g --memory-swap 2g'",
        )


def parse_size(text: str) -> int:
    """Bytes as Docker reads them: ``512m``, ``1g``, ``1.5GB``, ``1024``; ``BadInput`` else."""
    match = _SIZE.fullmatch(text)
    if match is None:
        raise BadInput(f"--docker: {text!r} is no size to Docker", hint="write 512m or 1g")
    size: int = int(float(match[1]) * 1024 ** _POWERS[match[2].lower()])
    if size >= 2**63:
        raise BadInput(f"--docker: {text!r} is more than any kernel counts")
    return size


def settings(options: str) -> tuple[list[Setting], list[str]]:
    """What Docker writes for these options of ``docker run``, and its warnings.

    Raises ``BadInput`` for what Docker refuses, and for options that are not of memory.
    """
    try:
        words = shlex.split(options)
    except ValueError as error:
        raise BadInput(f"--docker: {error}", hint="close the quotes") from error
    told = _parser().parse_args(words)
    found, warnings = _sizes(told), []
    if told.oom_kill_disable:
        warnings.append(
            "--oom-kill-disable: v2 has nothing of the kind; Docker discards it with a warning,"
            f" Podman refuses to start ({_DISABLED})"
        )
    if told.memory_swappiness is not None:
        warnings.append("--memory-swappiness: v2 has nothing of the kind")
    if told.kernel_memory is not None:
        warnings.append("--kernel-memory: no kernel enforces it since Linux 5.16")
    if told.oom_score_adj is not None:
        if not -1000 <= told.oom_score_adj <= 1000:
            raise BadInput(
                f"--docker: --oom-score-adj {told.oom_score_adj} is not between -1000 and 1000"
            )
        rule = "--oom-score-adj"
        found.append(Setting("oom_score_adj", str(told.oom_score_adj), rule, _RUN))
    if told.pids_limit is not None:
        value = str(told.pids_limit) if told.pids_limit > 0 else "max"
        found.append(Setting("pids.max", value, "--pids-limit", _RUN))
    return found, warnings


def _parser() -> _Parser:
    parser = _Parser(prog="docker run", add_help=False, allow_abbrev=False)
    parser.add_argument("-m", "--memory", type=_size)
    parser.add_argument("--memory-swap", type=_size)
    parser.add_argument("--memory-reservation", type=_size)
    parser.add_argument("--memory-swappiness", type=int)
    parser.add_argument("--kernel-memory", type=_size)
    parser.add_argument("--oom-kill-disable", action="store_true")
    parser.add_argument("--oom-score-adj", type=int)
    parser.add_argument("--pids-limit", type=int)
    return parser


def _size(text: str) -> int:
    return -1 if text == "-1" else parse_size(text)


def _sizes(told: Any) -> list[Setting]:
    memory, swap, reservation = told.memory or 0, told.memory_swap or 0, told.memory_reservation
    if 0 < memory < _LEAST_BYTES:
        raise BadInput(f"--docker: {memory} bytes are less than Docker's least, 6m")
    found = []
    if memory > 0:
        found.append(Setting("memory.max", str(memory), "--memory", _RUN))
    if swap > 0 and memory <= 0:
        raise BadInput("--docker: --memory-swap wants --memory beside it")
    if swap > 0 and swap < memory:
        raise BadInput(
            "--docker: --memory-swap is less than --memory, and is both together",
            hint="give what memory and swap may be in all",
        )
    if swap == -1:
        found.append(Setting("memory.swap.max", "max", "--memory-swap -1: without a limit", _SWAP))
    elif swap > 0:
        rule = "--memory-swap is memory and swap together: less --memory"
        found.append(Setting("memory.swap.max", str(swap - memory), rule, _SWAP))
    elif memory > 0:
        rule = "without --memory-swap as much again as --memory"
        found.append(Setting("memory.swap.max", str(memory), rule, _SWAP))
    if reservation:
        if memory > 0 and reservation > memory:
            raise BadInput("--docker: --memory-reservation is more than --memory")
        rule = "--memory-reservation: a protection, no limit"
        found.append(Setting("memory.low", str(reservation), rule, _SWAP.partition(",")[0]))
    return found
