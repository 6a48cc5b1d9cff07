"""What the world and the program do to a run, from a list of real faults.

Each case is a shell script, the status it has to end with, and words that have to be
said. Of every one the same is asked: it ends in time, nobody sees a traceback, nothing
is left behind.
"""

import errno
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest

from cmemrun.backends.directory import DirectoryGroup
from cmemrun.kernel.hierarchy import detect
from cmemrun.runner import measure
from tests.conftest import CMEMRUN
from tests.waiting import PATIENCE_SECONDS, until

pytestmark = pytest.mark.slow


class Case(NamedTuple):
    """Something that goes wrong."""

    name: str
    script: str
    """By sh, in a directory of its own, with ``$PYTHON``, and ``group PID`` for its directory."""
    status: int
    words: tuple[str, ...] = ()
    """Regular expressions that are found in what is said, in this order."""
    files: str = ""
    """What there is in the end."""
    lacks: str = ""
    """A module that cannot be imported."""


NO_SPACE = r"cmemrun: --{}: cannot write '{}': No space left on device; "
# A file system of two pages, one of which is taken.
SMALL = (
    "mkdir m; mount -t tmpfs -o size=8k none m; printf before > m/json; "
    "head -c 8192 /dev/zero > m/fill 2> /dev/null; "
)
READ_ONLY = (
    "for at in $(awk '$3 ~ /^cgroup/ {print $2}' /proc/mounts); do "
    "mount --bind $at $at; mount -o remount,bind,ro $at; done; "
)
GROUP_GONE = "somebody else removed the group or disabled its controller after .* s: the numbers"
# However slow the machine is: without a name, what follows would be done to /.
GROUP_STARTED = "while [ ! -s in ]; do sleep 0.01; done; in=$(cat in); "

OUTPUTS = [
    Case(
        "json", "cmemrun -q --json /dev/full -- true", 125, (NO_SPACE.format("json", "/dev/full"),)
    ),
    Case("report", "cmemrun -o /dev/full -- true", 125, (NO_SPACE.format("output", "/dev/full"),)),
    Case(
        "record", "cmemrun -q --record /dev/full -- true", 125, ("--record: .*No space left.*; ",)
    ),
    *(
        Case(
            f"export {name}",
            f"cmemrun -q --export {name}=/dev/full -- true",
            125,
            (NO_SPACE.format(f"export {name}", "/dev/full"),),
        )
        for name in ("markdown", "github-summary", "junit", "openmetrics")
    ),
    Case(
        "a program's own failure goes first",
        "cmemrun -q --json /dev/full -o report -- sh -c 'exit 3'",
        3,
        ("--json: cannot write",),
        files="report",
    ),
    Case(
        "a full disk",
        "exec unshare -m sh -c '" + SMALL + "cmemrun -q --json m/json -o m/o --record m/r "
        "--export markdown=m/e -- true; status=$?; cat m/json; ls m >&2; exit $status'",
        125,
        (
            *(f"{name}: .*No space left.*; " for name in ("json", "record", "output", "markdown")),
            r"fill\njson\nr\n$",
        ),
        files="m",
    ),
    Case(
        "a disk that fills up meanwhile",
        "exec unshare -m sh -c 'mkdir m; mount -t tmpfs -o size=64k none m; "
        "cmemrun -q --refresh 10ms --record m/r -- sh -c "
        '"sleep 0.1; head -c 65536 /dev/zero > m/fill; sleep 0.2; :"; status=$?; '
        "cmemrun report m/r; exit $status'",
        125,
        ("--record: writing ended before the run did: No space left on device; ",),
        files="m",
    ),
    Case(
        "a read-only directory",
        "exec unshare -m sh -c 'mkdir m; mount -t tmpfs -o ro none m; "
        "cmemrun -q -o m/o -- touch ran'",
        125,
        ("--output: cannot write 'm/o': Read-only file system; ",),
        files="m",
    ),
    Case(
        "a directory that becomes read-only",
        "exec unshare -m sh -c 'mkdir m; mount -t tmpfs none m; echo old > m/json; "
        "cmemrun -q --json m/json -- mount -o remount,ro m; status=$?; cat m/json >&2; "
        "exit $status'",
        125,
        ("--json: cannot write 'm/json': Read-only file system; ", "old"),
        files="m",
    ),
    Case(
        "a directory that is removed",
        "mkdir m; cmemrun -q --json m/json -- rmdir m",
        125,
        ("--json: cannot write 'm/json': (Operation not permitted|No such file or directory); ",),
    ),
    Case(
        "a directory of our own that is removed",
        "mkdir m; cd m; rmdir ../m; cmemrun -q -- echo ran",
        0,
    ),
    Case(
        "a limit on files",
        "ulimit -f 1; cmemrun -q --json json -- sh -c 'echo ran'",
        125,
        ("--json: cannot write 'json': File too large; ",),
    ),
    Case(
        "a format whose library is missing",
        "cmemrun -q --export openmetrics=o -- touch ran",
        125,
        ("openmetrics needs prometheus-client, which is not installed; pip install",),
        lacks="prometheus_client",
    ),
]

