"""A warm start gives what the real one gives, and what it leaves behind is seen as well."""

import json
import os
import re
import resource
import signal
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from cmemrun import __version__
from tests import warm
from tests.conftest import CMEMRUN, Cmemrun, groups, processes
from tests.waiting import until

pytestmark = pytest.mark.slow

Start = Callable[..., "subprocess.CompletedProcess[str]"]

# What differs from run to run: numbers, identifiers, sizes' units.
_VARYING = re.compile(r"(cmemrun-\d+-[0-9a-f]+|\d+(\.\d+)?( [KMG]iB| B\b| s\b| ms\b)?|\s)+")
_SURROUNDINGS = """
pwd; umask; ulimit -a; env | grep -v ^_= | sort; ls /proc/self/fd
for pid in self $PPID; do
  grep -E "^(Sig(Ign|Blk)|Cap|NoNew|Seccomp|Cpus_|NSsid|NSpgid)" /proc/$pid/status
  cut -d' ' -f5,6,19 /proc/$pid/stat; cat /proc/$pid/oom_score_adj /proc/$pid/cgroup /proc/$pid/comm
done
tr '\\0' '\\n' < /proc/$PPID/environ | grep . | sort; tr '\\0' '\\n' < /proc/$PPID/cmdline | grep .
readlink /proc/$PPID/cwd /proc/$PPID/exe
"""


def finished(start: Start, directory: Path, *words: str, **given: Any) -> tuple[Any, ...]:
    """All that a command line has given, without what differs from run to run."""
    given = {"capture_output": True, "cwd": directory, "errors": "surrogateescape"} | given
    (directory / "run.json").unlink(missing_ok=True)
    done = start([CMEMRUN, *words], check=False, **given)
    told = [_VARYING.sub(" # ", one or "") for one in (done.stdout, done.stderr)]
    document = directory / "run.json"
    return (
        done.returncode,
        *told,
        keys(json.loads(document.read_text())) if document.exists() else None,
    )


def keys(value: Any) -> Any:
    """A document's names; what lists hold differs from run to run."""
    return {name: keys(one) for name, one in value.items()} if isinstance(value, dict) else None


@pytest.mark.parametrize(
    "words",
    [
        ["--version"],
        ["--help"],
        ["--json", "run.json", "-q", "--", "sh", "-c", "echo out; echo err >&2; exit 3"],
        ["--json", "run.json", "-q", "--budget", "peak<=1KiB", "true"],
        ["-q", "--limit", "64Mi", "--", "sh", "-c", "kill -TERM $$"],
        ["-q", "--timeout", "100ms", "sleep", "100"],
        ["--no-such-option"],
        ["--limit", "much", "true"],
        ["--", "./no-such-program"],
        ["run"],
        ["report", "missing.json"],
        ["doctor", "--json"],
        ["--explain", "--k8s-limit", "64Mi", "true"],
        ["-q", "echo", "ünï\udcff", "\N{SNOWMAN}"],
    ],
    ids=lambda words: " ".join(words).encode("ascii", "ignore").decode(),
)
def test_a_command_line_gives_the_same_both_ways(words: Sequence[str], tmp_path: Path) -> None:
    given = [finished(start, tmp_path, *words) for start in (subprocess.run, warm.run)]
    assert given[0] == given[1]


def test_streams_are_the_same_both_ways(tmp_path: Path) -> None:
    given = []
    for start in (subprocess.run, warm.run):
        given.append([finished(start, tmp_path, "-q", "cat", input="a\r\nb\n" * 50_000)])
        given[-1].append(finished(start, tmp_path, "report", "-", input="no document"))
        with (tmp_path / "out").open("w+") as out:
            streams: dict[str, Any] = {"capture_output": False, "stdin": subprocess.DEVNULL}
            streams |= {"stdout": out, "stderr": subprocess.STDOUT}
            given[-1].append(
                finished(start, tmp_path, "-q", "sh", "-c", "echo a; echo b >&2", **streams)
            )
            out.seek(0)
            given[-1].append((_VARYING.sub(" # ", out.read()),))
        reading, writing = os.pipe()
        os.close(reading)
        streams = {"capture_output": False, "stdout": writing, "stderr": subprocess.PIPE}
        given[-1].append(finished(start, tmp_path, "--help", **streams))
        os.close(writing)
    assert given[0] == given[1]


