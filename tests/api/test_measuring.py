"""What goes in, what comes out, and what is raised."""

import dataclasses
import errno
import os
import pickle
import signal
import subprocess
import sys
import threading
import warnings
from pathlib import Path
from typing import Any

import pytest

import cmemrun
from cmemrun import Limits, model
from cmemrun.api.streams import open_streams
from tests.api.conftest import MIB, load

pytestmark = pytest.mark.usefixtures("nothing_left")


def test_the_numbers_of_a_run() -> None:
    run = cmemrun.measure(
        load("anon", "32"),
        refresh=0.1,
        limits=Limits(max="512Mi"),
        assertions=["anon<=150Mi", "peak<=16Mi", "oom_kill=0"],
    )
    assert isinstance(run, cmemrun.Run)
    assert 32 * MIB <= run.peak_bytes < 48 * MIB
    assert run.at_peak.anon_bytes is not None and run.at_peak.anon_bytes >= 32 * MIB
    assert (run.oom.verdict, run.exit.status) == ("none", 0)
    assert run.limits.max_bytes == 512 * MIB
    assert run.method.refresh_seconds == 0.1
    assert [budget.passed for budget in run.budgets] == [True, False, True]
    assert (run.stdout, run.stderr) == (None, None)


def test_a_limit_that_is_too_low_is_a_verdict_and_no_error() -> None:
    run = cmemrun.measure(load("anon", "64"), limits=Limits(max=32 * MIB, swap=0))
    assert run.oom.verdict == "main-killed" and run.exit.signal == 9


def test_how_it_ended() -> None:
    assert cmemrun.measure(["sh", "-c", "exit 7"]).exit.status == 7
    run = cmemrun.measure(["sleep", "1000"], timeout="200ms", grace=1)
    assert run.exit.timed_out and run.exit.status == 124


def test_where_and_with_what_it_runs(tmp_path: Path) -> None:
    script = tmp_path / "program"
    script.write_text("#!/bin/sh\npwd; env; echo aside >&2\n")
    script.chmod(0o755)
    run = cmemrun.measure(["./program"], cwd=tmp_path, env={"A": "1"}, capture_output=True)
    assert run.stdout is not None and run.stderr == "aside\n"
    assert run.stdout.splitlines()[0] == str(tmp_path)
    assert "A=1" in run.stdout and "HOME=" not in run.stdout


def test_paths_are_words_too(tmp_path: Path) -> None:
    assert cmemrun.measure([Path("/bin/ls"), tmp_path], stdout=subprocess.DEVNULL).command == (
        "/bin/ls",
        str(tmp_path),
    )


@pytest.mark.parametrize(
    ("error", "command", "options"),
    [
        (cmemrun.ProgramNotFound, ["no-such-program"], {}),
        (cmemrun.ProgramNotFound, ["./no-such-program"], {"cwd": "/tmp"}),
        (cmemrun.ProgramNotExecutable, ["/etc/passwd"], {}),
        (cmemrun.BadInput, [], {}),
        (cmemrun.BadInput, "ls -l", {}),
        (cmemrun.BadInput, ["true"], {"refresh": "5"}),
        (cmemrun.BadInput, ["true"], {"refresh": 0}),
        (cmemrun.BadInput, ["true"], {"refresh": float("nan")}),
        (cmemrun.BadInput, ["true"], {"timeout": -1}),
        (cmemrun.BadInput, ["true"], {"grace": float("inf")}),
        (cmemrun.BadInput, ["true"], {"limits": Limits(max="12K")}),
        (cmemrun.BadInput, ["true"], {"limits": Limits(max=0)}),
        (cmemrun.BadInput, ["true"], {"limits": Limits(high=-1)}),
        (cmemrun.BadInput, ["true"], {"limits": Limits(pids="many")}),
        (cmemrun.BadInput, ["true"], {"limits": Limits(pids=0)}),
        (cmemrun.BadInput, ["true"], {"limits": Limits(oom_score_adj=1001)}),
        # Each of these has looked like a limit, and been none.
        (cmemrun.BadInput, ["true"], {"limits": Limits(max=64.0 * MIB)}),  # type: ignore[arg-type]
        (cmemrun.BadInput, ["true"], {"limits": Limits(swap=0.0)}),  # type: ignore[arg-type]
        (cmemrun.BadInput, ["true"], {"limits": Limits(high=True)}),
        (cmemrun.BadInput, ["true"], {"limits": Limits(pids=2.5)}),  # type: ignore[arg-type]
        (cmemrun.BadInput, ["true"], {"require": "exakt"}),
        (cmemrun.BadInput, ["true"], {"backend": "v3"}),
        (cmemrun.BadInput, ["true"], {"timeout": 1e10}),
        (cmemrun.BadInput, ["true"], {"assertions": ["annon<=1Mi"]}),
        (cmemrun.BadInput, ["true"], {"user": "nobody-of-this-name"}),
        (cmemrun.BadInput, ["true"], {"env": {"A=": "1"}}),
        (cmemrun.BadInput, ["true"], {"env": {"A": "1\0"}}),
        (cmemrun.BadInput, ["true"], {"cwd": "/no/such/directory"}),
        (cmemrun.BadInput, ["true"], {"stdout": subprocess.PIPE}),
        (cmemrun.BadInput, ["true"], {"stdout": subprocess.STDOUT}),
        (cmemrun.BadInput, ["true"], {"stdin": 999}),
        (cmemrun.BadInput, ["true"], {"stdout": 1, "capture_output": True}),
        (cmemrun.NoGroup, ["true"], {"backend": "proc", "require": "cgroup"}),
        (TypeError, ["true"], {"nonsense": 1}),
    ],
)
def test_what_cannot_be_is_raised(error: type[Exception], command: Any, options: Any) -> None:
    with pytest.raises(error):
        cmemrun.measure(command, **options)