STREAMS = [
    Case("standard error is full", "cmemrun true 2> /dev/full", 0),
    Case("standard error is closed", "cmemrun sh -c 'exit 5' 2>&-", 5),
    Case("standard output is closed", "cmemrun -q true >&-", 0),
    Case(
        "nobody reads any more",
        "{ cmemrun sh -c 'sleep 0.2; exit 5'; echo $? > status; } 2>&1 | true; exit $(cat status)",
        5,
        files="status",
    ),
    Case(
        "nobody reads, and then goes",
        "{ cmemrun sh -c 'seq 20000 >&2; exit 5'; echo $? > status; } 2>&1 | sleep 0.5; "
        "exit $(cat status)",
        5,
        files="status",
    ),
    Case(
        "the program fills the pipe that we report to",
        "{ cmemrun sh -c 'seq 40000 >&2; exit 5'; echo $? > status; } 2>&1 | "
        "(sleep 0.5; cat > all); grep -c '^[0-9]*$' all >&2; grep 'exit 5' all >&2; "
        "exit $(cat status)",
        5,
        ("40000", "exit 5"),
        files="all status",
    ),
    Case(
        "the program closes every descriptor",
        'cmemrun "$PYTHON" -S -c \'import os, time; os.closerange(0, 1024); time.sleep(0.1); '
        "os._exit(6)'",
        6,
        ("exit 6",),
    ),
]

LACK = [
    *(
        Case(
            f"{number} descriptors",
            f"ulimit -n {number}; cmemrun -q --json json -- true",
            125,
            ("cmemrun: .*Too many open files.*; ",),
        )
        for number in (6, 7, 9, 11, 13, 15, 17)
    ),
    Case(
        "no file system of groups",
        "exec unshare -m sh -c 'mount -t tmpfs none /sys/fs/cgroup; cmemrun -- true'",
        0,
        ("LOWER BOUND", "there is no group"),
    ),
    Case(
        "no file system of groups, and one is wanted",
        "exec unshare -m sh -c 'mount -t tmpfs none /sys/fs/cgroup; "
        "cmemrun --require cgroup -- touch ran'",
        125,
        ("no memory group can be made here .*; ",),
    ),
    Case(
        "groups that are read-only",
        "exec unshare -m sh -c '" + READ_ONLY.replace("'", "'\\''") + "cmemrun -- true'",
        0,
        ("LOWER BOUND", "Read-only file system"),
    ),
    Case(
        "groups that are read-only, and one is wanted",
        "exec unshare -m sh -c '"
        + READ_ONLY.replace("'", "'\\''")
        + "cmemrun --require cgroup -- touch ran'",
        125,
        ("Read-only file system.*; ",),
    ),
    Case(
        "no /proc",
        "exec unshare -m sh -c 'mount -t tmpfs none /proc; cmemrun -- touch ran'",
        125,
        ("cannot read /proc/self/mountinfo.*; mount /proc",),
    ),
    Case("no /dev", "exec unshare -m sh -c 'mount -t tmpfs none /dev; cmemrun -q -- echo ran'", 0),
    *(
        Case(
            f"{number} tasks",
            f"cmemrun -q --pids {number} cmemrun -q -- touch ran",
            125,
            (f"cannot {what}.*; end other processes",),
        )
        for number, what in ((1, "fork"), (2, "fork"), (3, "start a thread"))
    ),
]