def test_surroundings_are_the_same_both_ways(tmp_path: Path) -> None:
    environment = {"PATH": os.environ["PATH"], "LANG": "C.UTF-8", "ODD": "a\nb=\udcff"}
    for more in ({}, {"env": environment, "umask": 0o027, "cwd": "/"}):
        given: dict[str, Any] = {"cwd": tmp_path, "capture_output": True, "check": True} | more
        seen = [
            start([CMEMRUN, "-q", "sh", "-c", _SURROUNDINGS], errors="surrogateescape", **given)
            for start in (subprocess.run, warm.run)
        ]
        assert _without_runs(seen[0].stdout) == _without_runs(seen[1].stdout)


def _without_runs(text: str) -> list[str]:
    return re.sub(r"cmemrun-\d+-[0-9a-f]+", "#", text).splitlines()


def starter(**given: Any) -> int:
    """The process that has started the launcher."""
    script = "cut -d' ' -f4 /proc/$PPID/stat"
    done = warm.run(
        [CMEMRUN, "-q", "sh", "-c", script], capture_output=True, text=True, check=True, **given
    )
    return int(done.stdout)


def test_what_a_fork_cannot_have_gets_the_real_start(monkeypatch: pytest.MonkeyPatch) -> None:
    assert starter() == starter() != os.getpid()
    assert starter(env=os.environ | {"PYTHONUTF8": "1"}) == os.getpid()
    assert starter(env=os.environ | {"LC_ALL": "C"}) == os.getpid()
    assert starter(preexec_fn=os.setsid) == os.getpid()
    assert starter(env=os.environ | {"LONG": "x" * 100_000}) == os.getpid()
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft - 1, hard))
    try:
        assert starter() == os.getpid()
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGUSR1})
    try:
        assert starter() == os.getpid()
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
    assert starter() != os.getpid()


def test_what_goes_wrong_is_told_as_by_subprocess() -> None:
    assert warm.run([CMEMRUN, "-q", "sh", "-c", "kill -9 $PPID"]).returncode == -signal.SIGKILL
    with pytest.raises(subprocess.TimeoutExpired):
        warm.run([CMEMRUN, "-q", "sleep", "100"], timeout=0.2)
    with pytest.raises(FileNotFoundError):
        warm.run([CMEMRUN, "-q", "true"], cwd="/there/is/none")
    with pytest.raises(subprocess.CalledProcessError):
        warm.run([CMEMRUN, "-q", "false"], check=True)


@pytest.mark.parametrize("launcher", ["ends", "is killed"])
def test_a_fork_that_stays_behind_is_seen(launcher: str, mark: str) -> None:
    program = "pkill -STOP -x -P $PPID memkeeper"
    if launcher == "is killed":
        program += "; kill -9 $PPID; sleep 100"
    warm.run([CMEMRUN, "-q", "sh", "-c", program])
    left = processes(mark)
    try:
        # The cleanup process is a fork of a fork, and has never executed anything.
        stayed = [pid for pid in left if Path(f"/proc/{pid}/comm").read_text() == "memkeeper\n"]
        assert len(stayed) == 1
        assert launcher == "ends" or groups()
    finally:
        for pid in left:
            os.kill(pid, signal.SIGCONT)
    until("all has gone", lambda: not groups() and not processes(mark))


def test_the_server_ends_with_who_has_started_it() -> None:
    code = f"""
import os, signal, sys
sys.path.insert(0, {str(Path(__file__).parents[1])!r})
from tests import warm
with warm.serving({CMEMRUN!r}):
    warm.run([{CMEMRUN!r}, "-q", "sh", "-c", "cut -d' ' -f4 /proc/$PPID/stat"])
    os.kill(os.getpid(), signal.SIGKILL)
"""
    done = subprocess.run([sys.executable, "-c", code], stdout=subprocess.PIPE, check=False)
    assert done.returncode == -signal.SIGKILL
    until("the server has ended", lambda: not Path("/proc", done.stdout.decode().strip()).exists())


def test_the_installed_command_starts(installed_cmemrun: Cmemrun) -> None:
    assert installed_cmemrun("true").status == 0
    assert installed_cmemrun("-q", "sh", "-c", "exit 3").status == 3
    assert installed_cmemrun("-q", "cat", input="in").stdout == "in"
    assert installed_cmemrun("--version", document=False).stdout == f"cmemrun {__version__}\n"
    script = "cut -d' ' -f4 /proc/$PPID/stat"
    assert int(installed_cmemrun("-q", "sh", "-c", script).stdout) == os.getpid()


def test_the_module_starts() -> None:
    command = [sys.executable, "-m", "cmemrun", "-q", "sh", "-c", "exit 3"]
    assert subprocess.run(command, check=False).returncode == 3