def test_assertions_are_not_taken_letter_by_letter() -> None:
    with pytest.raises(cmemrun.BadInput, match="a list of texts is wanted"):
        cmemrun.measure(["true"], assertions="oom_kill=0")


def test_limits_in_the_kernel() -> None:
    wanted = Limits(max="64Mi", pids=20, low="max", oom_score_adj=500)
    run = cmemrun.measure(["cat", "/proc/self/oom_score_adj"], limits=wanted, capture_output=True)
    assert (run.limits.max_bytes, run.limits.pids_max) == (64 * MIB, 20)
    assert run.limits.low_bytes is cmemrun.UNLIMITED
    assert run.stdout == "500\n"


def test_limits_are_a_value() -> None:
    assert Limits(max=1) == Limits(max=1) and {Limits(max=1)}
    with pytest.raises(dataclasses.FrozenInstanceError):
        Limits().max = 1  # type: ignore[misc]


def test_another_user() -> None:
    run = cmemrun.measure(["id", "-un"], user="nobody", capture_output=True)
    assert run.stdout == "nobody\n" and run.user == "nobody"


def test_another_users_environment() -> None:
    run = cmemrun.measure(["env"], user="nobody", capture_output=True)
    assert run.stdout is not None and "LOGNAME=nobody\n" in run.stdout
    given = cmemrun.measure(["/usr/bin/env"], user="nobody", env={"A": "1"}, capture_output=True)
    assert given.stdout == "A=1\n"


def test_another_user_can_open_the_streams() -> None:
    script = "echo out > /dev/stdout; echo err > /dev/stderr"
    run = cmemrun.measure(["sh", "-c", script], user="nobody", capture_output=True)
    assert (run.stdout, run.stderr) == ("out\n", "err\n")


def test_a_nameless_entry_in_the_callers_environment() -> None:
    """Some shells leave one, and Python cannot pass it on."""
    code = """
import cmemrun, os
assert "" in os.environ
run = cmemrun.measure(["/usr/bin/env"], capture_output=True)
assert "A=1" in run.stdout and "=foo" not in run.stdout.splitlines()
"""
    environment = os.environ | {"": "foo", "A": "1"}
    subprocess.run([sys.executable, "-c", code], check=True, env=environment)


