"""Groups that others made, watched on every kernel: nothing in them is changed by that."""

import contextlib
import json
import os
import re
import signal
import subprocess
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import psutil
import pytest

from cmemrun.backends import tree
from cmemrun.kernel.hierarchy import detect
from tests.cgroups import limit_group, made_group, make_group
from tests.conftest import CMEMRUN, Cmemrun, hierarchy_of_memory
from tests.kernels.kernel import WITHOUT_KMSG, linux
from tests.loads import LOAD, LOADS, MIB, Hold, samples_of
from tests.waiting import until

HAS_PRESSURE = os.path.exists("/proc/pressure/memory")


@pytest.fixture
def group() -> Iterator[str]:
    """A group of somebody's, as a service or a container has one."""
    with made_group(f"docker-{'ab12' * 16}.scope") as path:
        yield path


def start(group: str, *load: str) -> "subprocess.Popen[bytes]":
    """A load in the group, from its first page on."""
    code = 'echo $$ > $0/cgroup.procs; exec "$@"'
    process = subprocess.Popen(["sh", "-c", code, group, *LOAD, *load])
    procs = Path(group, "cgroup.procs")
    until("it is in its group", lambda: str(process.pid) in procs.read_text().split())
    return process


def end(*processes: "subprocess.Popen[bytes]") -> None:
    for process in processes:
        process.kill()
        process.wait()


def files(group: str) -> dict[str, str]:
    """What somebody may have set in it."""
    settings = ("memory.max", "memory.high", "memory.limit_in_bytes", "cgroup.subtree_control")
    return {name: Path(group, name).read_text() for name in settings if Path(group, name).exists()}


def wait_until_it_watches(watching: "subprocess.Popen[str]") -> None:
    """That is when the sampler's thread is there, after the first sample."""
    process = psutil.Process(watching.pid)
    until("it watches", lambda: watching.poll() is not None or process.num_threads() > 1)
    assert watching.poll() is None


def test_a_group_until_it_is_empty(group: str, tmp_path: Path) -> None:
    before = files(group)
    process = start(group, "anon", "40", "600")
    document, record = tmp_path / "watched.json", tmp_path / "watched.jsonl"
    options = ["--refresh", "100ms", "--json", str(document), "--record", str(record)]
    command = [CMEMRUN, "attach", "--cgroup", group, *options]
    started = time.monotonic()
    watching = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    wait_until_it_watches(watching)
    watched = time.monotonic()

    def seen() -> bool:
        samples = samples_of(record)
        whole = any((sample["anon_bytes"] or 0) >= 40 * MIB for sample in samples)
        return whole and any("processes" in sample for sample in samples)

    until("the load and who it is was seen", seen)
    lasted = time.monotonic() - watched
    end(process)
    _, told = watching.communicate(timeout=60)
    assert watching.returncode == 0, told
    run: Any = json.loads(document.read_text())
    assert run["method"]["attached"] is True and run["method"]["group"] == group
    assert run["exit"]["status"] is None and run["command"] == []
    assert 40 * MIB <= run["peak_anon_bytes"] <= 50 * MIB
    assert 40 * MIB <= run["peak_bytes"] <= 52 * MIB
    assert lasted <= run["wall_seconds"] <= time.monotonic() - started
    assert run["at_peak"]["processes"][0]["pid"] == process.pid
    assert "watched for" in told and group in told
    assert files(group) == before


def test_an_older_peak_is_not_taken_for_ours(cmemrun: Cmemrun, group: str) -> None:
    mount, _ = hierarchy_of_memory()
    assert start(group, "anon", "60", "0.1").wait() == 0
    mark = Path(group, "memory.peak" if mount.version == 2 else "memory.max_usage_in_bytes")
    marked = int(mark.read_text()) if mark.exists() else None
    process = start(group, "none", "600")
    run = cmemrun("attach", "--pid", str(process.pid), "--for", "300ms", verb=True)
    assert run["pid"] == process.pid and LOADS in run["command"]
    assert run["peak_bytes"] < 40 * MIB
    if marked is not None:
        assert int(mark.read_text()) == marked >= 60 * MIB
    # Our own mark needs Linux 6.12.
    ours = mount.version == 2 and linux() >= (6, 12)
    assert run["method"]["peak_source"] == ("kernel" if ours else "sampled")
    assert run["method"]["lower_bound"] is not ours
    if not ours:
        said = "is older than the watch" if marked else "keeps no high-water mark"
        assert [note for note in run["method"]["notes"] if said in note], run["method"]["notes"]
    end(process)


