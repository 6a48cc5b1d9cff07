"""The options of ``run``: the one place where they are written down."""

import re
from enum import Enum
from typing import Annotated, NamedTuple

from cmemrun import units
from cmemrun.commands.arguments import Option
from cmemrun.errors import BadInput
from cmemrun.identity import User, find_user
from cmemrun.model import UNLIMITED, Limit
from cmemrun.sampler import AUTO_PROBE, Probe

__all__ = [
    "PROFILES",
    "AttachOptions",
    "Backend",
    "FitOptions",
    "Linger",
    "Require",
    "RunOptions",
]


class Linger(Enum):
    """What happens to processes that outlive the main one."""

    END = "end"
    WAIT = "wait"


class Backend(Enum):
    """The ways to measure, as they are asked for."""

    AUTO = "auto"
    SYSTEMD = "systemd"
    V2 = "v2"
    V1 = "v1"
    PROC = "proc"


class Require(Enum):
    """What a measurement must be worth at least."""

    CGROUP = "cgroup"
    EXACT = "exact"


def _at_least(seconds: float, text: str, least: float) -> float:
    if seconds < least:
        raise BadInput(
            f"{text!r} is less than {units.format_duration(least)}",
            hint=f"write {units.DURATION_EXAMPLES}",
        )
    return seconds


def _refresh(text: str) -> float:
    return _at_least(units.parse_duration(text), text, 0.001)


def _probe(text: str) -> Probe:
    if text == "auto":
        return AUTO_PROBE
    return None if text == "off" else _refresh(text)


def _positive_size(text: str) -> int:
    size = units.parse_size(text)
    if size < 1:
        raise BadInput(f"{text!r} leaves nothing", hint=f"write {units.SIZE_EXAMPLES}")
    return size


def _limit(text: str) -> Limit:
    return UNLIMITED if text == UNLIMITED.value else units.parse_size(text)


def _number(text: str, least: int, most: int, wrong: str, hint: str) -> int:
    """A whole number between two others; ``wrong`` is what to say of anything else."""
    if not re.fullmatch(r"-?[0-9]{1,10}", text) or not least <= int(text) <= most:
        raise BadInput(f"{text!r} {wrong}", hint=hint)
    return int(text)


def _count(text: str) -> Limit:
    if text == UNLIMITED.value:
        return UNLIMITED
    return _number(text, 1, 2**22 - 1, "is no number of processes", "write 100, or max")


def _score(text: str) -> int:
    return _number(text, -1000, 1000, "is not between -1000 and 1000", "write 500 for example")


def _assignment(text: str) -> tuple[str, str]:
    file, equals, value = text.partition("=")
    if not equals or not value.strip():
        raise BadInput(f"{text!r} sets nothing", hint="write memory.swap.high=1G for example")
    return file, value


