"""A fault at every step between the first directory and the last report.

What a run does is recorded first; then it is done again and again, each time with one
of its system calls failing, or with a signal or a delay there. So a new step is
walked by itself. Whatever the fault, the same is asked.
"""

import json
import os
import re
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.api.conftest import groups_of
from tests.conftest import needs_strace, processes
from tests.faults.tracing import Fault, Step, Traced, Tracer, without_numbers

LONG = bool(os.environ.get("CMEMRUN_TEST_LONG"))
MARK = uuid.uuid4().hex
MIB = 2**20
_STAYS_SECONDS = 20.0

# What can happen to a call that we make, the likeliest first.
ERRORS = {
    "access": ("EACCES", "ENOENT"),
    "chdir": ("EACCES", "ENOENT"),
    "clone": ("EAGAIN", "ENOMEM"),
    "clone3": ("EAGAIN", "ENOMEM"),
    "close": ("EIO", "EINTR", "ENOSPC", "EDQUOT"),
    "connect": ("ECONNREFUSED", "ENOENT", "EACCES"),
    "dup": ("EMFILE",),
    "eventfd2": ("EMFILE", "ENFILE"),
    "execve": ("EACCES", "ENOENT", "ENOMEM", "ETXTBSY", "ENOEXEC", "E2BIG", "EAGAIN", "ELIBBAD"),
    "faccessat2": ("EACCES", "EIO"),
    "fchmod": ("EPERM", "EROFS", "EIO"),
    "fchown": ("EPERM", "EROFS", "EIO"),
    "fcntl": ("EMFILE",),
    "fdatasync": ("EIO", "ENOSPC", "EDQUOT", "EROFS"),
    "fstat": ("EIO", "ENOMEM"),
    "fsync": ("EIO", "ENOSPC", "EDQUOT", "EROFS"),
    "ftruncate": ("EIO", "EPERM", "ENOSPC"),
    "getcwd": ("ENOENT", "EACCES"),
    "getdents64": ("ENOENT", "EIO", "ENOMEM"),
    "kill": ("ESRCH", "EPERM"),
    "linkat": ("ENOSPC", "EPERM", "EACCES", "EEXIST", "EROFS", "EXDEV", "EIO", "ENOENT"),
    "lseek": ("ESPIPE", "EINVAL"),
    "mkdir": ("EACCES", "ENOSPC", "EROFS", "EAGAIN", "ENOMEM", "EEXIST", "ENOENT", "EPERM"),
    "mmap": ("ENOMEM",),
    "newfstatat": ("ENOENT", "EACCES", "EIO", "ENOMEM"),
    "openat": ("EMFILE", "ENOENT", "EACCES", "ENFILE", "ENOMEM", "EIO", "EROFS", "ENOSPC", "EINTR"),
    "pidfd_open": ("EMFILE", "ENOSYS", "EPERM", "ENFILE"),
    "pipe2": ("EMFILE", "ENFILE"),
    "poll": ("ENOMEM", "EINTR"),
    "prctl": ("EINVAL", "EPERM"),
    "pread64": ("ENODEV", "EIO", "EINTR", "ENOMEM"),
    "read": ("EIO", "ENODEV", "EINTR", "ENOMEM", "EPIPE"),
    "readlink": ("ENOENT", "EACCES"),
    "renameat": ("EBUSY", "ENOSPC", "EROFS", "EACCES", "EIO"),
    "rmdir": ("EBUSY", "EPERM", "EROFS", "ENOENT"),
    "rt_sigtimedwait": ("EINTR",),
    "setsid": ("EPERM",),
    "socket": ("EMFILE", "EAFNOSUPPORT"),
    "statfs": ("EIO", "ENOENT"),
    "unlinkat": ("EBUSY", "EACCES", "EROFS"),
    "wait4": ("EINTR",),
    "write": ("ENOSPC", "EIO", "EPERM", "EBUSY", "EINVAL", "ENODEV", "EINTR", "EDQUOT", "ENOMEM"),
}
# What cannot fail, or only where somebody forbids it (seccomp).
NO_ERRORS = {
    *("brk", "clock_gettime", "clock_nanosleep", "exit", "exit_group", "futex", "geteuid"),
    *("getpid", "getrandom", "gettid", "ioctl", "madvise", "mprotect", "mremap", "munmap"),
    *("restart_syscall", "rt_sigaction", "rt_sigprocmask", "rt_sigreturn", "sched_getaffinity"),
    *("sched_yield", "sysinfo", "uname"),
}
# What changes something, or waits for others: before and after it the world is another.
GATES = (
    *("clone", "clone3", "eventfd2", "execve", "fsync", "linkat", "mkdir", "pipe2", "poll"),
    *("pread64", "read", "renameat", "rmdir", "wait4", "write"),
)
FAULTS: dict[str, dict[str, tuple[str, ...]]] = {
    "errors": {
        call: tuple(f"error={error}" for error in errors) for call, errors in ERRORS.items()
    },
    # A machine that has no more of something.
    "lack": {
        "clone": ("error=EAGAIN",),
        "clone3": ("error=EAGAIN",),
        "eventfd2": ("error=EMFILE",),
        "fsync": ("error=ENOSPC",),
        "linkat": ("error=ENOSPC",),
        "mkdir": ("error=EROFS",),
        "openat": ("error=EMFILE",),
        "pipe2": ("error=ENFILE",),
        "pread64": ("error=ENODEV",),
        "write": ("error=ENOSPC",),
    },
    "kill": dict.fromkeys(ERRORS if LONG else GATES, ("signal=SIGKILL",)),
    "signals": dict.fromkeys(
        ERRORS if LONG else GATES, ("signal=SIGTERM", "signal=SIGINT", "signal=SIGHUP")
    ),
    "delays": dict.fromkeys(GATES, ("delay_enter=50000",)),
}
"""Of each kind of fault, what happens at which call."""