def watch_a_kill(
    group: str, tmp_path: Path, what: list[str], before: Sequence[str] = ()
) -> tuple[Any, int, str]:
    """What is told of OOM kills, and the report, where one more than 48 MiB came to the group."""
    document = tmp_path / "watched.json"
    command = [*before, CMEMRUN, "attach", *what, "--json", str(document)]
    watching = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    wait_until_it_watches(watching)
    victim = start(group, "anon", "128")
    assert victim.wait() != 0
    watching.send_signal(signal.SIGINT)
    _, told = watching.communicate(timeout=60)
    return json.loads(document.read_text())["oom"], victim.pid, told


def test_a_kill_meanwhile_and_not_the_one_before(group: str, tmp_path: Path) -> None:
    """From a tool's log, too, which has both."""
    limit_group(group, 48 * MIB)
    assert start(group, "anon", "128").wait() != 0
    process = start(group, "none", "600")
    # As for one who may read the log, and not the device.
    (tmp_path / "dmesg").write_text("#!/bin/sh\nexec /usr/bin/dmesg --syslog --kernel\n")
    (tmp_path / "dmesg").chmod(0o755)
    for before in ([], [*WITHOUT_KMSG, "env", f"PATH={tmp_path}:/usr/bin:/bin"]):
        pid = str(process.pid)
        oom, victim, told = watch_a_kill(group, tmp_path, ["--pid", pid], before)
        assert (oom["verdict"], oom["limit"]) == ("child-killed", "own"), told
        assert [one["pid"] for one in oom["victims"]] == [victim], told
        assert f"{'dmesg' if before else '/dev/kmsg'}: killed" in told
    end(process)


def test_a_limit_above_of_a_group_with_the_same_name(group: str, tmp_path: Path) -> None:
    limit_group(group, 48 * MIB)
    inner = make_group(group, os.path.basename(group))
    process = start(inner, "none", "600")
    oom, victim, _ = watch_a_kill(inner, tmp_path, ["--cgroup", inner])
    assert (oom["verdict"], oom["limit"]) == ("child-killed", "ancestor")
    assert [one["pid"] for one in oom["victims"]] == [victim]
    end(process)


def test_a_container_by_its_id_and_counters_from_now_on(
    cmemrun: Cmemrun, group: str, hold: Hold
) -> None:
    start(group, "anon", "10", "0.1").wait()
    process = start(group, "none", str(hold))
    until("it has started", hold.loads)
    run = cmemrun("attach", "--container", "ab12ab12", "--for", "400ms", verb=True)
    assert run["method"]["group"] == group
    # Of ten MiB that somebody touched before there is nothing.
    assert run["paging"]["pgfault"] < 1500, run["paging"]
    end(process)
    refused = cmemrun("attach", "--container", "ab12ab12", verb=True)
    assert refused.status == 125 and "there is no process" in refused.stderr


@pytest.mark.kernel_independent
def test_ctrl_c_ends_it_with_a_report(group: str, tmp_path: Path) -> None:
    process = start(group, "none", "60")
    document = tmp_path / "watched.json"
    options = ["--json", str(document), "--record", str(tmp_path / "watched.jsonl")]
    watching = subprocess.Popen(
        [CMEMRUN, "attach", "--cgroup", group, *options], stderr=subprocess.PIPE, text=True
    )
    wait_until_it_watches(watching)
    watching.send_signal(signal.SIGINT)
    _, told = watching.communicate(timeout=60)
    end(process)
    assert watching.returncode == 0 and "watched for" in told
    run: Any = json.loads(document.read_text())
    assert run["wall_seconds"] > 0
    saved = subprocess.run(
        [CMEMRUN, "report", str(tmp_path / "watched.jsonl")],
        capture_output=True,
        text=True,
        check=True,
    )
    assert saved.stdout == told