def _cpu(text: str) -> int:
    """Thousandths of a CPU, as the kubelet counts them."""
    from cmemrun.kubernetes.quantity import parse_quantity

    return -int(-parse_quantity(text) * 1000 // 1)


def _release(text: str) -> tuple[int, int]:
    words = text.removeprefix("v").split(".")
    if not 2 <= len(words) <= 3 or not all(word.isdecimal() and len(word) < 4 for word in words):
        raise BadInput(f"{text!r} is no release of Kubernetes", hint="write 1.34")
    return int(words[0]), int(words[1])


def _factor(text: str) -> float:
    if not re.fullmatch(r"[01](\.[0-9]{1,9})?", text) or not 0 < float(text) <= 1:
        raise BadInput(f"{text!r} is no factor between 0 and 1", hint="write 0.9")
    return float(text)


def _percent(text: str) -> float:
    number = text.removesuffix("%")
    if not re.fullmatch(r"[0-9]{1,4}(\.[0-9]{1,3})?", number) or not text.endswith("%"):
        raise BadInput(f"{text!r} is no percentage", hint="write 10%")
    return float(number) / 100


def _times(text: str) -> int:
    return _number(text, 1, 9999, "is no number of times", "write 3 for example")


def _words(text: str) -> tuple[str, ...]:
    import shlex

    try:
        words = tuple(shlex.split(text))
    except ValueError as error:
        raise BadInput(f"{text!r}: {error}", hint="close the quotes") from error
    if not words:
        raise BadInput("there is no command", hint="write 'test -s out.csv' for example")
    return words


def _pid(text: str) -> int:
    return _number(text, 1, 2**31 - 1, "is no process", "give its number, as ps has it")


Refresh = Annotated[
    float,
    Option(
        ("--refresh",),
        "Time between two full samples: 400ms, 1.5s, 1m30s.",
        "Measuring",
        metavar="DURATION",
        default="500ms",
        parse=_refresh,
    ),
]
ProbeInterval = Annotated[
    Probe,
    Option(
        ("--probe",),
        "Time between two looks at usage alone, so that no short peak is missed.",
        "Measuring",
        metavar="auto|off|DURATION",
        default="auto",
        parse=_probe,
    ),
]
Processes = Annotated[
    bool,
    Option(
        ("--processes",),
        "See who is in the group at each refresh, for lines of each in a plot.",
        "Measuring",
        default=False,
    ),
]
Smaps = Annotated[
    bool,
    Option(
        ("--smaps",),
        "Split the largest processes by heap, stack, libraries, files (slower).",
        "Measuring",
        default=False,
    ),
]
ReportFile = Annotated[
    str | None,
    Option(
        ("-o", "--output"),
        "Write the report there, - for standard output.  [default: standard error]",
        "Output",
        metavar="FILE",
    ),
]
JsonFile = Annotated[
    str | None,
    Option(
        ("--json",),
        "Write everything measured as JSON, - for standard output.",
        "Output",
        metavar="FILE",
    ),
]
RecordFile = Annotated[
    str | None,
    Option(
        ("--record",),
        "Append every sample as it comes, as JSON lines that outlive a crash.",
        "Output",
        metavar="FILE",
    ),
]
LiveView = Annotated[
    bool,
    Option(
        ("--live",),
        "Show usage, its parts and the largest processes while it runs, in a terminal.",
        "Output",
        default=False,
    ),
]
Quiet = Annotated[bool, Option(("--quiet", "-q"), "No report.", "Output", default=False)]
Debug = Annotated[
    bool, Option(("--debug",), "Log what is tried, on standard error.", "Output", default=False)
]


class RunOptions(NamedTuple):
    """What ``run`` was asked for, and on the command line the only declaration of it."""

    refresh: Refresh
    probe: ProbeInterval
    parent: Annotated[
        str | None,
        Option(
            ("--parent",),
            "Work below this group: /sys/fs/cgroup/mine, or /mine.",
            "Measuring",
            metavar="GROUP",
        ),
    ]
    backend: Annotated[
        Backend,
        Option(
            ("--backend",),
            "Measure in this way only; proc watches the processes without any group.",
            "Measuring",
            default="auto",
        ),
    ]
    require: Annotated[
        Require | None,
        Option(
            ("--require",),
            "Refuse to measure without a group, or without the kernel's own peak.",
            "Measuring",
        ),
    ]
    user: Annotated[
        User | None,
        Option(
            ("--user",),
            'Run the program as this user, for root: --user "$SUDO_USER".',
            "Measuring",
            metavar="NAME",
            parse=find_user,
        ),
    ]
    processes: Processes
    smaps: Smaps
    limit: Annotated[
        int | None,
        Option(
            ("--limit",),
            "Let the kernel enforce this limit (memory.max): 512Mi, 512MB, bytes.",
            "Limits and budgets",
            metavar="SIZE",
            parse=_positive_size,
        ),
    ]
    high: Annotated[
        Limit,
        Option(
            ("--high",),
            "From here on slow it down and reclaim from it (memory.high; v2).",
            "Limits and budgets",
            metavar="SIZE|max",
            parse=_limit,
        ),
    ]
    low: Annotated[
        Limit,
        Option(
            ("--low",),
            "Reclaim below this only where there is nothing else (memory.low).",
            "Limits and budgets",
            metavar="SIZE|max",
            parse=_limit,
        ),
    ]
    min: Annotated[
        Limit,
        Option(
            ("--min",),
            "Never reclaim below this (memory.min; v2).",
            "Limits and budgets",
            metavar="SIZE|max",
            parse=_limit,
        ),
    ]
    swap: Annotated[
        Limit,
        Option(
            ("--swap",),
            "How much of it may be swapped out (memory.swap.max).",
            "Limits and budgets",
            metavar="0|SIZE|max",
            parse=_limit,
        ),
    ]
    zswap: Annotated[
        Limit,
        Option(
            ("--zswap",),
            "How much of that may be kept compressed (memory.zswap.max; v2).",
            "Limits and budgets",
            metavar="0|SIZE|max",
            parse=_limit,
        ),
    ]
    pids: Annotated[
        Limit,
        Option(
            ("--pids",),
            "How many processes and threads there may be (pids.max).",
            "Limits and budgets",
            metavar="N|max",
            parse=_count,
        ),
    ]
    oom_score_adj: Annotated[
        int | None,
        Option(
            ("--oom-score-adj",),
            "Whom to kill first, from -1000 (never) to 1000.",
            "Limits and budgets",
            metavar="N",
            parse=_score,
        ),
    ]
    set: Annotated[
        tuple[tuple[str, str], ...],
        Option(
            ("--set",),
            "Write to any other file of the group: --set memory.swap.high=1G.",
            "Limits and budgets",
            metavar="FILE=VALUE",
            parse=_assignment,
            repeated=True,
        ),
    ]
    oom_group: Annotated[
        bool | None,
        Option(
            ("--oom-group",),
            "When the limit kills, kill the whole group (v2 only).",
            "Limits and budgets",
            negative="--no-oom-group",
        ),
    ]
    max_peak: Annotated[
        int | None,
        Option(
            ("--max-peak",),
            "Budget: exit with 123 where the program succeeded and the peak was higher.",
            "Limits and budgets",
            metavar="SIZE",
            parse=_positive_size,
        ),
    ]
    k8s_limit: Annotated[
        int | None,
        Option(
            ("--k8s-limit",),
            "As a container with this memory limit (resources.limits.memory).",
            "Kubernetes and Docker",
            metavar="SIZE",
            parse=_positive_size,
        ),
    ]
    k8s_request: Annotated[
        int | None,
        Option(
            ("--k8s-request",),
            "With this memory request; without one it is the limit.",
            "Kubernetes and Docker",
            metavar="SIZE",
            parse=_positive_size,
        ),
    ]
    cpu_limit: Annotated[
        int | None,
        Option(
            ("--cpu-limit",),
            "With this CPU limit, which decides on the pod's class only: 1, 500m.",
            "Kubernetes and Docker",
            metavar="CPU",
            parse=_cpu,
        ),
    ]
    cpu_request: Annotated[
        int | None,
        Option(
            ("--cpu-request",),
            "With this CPU request, likewise.",
            "Kubernetes and Docker",
            metavar="CPU",
            parse=_cpu,
        ),
    ]
    pod: Annotated[
        str | None,
        Option(
            ("--pod",),
            "As a container of this manifest: resources only, no command or environment.",
            "Kubernetes and Docker",
            metavar="FILE",
        ),
    ]
    container: Annotated[
        str | None,
        Option(
            ("--container",),
            "The container of --pod, where it has several.",
            "Kubernetes and Docker",
            metavar="NAME",
        ),
    ]
    k8s_version: Annotated[
        tuple[int, int] | None,
        Option(
            ("--k8s-version",),
            "By the rules of this release.  [default: the newest known]",
            "Kubernetes and Docker",
            metavar="1.N",
            parse=_release,
        ),
    ]
    node_memory: Annotated[
        int | None,
        Option(
            ("--node-memory",),
            "The node's memory, for oom_score_adj.  [default: this machine's]",
            "Kubernetes and Docker",
            metavar="SIZE",
            parse=_positive_size,
        ),
    ]
    node_swap: Annotated[
        int | None,
        Option(
            ("--node-swap",),
            "The node's swap, shared out as LimitedSwap does.  [default: NoSwap]",
            "Kubernetes and Docker",
            metavar="SIZE",
            parse=units.parse_size,
        ),
    ]
    single_process_oom_kill: Annotated[
        bool,
        Option(
            ("--single-process-oom-kill",),
            "A kubelet with singleProcessOOMKill, which kills no whole container.",
            "Kubernetes and Docker",
            default=False,
        ),
    ]
    memory_qos: Annotated[
        bool,
        Option(
            ("--memory-qos",),
            "A cluster with Memory QoS, which has memory.min, low and high written.",
            "Kubernetes and Docker",
            default=False,
        ),
    ]
    throttling_factor: Annotated[
        float | None,
        Option(
            ("--throttling-factor",),
            "Its memoryThrottlingFactor.  [default: the release's]",
            "Kubernetes and Docker",
            metavar="FACTOR",
            parse=_factor,
        ),
    ]
    docker: Annotated[
        str | None,
        Option(
            ("--docker",),
            "As docker run would with these options: --docker '-m 1g --memory-swap 2g'.",
            "Kubernetes and Docker",
            metavar="OPTIONS",
        ),
    ]
    explain: Annotated[
        bool,
        Option(
            ("--explain",),
            "Say which file would get which value by which rule, and run nothing.",
            "Kubernetes and Docker",
            default=False,
        ),
    ]
    timeout: Annotated[
        float | None,
        Option(
            ("--timeout",),
            "Ask the program to end after this time (SIGTERM); exit with 124.",
            "Time",
            metavar="DURATION",
            parse=_refresh,
        ),
    ]
    grace: Annotated[
        float,
        Option(
            ("--grace",),
            "Time from there to killing the whole group.",
            "Time",
            metavar="DURATION",
            default="5s",
            parse=units.parse_duration,
        ),
    ]
    linger: Annotated[
        Linger,
        Option(
            ("--linger",),
            "What outlives the main process is ended, or waited for.",
            "Time",
            default="end",
        ),
    ]
    output: ReportFile
    json: JsonFile
    record: RecordFile
    live: LiveView
    quiet: Quiet
    debug: Debug


PROFILES = ("docker", "pod", "k8s_limit", "k8s_request", "cpu_limit", "cpu_request")
"""The options that ask for somebody's rules, each alone enough."""


class FitOptions(NamedTuple):
    """What ``fit`` was asked for, likewise."""

    slowdown: Annotated[
        float,
        Option(
            ("--slowdown",),
            "How much slower than without a limit it may be, above the knee.",
            "Search",
            metavar="PERCENT",
            default="10%",
            parse=_percent,
        ),
    ]
    confirm: Annotated[
        int,
        Option(
            ("--confirm",),
            "How often an answer must hold.",
            "Search",
            metavar="N",
            default="2",
            parse=_times,
        ),
    ]
    max_runs: Annotated[
        int,
        Option(
            ("--max-runs",),
            "Run it no more often than this.",
            "Search",
            metavar="N",
            default="30",
            parse=_times,
        ),
    ]
    max_time: Annotated[
        float | None,
        Option(
            ("--max-time",),
            "Begin no run after this time.",
            "Search",
            metavar="DURATION",
            parse=_refresh,
        ),
    ]
    check: Annotated[
        tuple[str, ...] | None,
        Option(
            ("--check",),
            "Success is what this command says, split as words, without a shell.",
            "Search",
            metavar="COMMAND",
            parse=_words,
        ),
    ]
    resume: Annotated[
        str | None,
        Option(
            ("--resume",),
            "Take the runs of an earlier --json for known.",
            "Search",
            metavar="FILE",
        ),
    ]
    json: JsonFile
    quiet: Quiet
    debug: Debug


class AttachOptions(NamedTuple):
    """What ``attach`` was asked for, likewise."""

    pid: Annotated[
        int | None,
        Option(
            ("--pid",), "The group that this process is in.", "Group", metavar="PID", parse=_pid
        ),
    ]
    cgroup: Annotated[
        str | None,
        Option(
            ("--cgroup",),
            "This group: /sys/fs/cgroup/system.slice/nginx.service, or /system.slice/….",
            "Group",
            metavar="PATH",
        ),
    ]
    container: Annotated[
        str | None,
        Option(
            ("--container",),
            "The group of the container with this ID, or its first digits.",
            "Group",
            metavar="ID",
        ),
    ]
    seconds: Annotated[
        float | None,
        Option(
            ("--for",), "Watch no longer than this.", "Time", metavar="DURATION", parse=_refresh
        ),
    ]
    refresh: Refresh
    probe: ProbeInterval
    processes: Processes
    smaps: Smaps
    output: ReportFile
    json: JsonFile
    record: RecordFile
    live: LiveView
    quiet: Quiet
    debug: Debug

    @property
    def user(self) -> User | None:
        """Outputs are the caller's."""
        return None
