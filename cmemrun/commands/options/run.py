"""What ``run`` takes."""

from enum import Enum
from typing import Annotated, NamedTuple

from cmemrun import units
from cmemrun.commands.arguments import Option
from cmemrun.commands.options import values
from cmemrun.commands.options.repeats import (
    Against,
    Cleanup,
    Cold,
    Exports,
    FailOn,
    ParameterList,
    ParameterScan,
    ParameterStep,
    Prepare,
    Runs,
    SaveBaseline,
    Warmup,
)
from cmemrun.commands.options.shared import (
    Debug,
    JsonFile,
    LiveView,
    ProbeInterval,
    Processes,
    Quiet,
    RecordFile,
    Refresh,
    ReportFile,
    Smaps,
)
from cmemrun.identity import User, find_user
from cmemrun.model import Assertion, Limit

__all__ = [
    "PROFILES",
    "PROFILE_DETAILS",
    "Backend",
    "Linger",
    "Require",
    "RunOptions",
    "are_repeats_wanted",
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
            'Run the program as this user: sudo cmemrun --user "$USER" ./myapp.',
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
            "Common",
            metavar="SIZE",
            parse=values.positive_size,
        ),
    ]
    high: Annotated[
        Limit,
        Option(
            ("--high",),
            "From here on slow it down and reclaim from it (memory.high; v2).",
            "Limits",
            metavar="SIZE|max",
            parse=values.limit,
        ),
    ]
    low: Annotated[
        Limit,
        Option(
            ("--low",),
            "Reclaim below this only where there is nothing else (memory.low).",
            "Limits",
            metavar="SIZE|max",
            parse=values.limit,
        ),
    ]
    min: Annotated[
        Limit,
        Option(
            ("--min",),
            "Never reclaim below this (memory.min; v2).",
            "Limits",
            metavar="SIZE|max",
            parse=values.limit,
        ),
    ]
    swap: Annotated[
        Limit,
        Option(
            ("--swap",),
            "How much of it may be swapped out (memory.swap.max).",
            "Limits",
            metavar="0|SIZE|max",
            parse=values.limit,
        ),
    ]
    zswap: Annotated[
        Limit,
        Option(
            ("--zswap",),
            "How much of that may be kept compressed (memory.zswap.max; v2).",
            "Limits",
            metavar="0|SIZE|max",
            parse=values.limit,
        ),
    ]
    pids: Annotated[
        Limit,
        Option(
            ("--pids",),
            "How many processes and threads there may be (pids.max).",
            "Limits",
            metavar="N|max",
            parse=values.count,
        ),
    ]
    oom_score_adj: Annotated[
        int | None,
        Option(
            ("--oom-score-adj",),
            "Whom to kill first, from -1000 (never) to 1000.",
            "Limits",
            metavar="N",
            parse=values.score,
        ),
    ]
    set: Annotated[
        tuple[tuple[str, str], ...],
        Option(
            ("--set",),
            "Write to any other file of the group: --set memory.swap.high=1G.",
            "Limits",
            metavar="FILE=VALUE",
            parse=values.assignment,
            repeated=True,
        ),
    ]
    oom_group: Annotated[
        bool | None,
        Option(
            ("--oom-group",),
            "When the limit kills, kill the whole group (v2 only).",
            "Limits",
            negative="--no-oom-group",
        ),
    ]
    runtime_env: Annotated[
        bool,
        Option(
            ("--runtime-env",),
            "Tell a Go, JVM, .NET or Node program of the limit, in its own variable.",
            "Limits",
            default=False,
        ),
    ]
    max_peak: Annotated[
        int | None,
        Option(
            ("--max-peak",),
            "Budget: exit with 123 where the program succeeded and the peak was higher.",
            "Common",
            metavar="SIZE",
            parse=values.positive_size,
        ),
    ]
    assertions: Annotated[
        tuple[Assertion, ...],
        Option(
            ("--assert",),
            "Budget on anything else: anon<=150Mi, stall<=500ms, oom_kill=0.",
            "Budgets",
            metavar="METRIC<=VALUE",
            parse=values.assertion,
            repeated=True,
        ),
    ]
    report_only: Annotated[
        bool,
        Option(
            ("--report-only",),
            "Say of a broken budget that it is, and keep the program's status.",
            "Budgets",
            default=False,
        ),
    ]
    budget: Annotated[
        str | None,
        Option(
            ("--budget",),
            "The budgets that this file has for the command; see cmemrun check.",
            "Budgets",
            metavar="FILE",
        ),
    ]
    runs: Runs
    warmup: Warmup
    prepare: Prepare
    cleanup: Cleanup
    cold: Cold
    parameter_list: ParameterList
    parameter_scan: ParameterScan
    parameter_step_size: ParameterStep
    save_baseline: SaveBaseline
    against: Against
    fail_on: FailOn
    k8s_limit: Annotated[
        int | None,
        Option(
            ("--k8s-limit",),
            "As a container with this memory limit (resources.limits.memory).",
            "Kubernetes, Docker and Podman",
            metavar="SIZE",
            parse=values.positive_size,
        ),
    ]
    k8s_request: Annotated[
        int | None,
        Option(
            ("--k8s-request",),
            "With this memory request; without one it is the limit.",
            "Kubernetes, Docker and Podman",
            metavar="SIZE",
            parse=values.positive_size,
        ),
    ]
    cpu_limit: Annotated[
        int | None,
        Option(
            ("--cpu-limit",),
            "With this CPU limit, which decides on the pod's class only: 1, 500m.",
            "Kubernetes, Docker and Podman",
            metavar="CPU",
            parse=values.cpu,
        ),
    ]
    cpu_request: Annotated[
        int | None,
        Option(
            ("--cpu-request",),
            "With this CPU request, likewise.",
            "Kubernetes, Docker and Podman",
            metavar="CPU",
            parse=values.cpu,
        ),
    ]
    pod: Annotated[
        str | None,
        Option(
            ("--pod",),
            "As a container of this manifest: resources only, no command or environment.",
            "Kubernetes, Docker and Podman",
            metavar="FILE",
        ),
    ]
    container: Annotated[
        str | None,
        Option(
            ("--container",),
            "The container of --pod, where it has several.",
            "Kubernetes, Docker and Podman",
            metavar="NAME",
        ),
    ]
    k8s_version: Annotated[
        tuple[int, int] | None,
        Option(
            ("--k8s-version",),
            "By the rules of this release.  [default: the newest known]",
            "Kubernetes, Docker and Podman",
            metavar="1.N",
            parse=values.release,
        ),
    ]
    node_memory: Annotated[
        int | None,
        Option(
            ("--node-memory",),
            "The node's memory, for oom_score_adj.  [default: this machine's]",
            "Kubernetes, Docker and Podman",
            metavar="SIZE",
            parse=values.positive_size,
        ),
    ]
    node_swap: Annotated[
        int | None,
        Option(
            ("--node-swap",),
            "The node's swap, shared out as LimitedSwap does.  [default: NoSwap]",
            "Kubernetes, Docker and Podman",
            metavar="SIZE",
            parse=units.parse_size,
        ),
    ]
    single_process_oom_kill: Annotated[
        bool,
        Option(
            ("--single-process-oom-kill",),
            "A kubelet with singleProcessOOMKill, which kills no whole container.",
            "Kubernetes, Docker and Podman",
            default=False,
        ),
    ]
    memory_qos: Annotated[
        bool,
        Option(
            ("--memory-qos",),
            "A cluster with Memory QoS, which has memory.min, low and high written.",
            "Kubernetes, Docker and Podman",
            default=False,
        ),
    ]
    throttling_factor: Annotated[
        float | None,
        Option(
            ("--throttling-factor",),
            "Its memoryThrottlingFactor.  [default: the release's]",
            "Kubernetes, Docker and Podman",
            metavar="FACTOR",
            parse=values.factor,
        ),
    ]
    docker: Annotated[
        str | None,
        Option(
            ("--docker",),
            "As docker run would with these options: --docker '-m 1g --memory-swap 2g'.",
            "Kubernetes, Docker and Podman",
            metavar="OPTIONS",
        ),
    ]
    podman: Annotated[
        str | None,
        Option(
            ("--podman",),
            "As podman run (and crun) would with these options.",
            "Kubernetes, Docker and Podman",
            metavar="OPTIONS",
        ),
    ]
    explain: Annotated[
        bool,
        Option(
            ("--explain",),
            "Say which file would get which value by which rule, and run nothing.",
            "Kubernetes, Docker and Podman",
            default=False,
        ),
    ]
    timeout: Annotated[
        float | None,
        Option(
            ("--timeout",),
            "Ask the program to end after this time (SIGTERM); exit with 124.",
            "Common",
            metavar="DURATION",
            parse=values.interval,
        ),
    ]
    grace: Annotated[
        float,
        Option(
            ("--grace",),
            "Time from the SIGTERM of --timeout to killing the whole group.",
            "Ending",
            metavar="DURATION",
            default="5s",
            parse=units.parse_duration,
        ),
    ]
    linger: Annotated[
        Linger,
        Option(
            ("--linger",),
            "End what outlives the main process, or wait for it.",
            "Ending",
            default="end",
        ),
    ]
    output: ReportFile
    json: JsonFile
    record: RecordFile
    exports: Exports
    live: LiveView
    quiet: Quiet
    debug: Debug


PROFILES = ("docker", "podman", "pod", "k8s_limit", "k8s_request", "cpu_limit", "cpu_request")
"""The options that ask for somebody's rules, each alone enough."""

PROFILE_DETAILS = (
    *("container", "k8s_version", "node_memory", "node_swap"),
    *("single_process_oom_kill", "memory_qos", "throttling_factor"),
)
"""Those that say more of them, and nothing without."""

_REPEATS = (
    *("runs", "warmup", "prepare", "cleanup", "cold", "parameter_list", "parameter_scan"),
    *("parameter_step_size", "save_baseline", "against", "fail_on"),
)


def are_repeats_wanted(options: RunOptions) -> bool:
    """Whether it takes more than one run that is looked at by itself."""
    return any(getattr(options, name) for name in _REPEATS)