def test_a_python_built_for_older_kernels(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(os, "pidfd_open")
    assert cmemrun.measure(["sh", "-c", "sleep 0.1; exit 3"]).exit.status == 3


@pytest.mark.parametrize("forks", [0, 1])
def test_a_machine_that_is_full_of_processes(forks: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first fork is the program's, the second the keeper's."""
    fork, left = os.fork, [None] * forks

    def refuse() -> int:
        if left:
            left.pop()
            return fork()
        raise BlockingIOError(errno.EAGAIN, os.strerror(errno.EAGAIN))

    monkeypatch.setattr(os, "fork", refuse)
    with pytest.raises(cmemrun.CmemrunError, match="cannot fork: Resource temporarily"):
        cmemrun.measure(["true"], capture_output=True)


def test_a_machine_that_is_full_of_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", refuse)
    with pytest.raises(cmemrun.CmemrunError, match="can't start new thread"):  # noqa: SIM117
        with open_streams(None, None, None, capture_output=True):
            pass


def test_streams_as_given(tmp_path: Path) -> None:
    source, sink = tmp_path / "in", tmp_path / "out"
    source.write_text("given\n")
    with source.open() as stdin, sink.open("w") as stdout:
        run = cmemrun.measure(
            ["sh", "-c", "cat; echo aside >&2"],
            stdin=stdin,
            stdout=stdout,
            stderr=subprocess.STDOUT,
        )
    assert sink.read_text() == "given\naside\n" and run.stdout is None


def test_streams_that_change_places(capfd: pytest.CaptureFixture[str]) -> None:
    cmemrun.measure(["sh", "-c", "echo out; echo err >&2"], stdout=2, stderr=1)
    assert capfd.readouterr() == ("err\n", "out\n")


def test_the_callers_own_streams(capfd: pytest.CaptureFixture[str]) -> None:
    cmemrun.measure(["sh", "-c", "echo out; echo err >&2"])
    assert capfd.readouterr() == ("out\n", "err\n")


def test_streams_that_the_caller_has_closed() -> None:
    code = """
import os, subprocess, sys
for fd in (0, 1, 2):
    os.close(fd)
import cmemrun
run = cmemrun.measure(["sh", "-c", "cat; echo out; echo err >&2"],
                      stdin=subprocess.DEVNULL, capture_output=True)
try:
    cmemrun.measure(["no-such-program"], stdin=subprocess.DEVNULL)
except cmemrun.ProgramNotFound:
    sys.exit(42 if (run.stdout, run.stderr) == ("out\\n", "err\\n") else 1)
"""
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 42


def test_much_output_is_read_and_not_charged() -> None:
    program = "head -c 67108864 /dev/zero | tr '\\0' x; printf '\\377' >&2"
    run = cmemrun.measure(["sh", "-c", program], capture_output=True)
    assert run.stdout == "x" * 64 * MIB and run.stderr == "\\xff"
    assert run.peak_bytes < 8 * MIB


def test_whoever_has_left_the_group_does_not_keep_us(tmp_path: Path) -> None:
    # In the group that we are in ourselves, and with the program's pipes still open.
    leave = "".join(f"echo $$ > {directory}/cgroup.procs; " for directory in _own_groups())
    told = tmp_path / "pid"
    program = (
        f"(sh -c '{leave} echo $$ > {told}; exec sleep 1000') &"
        f" while ! test -s {told}; do sleep 0.01; done"
    )
    run = cmemrun.measure(["sh", "-c", program], capture_output=True)
    # It is still there, or this would raise.
    os.kill(int(told.read_text()), signal.SIGKILL)
    assert run.exit.succeeded


def _own_groups() -> list[str]:
    from cmemrun.kernel.hierarchy import detect

    hierarchy = detect()
    found = [hierarchy.own_group(mount) for mount in hierarchy.mounts]
    return [one for one in found if one and os.access(f"{one}/cgroup.procs", os.W_OK)]


def test_a_run_shows_itself_and_travels() -> None:
    run = cmemrun.measure(["sh", "-c", ": '\x1b[31m<b>&'"])
    assert "\x1b" not in str(run) + repr(run)
    assert str(run).startswith("cmemrun ") and "high-water mark" in str(run)
    assert repr(run).startswith("<Run sh -c") and len(repr(run)) < 200
    again = pickle.loads(pickle.dumps(run))  # noqa: S301
    assert again == run and isinstance(again, cmemrun.Run)
    assert isinstance(run._replace(user="x"), cmemrun.Run)
    assert isinstance(run, model.Run)


def test_everything_public_is_there_and_loads_late() -> None:
    for name in cmemrun.__all__:
        assert getattr(cmemrun, name) is not None
    assert set(cmemrun.__all__) <= set(dir(cmemrun))
    with pytest.raises(AttributeError):
        cmemrun.nonsense  # type: ignore[attr-defined]  # noqa: B018
    code = "import sys, cmemrun; print(*sys.modules)"
    loaded = subprocess.check_output([sys.executable, "-c", code], text=True).split()
    assert "cmemrun" in loaded and not [name for name in loaded if name.startswith("cmemrun.")]


def test_no_warning_of_its_own() -> None:
    # Since Python 3.12 a fork beside threads warns, and threads are what we use.
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        cmemrun.measure(["true"])
    assert not caught