def test_a_group_that_is_removed(cmemrun: Cmemrun, group: str) -> None:
    inner = make_group(group, "inner")
    process = start(inner, "none", "60")
    watching = subprocess.Popen(
        [CMEMRUN, "attach", "--cgroup", inner, "-q"], stderr=subprocess.PIPE, text=True
    )
    wait_until_it_watches(watching)
    end(process)

    def is_removed() -> bool:
        with contextlib.suppress(OSError):  # who has ended is in there a moment longer
            os.rmdir(inner)
        return not os.path.isdir(inner)

    until("the group is removed", is_removed)
    _, told = watching.communicate(timeout=60)
    assert watching.returncode == 0, told


def test_time_lost_where_the_trees_have_other_paths(cmemrun: Cmemrun, tmp_path: Path) -> None:
    """A run of ours has its v2 group at the top, and its v1 groups each below our own."""
    inner = "sleep 60 & echo $! > $0.new; mv $0.new $0; wait"
    told = tmp_path / "pid"
    running = subprocess.Popen([CMEMRUN, "-q", "--", "sh", "-c", inner, str(told)])
    until("the program says who it is", told.exists)
    pid = told.read_text().strip()
    run = cmemrun("attach", "--pid", pid, "--for", "300ms", verb=True)
    running.terminate()
    running.wait()
    assert "the numbers are of the whole group: 2 processes" in run["method"]["notes"]
    assert run["at_exit"]["tasks"] in (2, None)
    if detect().v2 is None or not HAS_PRESSURE:
        assert run["pressure"] is None
        assert re.search(r"^stalled +not offered here: .*(no v2 tree$|psi=0)", run.stderr, re.M)
    else:
        assert (
            run["pressure"]["some_seconds"] <= run["wall_seconds"]
            and "waiting for memory" in run.stderr
        )


@pytest.mark.needs("psi", "hybrid")
def test_a_group_that_holds_others_too_is_not_taken_for_its_own(
    cmemrun: Cmemrun, group: str, tmp_path: Path
) -> None:
    other = detect().v2
    assert other is not None
    beside, inside = (f"{other.point}/somebodys-{os.getpid()}{name}" for name in ("", "/inside"))
    process, another = start(group, "none", "600"), subprocess.Popen(["sleep", "600"])
    attach = ("attach", "--cgroup", group, "--for", "100ms")
    document = tmp_path / "alone.json"
    os.mkdir(beside)
    os.mkdir(inside)
    try:
        Path(inside, "cgroup.procs").write_text(str(process.pid))
        assert has_pressure(cmemrun(*attach, verb=True))
        Path(inside, "cgroup.procs").write_text(str(another.pid))
        assert not has_pressure(cmemrun(*attach, verb=True))
        # The one around both holds the same, once both are in the group.
        Path(beside, "cgroup.procs").write_text(str(another.pid))
        Path(group, "cgroup.procs").write_text(str(another.pid))
        Path(inside, "cgroup.procs").write_text(str(process.pid))
        assert has_pressure(cmemrun(*attach, verb=True))
        # Not so one that holds others, whom only those outside our PID namespace see.
        end(process, another)
        process, another = subprocess.Popen(["sleep", "600"]), subprocess.Popen(["sleep", "600"])
        code = """
sleep 600 &
for group in $0 $1; do echo $! > $group/cgroup.procs; done
shift 1
"$@"
kill $!
"""
        Path(beside, "cgroup.procs").write_text(str(another.pid))
        alone = ["unshare", "--pid", "--fork", "--mount-proc", "sh", "-c", code, group, beside]
        subprocess.run([*alone, CMEMRUN, *attach, "-q", "--json", str(document)], check=True)
        assert json.loads(document.read_text())["pressure"] is None
    finally:
        end(process, another)
        tree.end([beside], 5)


def has_pressure(run: Any) -> bool:
    if run["pressure"] is None:
        assert "no v2 group holds just these processes" in run.stderr, run.stderr
    return run["pressure"] is not None