OUTPUTS = ("--json", "run.json", "-o", "report.txt", "--record", "run.jsonl")
EXPORT = ("--export", "markdown=run.md")
RUNS: dict[str, tuple[list[str], int]] = {
    "plain": ([], 7),
    "a while": ([*OUTPUTS, "--refresh", "20ms"], 0),
    "limited": ([*OUTPUTS, *EXPORT, "--limit", "64Mi"], 0),
    "replaced": (["--json", "run.json", "-o", "report.txt"], 0),
    "without a group": ([*OUTPUTS, "--backend", "proc", "--probe", "off"], 0),
    "a while without": ([*OUTPUTS, "--refresh", "20ms", "--backend", "proc"], 0),
}
"""The options of each kind of run, and with which status its program ends."""

BEFORE = "from before\n"
LINES = "".join(f"{number}\n" for number in range(1, 2001))


def program(run: str) -> list[str]:
    """It has 8 MiB, says something that is longer than a block, and ends."""
    script = "dd if=/dev/zero of=/dev/null bs=8M count=1 status=none; seq 2000; sleep $1; exit $2"
    seconds = "0.2" if run.startswith("a while") else "0"
    return ["--", "/bin/sh", "-c", script, "sh", seconds, str(RUNS[run][1])]


# What a part does in several kinds of runs is walked in the first of them.
WALKS = [
    ("launcher", "errors", ("limited", "replaced", "without a group")),
    ("launcher", "lack", ("limited",)),
    ("launcher", "kill", ("limited", "replaced")),
    ("launcher", "signals", ("limited",)),
    ("launcher", "delays", ("limited",)),
    ("keeper", "errors", ("limited", "without a group")),
    ("keeper", "kill", ("limited",)),
    ("keeper", "delays", ("limited",)),
    ("program", "errors", ("limited",)),
    ("program", "kill", ("limited",)),
    ("program", "delays", ("limited",)),
    ("sampler", "errors", ("a while", "a while without")),
    ("sampler", "delays", ("a while",)),
    ("recorder", "errors", ("a while",)),
    ("recorder", "kill", ("a while",)),
    ("recorder", "lack", ("a while",)),
]
if LONG:
    WALKS += [
        ("launcher", "errors", ("plain",)),
        ("launcher", "signals", ("plain", "replaced")),
        ("launcher", "lack", ("replaced", "without a group")),
        ("launcher", "kill", ("without a group",)),
        ("sampler", "lack", ("a while", "a while without")),
    ]


