"""The command line, as a user has it: options, exit status, streams, what the program sees."""

import json
import os
import re
import resource
import signal
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from cmemrun import __version__
from tests.conftest import CMEMRUN, needs_strace
from tests.gate import closed_gate
from tests.processes import catches, has_taken_signals, waits_in
from tests.running import call_cmemrun
from tests.waiting import PATIENCE_SECONDS, until

Cmemrun = Callable[..., Any]
SEEN = "import json, os, sys; json.dump({}, sys.stdout)"


def make_program(directory: Path, name: str, text: str = "#!/bin/sh\necho me $0 $*\n") -> Path:
    path = directory / name
    path.write_text(text)
    path.chmod(0o755)
    return path


def test_running_is_the_default_verb(cmemrun: Cmemrun) -> None:
    for verb in ([], ["run"], ["run", "--"], ["--"]):
        # Options come after the verb, which only the very first word can be.
        done = call_cmemrun(*verb, "echo", "--limit", "x", check=True)
        assert done.stdout == "--limit x\n"


def test_a_program_called_as_a_verb(
    cmemrun: Cmemrun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = make_program(tmp_path, "run")
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    done = call_cmemrun("--", "run", "x", check=True)
    assert done.stdout == f"me {program} x\n"
    done = call_cmemrun("-q", "run", check=True)
    assert done.stdout == f"me {program}\n"
    # The verb itself fails on its arguments, and says how to run the program.
    for arguments in (["run"], ["run", "--refresh"]):
        done = call_cmemrun(*arguments)
        assert done.returncode == 125
        assert done.stderr.count("\n") == 1
        assert "cmemrun -- run" in done.stderr


def test_version() -> None:
    done = call_cmemrun("--version", check=True)
    assert done.stdout == f"cmemrun {__version__}\n"


@pytest.mark.parametrize(
    ("arguments", "names"),
    [
        (["--refresh", "12"], ["--refresh", "'12'", "400ms"]),
        (["--refresh", "1us"], ["--refresh", "'1us'", "400ms"]),
        (["--refresh", "-1s"], ["--refresh", "'-1s'", "400ms"]),
        (["--probe", "often"], ["--probe", "'often'", "400ms"]),
        (["--limit", "512m"], ["--limit", "'512m'", "512Mi"]),
        (["--limit", "0"], ["--limit", "'0'", "512Mi"]),
        (["--max-peak", "lots"], ["--max-peak", "'lots'", "512Mi"]),
        (["--timeout", "soon"], ["--timeout", "'soon'", "400ms"]),
        (["--timeout", "99999999999h"], ["--timeout", "99999999999h", "400ms"]),
        (["--limit", "100"], ["--limit", "100", "512Mi"]),
        (["--grace", "5"], ["--grace", "'5'", "400ms"]),
        (["--linger", "maybe"], ["--linger", "'maybe'", "wait"]),
        (["--parent", "mine"], ["--parent", "'mine'", "/sys/fs/cgroup/mine"]),
        (["--parent", "/no/such"], ["--parent", "no/such", "/sys/fs/cgroup/mine"]),
        (["--refersh", "1s"], ["--refersh", "--refresh"]),
        (["--json", "/no/such/dir/x"], ["--json", "/no/such/dir/x", "No such file"]),
        (["--output", "/"], ["--output", "'/'", "directory"]),
        (["--json", "a", "-o", "./a"], ["--json", "--output", "'a'"]),
        (["--json", "a", "--record", "a"], ["--json", "--record", "'a'"]),
        (["--set", "cgroup.procs=1"], ["--set", "cgroup.procs"]),
        (["--set", "../memory.max=1"], ["--set", "no file of a controller's"]),
        (["--set", "memory.max"], ["--set", "sets nothing"]),
        (["--pids", "0"], ["--pids", "no number of processes"]),
        (["--oom-score-adj", "1001"], ["--oom-score-adj", "-1000 and 1000"]),
        (["--swap", "12g"], ["--swap", "ambiguous"]),
    ],
)
def test_bad_values_get_one_line(tmp_path: Path, arguments: list[str], names: list[str]) -> None:
    ran = tmp_path / "ran"
    done = call_cmemrun(*arguments, "--", "touch", str(ran), cwd=tmp_path)
    assert done.returncode == 125
    assert done.stdout == ""
    assert done.stderr.count("\n") == 1 and done.stderr.startswith("cmemrun: "), done.stderr
    for name in names:
        assert name in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_no_program_at_all() -> None:
    done = call_cmemrun()
    assert done.returncode == 125 and done.stderr.count("\n") == 1
    done = call_cmemrun("--", "")
    assert done.returncode == 127 and done.stderr.count("\n") == 1


def test_exit_status(cmemrun: Cmemrun, tmp_path: Path) -> None:
    assert cmemrun("true").status == 0
    failing = cmemrun("sh", "-c", "exit 42")
    assert failing.status == 42
    assert failing["exit"] == {"status": 42, "code": 42, "signal": None, "timed_out": False}
    for name in ("KILL", "TERM", "SEGV", "PIPE", "INT", "QUIT", "RTMIN"):
        number = signal.SIGRTMIN if name == "RTMIN" else signal.Signals[f"SIG{name}"]
        ended = cmemrun("sh", "-c", f"ulimit -c 0; kill -{name} $$")
        assert ended.status == 128 + number
        assert ended["exit"]["signal"] == number
        assert ended["events"]["oom_kill"] == 0
    # Nothing is made of a program that says so itself.
    assert cmemrun("sh", "-c", "exit 137")["exit"]["signal"] is None


def test_what_cannot_be_executed(cmemrun: Cmemrun, tmp_path: Path) -> None:
    plain = make_program(tmp_path, "plain")
    plain.chmod(0o644)
    binary = make_program(tmp_path, "binary", "\x00\x01\x02")
    orphan = make_program(tmp_path, "orphan", "#!/no/such/interpreter\n")
    below_a_file = plain / "x"
    for path, status, reason in (
        (plain, 126, "Permission denied"),
        (tmp_path, 126, "directory"),
        (binary, 126, "Exec format error"),
        (orphan, 126, "interpreter"),
        (tmp_path / "missing", 127, "No such file"),
        (below_a_file, 127, "Not a directory"),
    ):
        done = cmemrun(str(path))
        assert done.status == status, (path, done.stderr)
        assert str(path) in done.stderr and reason in done.stderr
        assert done.document is None
        assert done.stderr.count("\n") == 1
    done = cmemrun("cmemrun-no-such-program")
    assert done.status == 127 and "'cmemrun-no-such-program'" in done.stderr


def test_path_is_searched_as_execvp_does(
    cmemrun: Cmemrun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
    blocked = make_program(tmp_path / "a", "tool")
    blocked.chmod(0o644)
    monkeypatch.setenv("PATH", f"{tmp_path}/missing:{tmp_path}/a:{tmp_path}/b:{os.environ['PATH']}")
    assert cmemrun("tool").status == 126
    make_program(tmp_path / "b", "tool")
    assert cmemrun("tool", "x").stdout == f"me {tmp_path}/b/tool x\n"
    # A bad interpreter early on the way does not end it either.
    make_program(tmp_path / "a", "tool", "#!/no/such/interpreter\n")
    assert cmemrun("tool", "x").stdout == f"me {tmp_path}/b/tool x\n"
    (tmp_path / "b/tool").unlink()
    refused = cmemrun("tool")
    assert refused.status == 126 and f"{tmp_path}/a/tool" in refused.stderr
    # A script that does not say whose it is goes to /bin/sh, as from every shell.
    make_program(tmp_path / "b", "tool", "echo plain $1\n")
    assert cmemrun("tool", "x").stdout == "plain x\n"


def test_the_program_has_our_surroundings(cmemrun: Cmemrun, tmp_path: Path) -> None:
    script = """
import os, sys, json
umask = os.umask(0)
json.dump({
    "cwd": os.getcwd(), "pgrp": os.getpgrp(), "sid": os.getsid(0), "umask": umask,
    "environ": sorted(open("/proc/self/environ").read().split("\\0")),
    "limits": open("/proc/self/limits").read(),
    "fds": sorted(os.listdir("/proc/self/fd")), "argv": sys.argv,
    "nice": os.nice(0), "oom": open("/proc/self/oom_score_adj").read(),
}, sys.stdout)
"""

    def seen(*prefix: str, code: str, **more: Any) -> Any:
        done = subprocess.run(
            [*prefix, sys.executable, "-I", "-c", code, "a b", ""],
            capture_output=True,
            text=True,
            check=True,
            cwd=tmp_path,
            env={"PATH": os.environ["PATH"], "ODD": "a\nb", "LC_ALL": "", "LANG": "C"}
            | {key: value for key, value in os.environ.items() if key.startswith("CMEMRUN")},
            umask=0o027,
            **more,
        )
        return done.stdout

    held = os.open(os.devnull, os.O_RDONLY)
    for more in ({}, {"pass_fds": (held,)}):
        bare = json.loads(seen(code=script, **more))
        under = json.loads(seen(CMEMRUN, "-q", "--", code=script, **more))
        assert bare == under
    os.close(held)
    # Python itself ignores SIGPIPE and SIGXFSZ; so ask something else.
    bare, under = (
        subprocess.run(
            [*prefix, "grep", "^Sig", "/proc/self/status"],
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for prefix in ([], [CMEMRUN, "-q"])
    )
    assert re.sub(r"SigQ.*\n", "", bare) == re.sub(r"SigQ.*\n", "", under)


@pytest.mark.parametrize("ignored", ["HUP", "INT", "CHLD", "TERM"])
def test_ignored_signals_stay_ignored(ignored: str) -> None:
    script = f"trap '' {ignored}; exec \"$@\""
    command = ["grep", "^SigIgn", "/proc/self/status"]
    bare = subprocess.run(
        ["sh", "-c", script, "sh", *command], capture_output=True, text=True, check=True
    )
    under = subprocess.run(
        ["sh", "-c", script, "sh", CMEMRUN, "-q", *command],
        capture_output=True,
        text=True,
        check=True,
    )
    assert under.stdout == bare.stdout
    done = subprocess.run(
        ["sh", "-c", script, "sh", CMEMRUN, "-q", "sh", "-c", "exit 9"], check=False
    )
    assert done.returncode == 9


@pytest.mark.parametrize("repeats", [(), ("--runs", "2", "--quiet")])
@pytest.mark.parametrize("interrupts", [0, 1, 2])
def test_ctrl_c_loses_no_report(repeats: tuple[str, ...], interrupts: int) -> None:
    """It comes while the report is written; only the one after it ends us."""
    # A pipe that is full until somebody reads it.
    code = """
import os
os.set_blocking(1, False)
try:
    while os.write(1, b"x"):
        pass
except BlockingIOError:
    os.set_blocking(1, True)
"""
    program = [sys.executable, "-S", "-E", "-c", code]
    with subprocess.Popen(
        [CMEMRUN, "-q", *repeats, "--json", "-", "--", *program], stdout=subprocess.PIPE
    ) as run:
        assert run.stdout is not None
        until("it writes to a full pipe", lambda: waits_in(run.pid, "pipe_write"))
        for _ in range(interrupts):
            run.send_signal(signal.SIGINT)
            until("it has come", lambda: not catches(run.pid, signal.SIGINT))
        if interrupts == 2:
            run.wait(PATIENCE_SECONDS)
        told = run.stdout.read().lstrip(b"x")
    # As without us, a loop of the shell ends with it.
    assert run.wait() == (-signal.SIGINT if interrupts else 0)
    assert json.loads(told) if interrupts < 2 else not told


@pytest.mark.parametrize(
    "signum", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT, signal.SIGQUIT, signal.SIGUSR1,
               signal.SIGUSR2, signal.SIGWINCH],
)  # fmt: skip
def test_signals_to_us_reach_the_program(signum: signal.Signals) -> None:
    name = signum.name.removeprefix("SIG")
    script = f"trap 'echo got {name}; exit 5' {name}; echo ready; while :; do sleep 0.05; done"
    with subprocess.Popen(
        [CMEMRUN, "-q", "sh", "-c", script], stdout=subprocess.PIPE, text=True
    ) as run:
        assert run.stdout is not None
        assert run.stdout.readline() == "ready\n"
        run.send_signal(signum)
        assert run.stdout.read() == f"got {name}\n"
        assert run.wait(PATIENCE_SECONDS) == 5


def test_what_the_programs_own_family_sends_is_not_sent_twice(tmp_path: Path) -> None:
    seen, sent = tmp_path / "seen", tmp_path / "sent"
    for prefix in ([], [CMEMRUN, "-q"]):
        seen.write_text("")
        sent.unlink(missing_ok=True)
        with closed_gate(tmp_path / "gate") as gate:
            # The sender stays for a moment: of one that has gone nobody can tell whose it was.
            sender = f"trap : USR1; kill -USR1 0; touch {sent}; {gate.shell}"
            script = f"trap 'echo usr1 >> {seen}' USR1; bash -c '{sender}'; :"
            with subprocess.Popen([*prefix, "bash", "-c", script], start_new_session=True) as run:
                until("it is sent", sent.exists)
                if prefix:
                    until("cmemrun has taken it", lambda: has_taken_signals(run.pid))
                gate.open()
        assert seen.read_text() == "usr1\n"


def test_a_defect_is_not_taken_for_the_programs_failure() -> None:
    code = (
        "import sys; from cmemrun.commands import main;"
        "sys.modules['cmemrun.commands.measuring'].measure = lambda *a, **k: 1 / 0;"
        "sys.exit(main(['true']))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 125
    assert done.stderr.count("\n") == 1 and "ZeroDivisionError" in done.stderr


def test_a_nameless_entry_of_the_environment(cmemrun: Cmemrun) -> None:
    done = subprocess.run(
        ["env", "--", "=x", CMEMRUN, "-q", "echo", "hi"], capture_output=True, check=False
    )
    assert (done.returncode, done.stdout) == (0, b"hi\n")


def test_a_stop_and_a_continue_without_a_terminal(cmemrun: Cmemrun) -> None:
    # Continued once it is stopped, and cmemrun ($PPID) has heard of it.
    is_stopped = "grep -q '^State:.T' /proc/$$/status"
    is_heard_of = "grep -q '^ShdPnd:.0*$' /proc/$PPID/status"
    wait = f"until {is_stopped} && {is_heard_of}; do :; done"
    script = f"({wait}; kill -CONT $$) & kill -STOP $$; wait; echo continued"
    done = cmemrun("setsid", "-w", "sh", "-c", script)
    assert done.stdout == "continued\n" and done.status == 0


@pytest.mark.parametrize("closed", [">&-", "2>&-", "<&-", ">&- 2>&- <&-"])
def test_closed_streams_stay_closed(closed: str, tmp_path: Path) -> None:
    seen = tmp_path / "seen"
    script = f'{CMEMRUN} --json {tmp_path}/j sh -c "ls /proc/self/fd > {seen}" {closed}'
    bare = subprocess.run(["sh", "-c", f'sh -c "ls /proc/self/fd > {seen}" {closed}'], check=False)
    expected = seen.read_text()
    under = subprocess.run(["sh", "-c", script], check=False)
    assert under.returncode == bare.returncode
    assert seen.read_text() == expected
    assert json.loads((tmp_path / "j").read_text())["peak_bytes"] > 0


def test_streams_are_the_programs_own(cmemrun: Cmemrun) -> None:
    done = cmemrun("-q", "sh", "-c", "cat; echo err >&2", stdin=None, input="through\n")
    assert (done.stdout, done.stderr) == ("through\n", "err\n")
    loud = cmemrun("sh", "-c", "echo out")
    assert loud.stdout == "out\n" and "peak" in loud.stderr


def test_a_pipeline_ends_as_without_us() -> None:
    done = subprocess.run(
        ["bash", "-c", f"{CMEMRUN} -q yes | head -n 1; echo ${{PIPESTATUS[0]}}"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == "y\n141\n"


def test_where_the_report_goes(cmemrun: Cmemrun, tmp_path: Path) -> None:
    report = tmp_path / "report.txt"
    done = cmemrun("-o", str(report), "echo", "hi")
    assert done.stderr == "" and done.stdout == "hi\n"
    assert report.read_text().startswith("cmemrun ")
    done = cmemrun("-o", "-", "echo", "hi")
    assert done.stdout.startswith("hi\ncmemrun ")
    done = cmemrun("--json", "-", "-q", "echo", "hi", document=False)
    first, rest = done.stdout.split("\n", 1)
    assert first == "hi" and json.loads(rest)["command"] == ["echo", "hi"]


def test_debug_tells_what_was_tried(cmemrun: Cmemrun) -> None:
    text = cmemrun("--debug", "-q", "true").stderr
    assert re.search(r"cmemrun: debug \d+ ms cmemrun.backends way=v[12] group=/", text)
    assert "attached pid=" in text and "gone=True" in text


def test_a_parent_of_ones_own(cmemrun: Cmemrun) -> None:
    own = Path(cmemrun("true")["method"]["group"]).parent
    mine = own / f"cmemrun-test-{os.getpid()}"
    mine.mkdir()
    try:
        run = cmemrun("--parent", str(mine), "true")
        assert Path(run["method"]["group"]).parent == mine
        refused = cmemrun("--parent", "/sys/fs/cgroup/pids", "true")
        if Path("/sys/fs/cgroup/pids").exists():
            assert refused.status == 125 and "memory controller" in refused.stderr
    finally:
        mine.rmdir()


def test_broken_budgets_and_failing_programs(cmemrun: Cmemrun) -> None:
    assert cmemrun("--max-peak", "1k", "true").status == 123
    failing = cmemrun("--max-peak", "1k", "sh", "-c", "exit 3")
    assert failing.status == 3 and "over the allowed" in failing.stderr
    quiet = cmemrun("-q", "--max-peak", "1k", "true")
    assert quiet.stderr.count("\n") == 1 and "margin -" in quiet.stderr


def test_the_group_is_named_so_that_nobody_can_guess_it(cmemrun: Cmemrun) -> None:
    names = {Path(cmemrun("true")["method"]["group"]).name for _ in range(3)}
    assert len(names) == 3
    assert all(re.fullmatch(r"cmemrun-\d+-[0-9a-f]{12}", name) for name in names)


@needs_strace
def test_descriptors_are_not_closed_one_by_one_when_many_are_allowed(tmp_path: Path) -> None:
    _, highest = resource.getrlimit(resource.RLIMIT_NOFILE)
    trace = tmp_path / "trace"
    closed = []
    for files in (256, highest):
        subprocess.run(
            ["strace", "-f", "-e", "trace=close", "-o", trace, CMEMRUN, "-q", "true"],
            check=True,
            preexec_fn=partial(resource.setrlimit, resource.RLIMIT_NOFILE, (files, highest)),
        )
        closed.append(trace.read_text().count(" close("))
    few, many = closed
    assert abs(many - few) < 100