PROGRAMS = [
    Case("kills its launcher", "cmemrun sh -c 'kill -9 $PPID; sleep 10'", 137),
    Case("asks its launcher to end", "cmemrun sh -c 'kill $PPID; exit 7'", 7, ("exit 7",)),
    Case(
        "kills the keeper",
        "cmemrun sh -c 'for one in $(cat /proc/$PPID/task/*/children); do "
        "[ $one = $$ ] || kill -9 $one; done; sleep 0.1; exit 7'",
        7,
        ("exit 7",),
    ),
    Case(
        "kills the keeper and its launcher",
        "cmemrun sh -c 'for one in $(cat /proc/$PPID/task/*/children); do "
        "[ $one = $$ ] || kill $one; done; kill -9 $PPID; sleep 10'",
        137,
    ),
    Case(
        "kills all of its group",
        "cmemrun sh -c 'sleep 10 & kill -9 $! $$'",
        137,
        ("SIGKILL|signal 9|killed",),
    ),
    Case(
        "moves itself to another group",
        'out=$(group self); cmemrun sh -c "echo \\$\\$ > $out/cgroup.procs; exit 7"',
        7,
        ("exit 7",),
    ),
    Case(
        "moves itself out and removes its group",
        'out=$(group self); cmemrun --refresh 50ms sh -c "in=\\$(group self); '
        'echo \\$\\$ > $out/cgroup.procs; rmdir \\$in; sleep 0.3; exit 7"',
        7,
        ("exit 7", GROUP_GONE),
    ),
    Case(
        "moves itself out, removes its group and ends",
        'out=$(group self); cmemrun --refresh 10s --probe off sh -c "in=\\$(group self); '
        'echo \\$\\$ > $out/cgroup.procs; rmdir \\$in; exit 7"',
        7,
        ("exit 7", GROUP_GONE),
    ),
    Case(
        "stops itself", "cmemrun --timeout 500ms --grace 100ms sh -c 'kill -STOP $$; exit 7'", 124
    ),
    Case(
        "stops itself, and somebody continues it",
        "cmemrun sh -c '(sleep 0.3; kill -CONT $$) & kill -STOP $$; exit 7'",
        7,
        ("exit 7",),
    ),
    Case(
        "stops its launcher and the keeper",
        "(while [ ! -e all ]; do sleep 0.1; done; sleep 0.8; "
        "for one in $(cat all); do kill -CONT $one; done) & "
        'cmemrun sh -c \'all="$PPID $(cat /proc/$PPID/task/*/children)"; for one in $all; '
        "do [ $one = $$ ] || kill -STOP $one; done; echo $all > all; exit 7'; "
        "status=$?; wait; exit $status",
        7,
        ("exit 7",),
        files="all",
    ),
    Case(
        "becomes root by a setuid file",
        "install -m 4755 $(command -v setpriv) s; chmod 755 .; "
        "cmemrun --user nobody --timeout 500ms --grace 100ms -- "
        "./s --reuid 0 --clear-groups sleep 100",
        124,
        files="s",
    ),
    Case(
        "forks without end",
        'cmemrun --pids 50 --timeout 100s "$PYTHON" -S -c \''
        "\nimport os\ntry:\n  while True: os.fork()\n"
        "except OSError: os._exit(9)\n'",
        9,
        ("exit 9",),
    ),
    Case("has no process left to fork", "cmemrun --pids 1 sh -c 'true & echo'", 2, ("exit 2",)),
    Case(
        "makes many groups",
        'cmemrun sh -c \'in=$(group self); seq 300 | sed "s#^#$in/#" | '
        "xargs mkdir; cd $in; for one in 1 2 3 4 5 6 7 8; do mkdir in; cd in; done; exit 7'",
        7,
        ("exit 7",),
    ),
    Case(
        "has somebody make groups while it is removed",
        "cmemrun sh -c 'group self > in; sleep 1; exit 7' & run=$!; "
        + GROUP_STARTED
        + 'timeout 2 sh -c \'while [ -d "$0" ]; do mkdir "$0/one" "$0/one/two"; done\' "$in" '
        "2> /dev/null; wait $run",
        7,
        ("exit 7",),
        files="in",
    ),
    Case(
        "has somebody put processes into it",
        "cmemrun sh -c 'group self > in; sleep 1; exit 7' & run=$!; "
        + GROUP_STARTED
        + 'for one in 1 2 3 4 5 6 7 8 9 10; do sleep 20 & all="$all $!"; '
        'echo $! > "$in/cgroup.procs"; done 2> /dev/null; '
        "wait $run; status=$?; kill $all 2> /dev/null; exit $status",
        7,
        ("exit 7",),
        files="in",
    ),
    Case(
        "puts out what it writes to",
        "cmemrun --json json --record r sh -c 'rm -f r json; exit 7'",
        7,
        ("exit 7",),
        files="json",
    ),
    Case("is not there", "cmemrun ./nothing", 127, ("there is no program './nothing'",)),
    Case(
        "cannot be executed",
        "echo > file; cmemrun ./file",
        126,
        ("cannot execute './file'.*; ",),
        files="file",
    ),
]