@pytest.fixture(scope="module")
def tracer() -> Iterator[Tracer]:
    """One for all walks: what it costs is to load all modules."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CMEMRUN_TEST_MARK", MARK)
        with Tracer() as found:
            yield found


@pytest.mark.slow
@needs_strace
@pytest.mark.parametrize(
    ("part", "kind", "runs"),
    [pytest.param(*walk, id=f"{walk[0]}-{walk[1]}-{'-'.join(walk[2])}") for walk in WALKS],
)
def test_a_fault_at_every_step(
    part: str,
    kind: str,
    runs: tuple[str, ...],
    tracer: Tracer,
    tmp_path: Path,
    record_property: Callable[[str, object], None],
) -> None:
    cases, complaints, walked = 0, [], set[tuple[str, str]]()
    for run in runs:
        recorded = attempt(tracer, part, run, tmp_path)
        assert judge(recorded, run, None, tmp_path) == []
        assert recorded.status == RUNS[run][1]
        # A call that is new here wants its errors listed.
        assert {step.call for step in recorded.steps} <= ERRORS.keys() | NO_ERRORS
        steps = [step for step in recorded.steps if (step.call, step.target) not in walked]
        for fault in faults(steps, kind):
            done = attempt(tracer, part, run, tmp_path, fault)
            cases += done.was_hit
            found = [*judge(done, run, fault, tmp_path), *what_is_left(done, tracer)]
            complaints += [f"{run}, {fault}: {one}" for one in found]
        if not LONG:
            walked |= {(step.call, step.target) for step in steps if is_shared(step, tmp_path)}
    assert not complaints, "\n".join(complaints)
    assert cases, "no step was reached"
    record_property("faults", cases)


def is_shared(step: Step, directory: Path) -> bool:
    """Whether it is the same in every run: what becomes of outputs, each has its own way for."""
    return bool(step.target) and not step.target.startswith(without_numbers(str(directory)))


def attempt(
    tracer: Tracer, part: str, run: str, directory: Path, fault: Fault | None = None
) -> Traced:
    """One run in an emptied directory."""
    for entry in directory.iterdir():
        entry.unlink()
    options, _ = RUNS[run]
    if run == "replaced":
        (directory / "run.json").write_text(BEFORE)
        (directory / "report.txt").write_text(BEFORE)
    return tracer.trace(part, [*options, *program(run)], directory, fault)


def faults(steps: Sequence[Step], kind: str) -> Iterator[Fault]:
    """One for each thing that is done; with the long counts all, twice and at the last time."""
    times: dict[tuple[str, str], list[Step]] = {}
    for step in steps:
        if step.call in FAULTS[kind]:
            times.setdefault((step.call, step.target), []).append(step)
    for index, same in enumerate(times.values()):
        whats = FAULTS[kind][same[0].call]
        for step in dict.fromkeys([*same[:2], same[-1]]) if LONG else same[:1]:
            for what in whats if LONG else [whats[index % len(whats) if kind == "signals" else 0]]:
                yield Fault(step, what, lasts=kind == "lack")


def what_is_left(done: Traced, tracer: Tracer) -> list[str]:
    """The groups and processes of a run that stay there after its end."""
    deadline = time.monotonic() + _STAYS_SECONDS
    while (
        left := [
            *groups_of(done.pid),
            *(processes(MARK).keys() - {tracer.pid}),
        ]
    ) and time.monotonic() < deadline:
        time.sleep(0.005)
    return [f"left behind: {one}" for one in left]


def judge(done: Traced, run: str, fault: Fault | None, directory: Path) -> list[str]:
    """What is not as it has to be after any fault."""
    _, status = RUNS[run]
    found = []
    signalled = fault is not None and "signal=" in fault.what
    if done.status is None:
        return ["it did not end"]
    if re.search("Traceback|Exception|a defect in cmemrun", done.stderr):
        found.append(f"a traceback, or a defect: {done.stderr[-2000:]}")
    ours = [line for line in done.stderr.splitlines() if line.startswith("cmemrun: ")]
    if run != "plain" and len(ours) != len(done.stderr.splitlines()):
        found.append(f"a line that is not explained: {done.stderr}")
    if done.stdout not in ("", LINES) and not signalled:
        found.append(f"the program's output is not whole: {done.stdout[-100:]!r}")
    if done.status == status and done.stdout == LINES:
        found += [*judge_outputs(run, directory)]
    elif done.status == 125:
        is_mute = fault is not None and fault.lasts and fault.step.call == "write"
        if not is_mute and not any("; " in line for line in ours):
            found.append(f"125 without a line that says what next: {done.stderr!r}")
    elif done.status in (126, 127):
        if done.stdout or not any("execute" in line or "no program" in line for line in ours):
            found.append(f"{done.status} for what was executed: {done.stderr!r}")
    elif not signalled or done.status not in (-9, -15, -2, -1, 143, 130, 129, 137):
        found.append(f"status {done.status}: {done.stderr!r}")
    found += [f"a part of it: {path}" for path in parts(run, directory)]
    names = {"run.json", "report.txt", "run.jsonl", "run.md"}
    strays = {path.name for path in directory.iterdir()} - names - {"stdout", "stderr", "strace"}
    # Between the two last steps of replacing an output (see the README).
    is_known = fault and fault.what == "signal=SIGKILL" and fault.step.call == "renameat"
    if strays and not is_known:
        found.append(f"left in the directory: {strays}")
    return found


def judge_outputs(run: str, directory: Path) -> Iterator[str]:
    """What is wrong with the outputs of a run that says that all went well."""
    options, _ = RUNS[run]
    for name in ("run.json", "report.txt", "run.jsonl", "run.md"):
        path = directory / name
        if any(name in option for option in options):
            if not path.exists() or path.read_text() in ("", BEFORE):
                yield f"{name} is not written"
            elif name == "run.json":
                yield from judge_numbers(json.loads(path.read_text()))


def judge_numbers(document: dict[str, Any]) -> Iterator[str]:
    """A number is right, or says that it may not be."""
    method, peak = document["method"], document["peak_bytes"]
    if (
        not method["lower_bound"]
        and not 8 * MIB <= peak <= 8 * MIB + 2 * method["resolution_bytes"] + MIB
    ):
        yield f"the peak is {peak}: {method}"
    if peak > 16 * MIB:
        yield f"the peak is {peak}: {method}"


def parts(run: str, directory: Path) -> Iterator[Path]:
    """Outputs of which there is only a part."""
    whole = {
        "run.json": r"\{.*\}\n",
        "report.txt": "cmemrun .*\nmeasured .*\n",
        "run.md": ".*[|].*\n",
    }
    for name, pattern in whole.items():
        path = directory / name
        text = path.read_text() if path.exists() else None
        is_old = run == "replaced" and text == BEFORE
        if text is not None and not is_old and not re.fullmatch(pattern, text, re.DOTALL):
            yield path
    record = directory / "run.jsonl"
    if record.exists():
        # Its last line may be torn (see the README).
        for line in record.read_text().splitlines()[:-1]:
            json.loads(line)