LISTS = {"outputs": OUTPUTS, "streams": STREAMS, "lack": LACK, "program": PROGRAMS}
EVERY = [
    pytest.param(case, id=f"{name}: {case.name}") for name, cases in LISTS.items() for case in cases
]

GROUP = """#!/bin/sh
if [ -e /sys/fs/cgroup/memory/cgroup.procs ]
then echo /sys/fs/cgroup/memory$(sed -n 's/^[0-9]*:memory://p' /proc/$1/cgroup)
else echo /sys/fs/cgroup$(sed -n 's/^0:://p' /proc/$1/cgroup); fi
"""


@pytest.mark.parametrize("case", EVERY)
def test_a_fault(
    case: Case,
    tmp_path_factory: pytest.TempPathFactory,
    tmp_path: Path,
    record_property: Callable[[str, object], None],
) -> None:
    aids = tmp_path_factory.mktemp("aids")
    (aids / "group").write_text(GROUP)
    (aids / "group").chmod(0o755)
    path = f"{aids}:{Path(CMEMRUN).parent}:{os.environ['PATH']}"
    environment = os.environ | {"PATH": path, "PYTHON": sys.executable}
    if case.lacks:
        (aids / f"{case.lacks}.py").write_text("raise ImportError\n")
        environment |= {"PYTHONPATH": str(aids)}
    done = subprocess.run(
        ["sh", "-c", case.script],
        cwd=tmp_path,
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=PATIENCE_SECONDS,
        check=False,
    )
    said = done.stderr
    assert done.returncode == case.status, said
    assert not re.search("Traceback|Exception|a defect in cmemrun", said)
    assert re.search(".*".join(case.words), said, re.DOTALL), said
    assert {one.name for one in tmp_path.iterdir()} == set(case.files.split())
    record_property("faults", 1)


def test_a_process_that_cannot_be_killed(
    tmp_path: Path, record_property: Callable[[str, object], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """As one that hangs in a device; what v1's freezer holds dies when it is let go."""
    freezer = detect().v1("freezer")
    if freezer is None:
        pytest.skip("there is no freezer of v1")
    patience = 1.0
    monkeypatch.setattr(DirectoryGroup, "_end_seconds", patience)
    frozen = Path(freezer.point, f"cmemrun-test-{os.getpid()}")
    frozen.mkdir()
    script = (
        "sleep 100 > /dev/null 2>&1 & "
        "until grep -q sleep /proc/$!/comm; do sleep 0.01; done; "
        f"echo $! > {frozen}/cgroup.procs; echo FROZEN > {frozen}/freezer.state; "
        f"until grep -q FROZEN {frozen}/freezer.state; do sleep 0.01; done; exit 7"
    )
    started = time.monotonic()
    try:
        run = measure(["sh", "-c", script])
        took = time.monotonic() - started
        [note] = [one for one in run.method.notes if "could not be removed: what is in it" in one]
        left = Path(note.partition(" could not be removed")[0])
        assert left.is_dir()
    finally:
        (frozen / "freezer.state").write_text("THAWED")
        until("it is let go", lambda: not (frozen / "cgroup.procs").read_text())
        frozen.rmdir()
    assert run.exit.status == 7
    assert [one.command for one in run.stragglers] == [("sleep", "100")]
    assert took >= patience
    until("the keeper, which has gone on, removes it", lambda: not left.exists())
    record_property("faults", 1)


def test_what_is_done_meanwhile_may_fail(capfd: pytest.CaptureFixture[str]) -> None:
    asked = []

    def fail() -> None:
        asked.append(True)
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

    assert measure(["true"], meanwhile=fail).exit.status == 0
    assert asked and capfd.readouterr() == ("", "")
