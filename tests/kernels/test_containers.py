"""In a container: a namespace of its own whose tree may be written to, or only read."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from cmemrun.kernel.hierarchy import detect
from tests.conftest import CMEMRUN, hierarchy_of_memory
from tests.kernels.conftest import made_group

MIB = 2**20

# As a container engine does it: the container's own group is all that it sees of
# the tree, and it has neither CAP_SYS_ADMIN nor a sight of other processes.
ENTER = """
set -e
mount --make-rprivate /
if [ "$2" = 2 ]; then
  umount -l /sys/fs/cgroup; mount -t cgroup2 cgroup2 /sys/fs/cgroup
else
  top=$(mktemp -d); mount -t tmpfs cgroup $top; mkdir $top/memory
  mount --bind "$1" $top/memory; umount -lR /sys/fs/cgroup; mount --move $top /sys/fs/cgroup
fi
case $3 in readonly) for at in $(awk '$2 ~ "^/sys/fs/cgroup/?"{print $2}' /proc/mounts); do
  mount -o remount,bind,ro $at; done;; esac
shift 3
exec setpriv --bounding-set=-sys_admin,-sys_resource --inh-caps=-all --no-new-privs "$@"
"""


@pytest.fixture
def outside() -> Iterator[str]:
    """The container's group as the machine has it, with a limit of 512 MiB."""
    with made_group(f"container-{os.getpid()}", 512 * MIB) as group:
        yield group


Enter = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def enter(outside: str) -> Enter:
    """Run a command in the container: ``enter("readonly", "true")``."""

    def run(how: str, *command: str) -> subprocess.CompletedProcess[str]:
        mount, _ = hierarchy_of_memory()
        # Whoever waits for the container's first process stays outside.
        isolate = ["unshare", "-m", "-p", "-f", "-i", "--mount-proc", "sh", "-c"]
        into = f'echo 0 > {outside}/cgroup.procs; exec unshare -C bash -c "$@"'
        return subprocess.run(
            [*isolate, into, "-", ENTER, "-", outside, str(mount.version), how, *command],
            capture_output=True,
            text=True,
            check=False,
            stdin=subprocess.DEVNULL,
        )

    return run


@pytest.fixture
def load(tmp_path: Path) -> list[str]:
    """64 MiB, and by its own account how much it is in all: a measurement must show the same."""
    path = tmp_path / "load.py"
    path.write_text(
        "import time\n"
        "data = bytearray(64 << 20)\n"
        "for at in range(0, len(data), 4096): data[at] = 1\n"
        "time.sleep(1)\n"
        "lines = dict(line.split(':') for line in open('/proc/self/status'))\n"
        "print(lines['RssAnon'].split()[0])\n"
    )
    return [sys.executable, "-S", "-E", str(path)]


def measured(done: subprocess.CompletedProcess[str]) -> tuple[dict[str, Any], int]:
    assert done.returncode == 0, done.stderr
    rss_anon, _, document = done.stdout.partition("\n")
    return json.loads(document), int(rss_anon) * 1024


def test_with_a_tree_it_may_only_read(enter: Enter, load: list[str]) -> None:
    for _ in range(2):
        run, rss_anon = measured(enter("readonly", CMEMRUN, "-q", "--json", "-", *load))
    assert (run["method"]["backend"], run["method"]["lower_bound"]) == ("proc", True)
    notes = " ".join(run["method"]["notes"])
    assert "Read-only file system" in notes and "has a limit of 512.0 MiB" in notes
    assert abs(run["at_peak"]["anon_bytes"] - rss_anon) <= 2 * MIB
    # We are in it ourselves, with the modules we load and the document we write.
    assert run["peak_bytes"] <= run["upper_bound_bytes"] <= run["peak_bytes"] + 16 * MIB
    refused = enter("readonly", CMEMRUN, "--require", "cgroup", "true")
    assert refused.returncode == 125
    assert "unmask=/sys/fs/cgroup" in refused.stderr


def test_an_oom_kill_in_it_is_seen(enter: Enter) -> None:
    eater = "b = []\nwhile True: b.append(bytearray(1 << 20))"
    done = enter(
        "readonly", CMEMRUN, "-q", "--json", "-", "sh", "-c", f"{sys.executable} -c '{eater}'; :"
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["events"]["oom_kill"] >= 1


def test_with_a_tree_of_its_own_to_write_to(enter: Enter, outside: str, load: list[str]) -> None:
    # The first divides the group; the others, one beside another, find it divided.
    once = f"{CMEMRUN} -q --json - {' '.join(load)}"
    script = f"{once} > /dev/null; {CMEMRUN} -q sleep 2 & {once}; wait; cat /proc/self/cgroup >&2"
    done = enter("writable", "sh", "-c", script)
    run, rss_anon = measured(done)
    assert run["method"]["backend"] in ("cgroup-v2", "cgroup-v1")
    assert abs(run["at_peak"]["anon_bytes"] - rss_anon) <= MIB
    assert run["at_peak"]["usage_bytes"] - run["at_peak"]["anon_bytes"] <= 4 * MIB
    left = [name for name in os.listdir(outside) if name.startswith("cmemrun-")]
    if run["method"]["backend"] == "cgroup-v2":
        assert left == ["cmemrun-others"] and "0::/cmemrun-others" in done.stderr
    else:
        assert left == []


def test_runs_that_divide_it_at_the_same_time(enter: Enter) -> None:
    one = f"{CMEMRUN} --require cgroup -q sleep 0.5 || echo failed"
    done = enter("writable", "bash", "-c", f"for i in 1 2 3 4 5 6; do {{ {one}; }} & done; wait")
    assert (done.returncode, done.stdout) == (0, ""), done.stderr


def test_a_group_with_processes_it_cannot_see_is_not_divided(enter: Enter, outside: str) -> None:
    if hierarchy_of_memory()[0].version == 1:
        return  # v1 groups hold processes and groups alike: nothing is divided
    # A process that the container cannot see, and so cannot move.
    stranger = subprocess.Popen(["sleep", "1000"])
    Path(outside, "cgroup.procs").write_text(str(stranger.pid))
    script = f"{CMEMRUN} --require cgroup true; echo $?; cat /proc/self/cgroup"
    done = enter("writable", "sh", "-c", script)
    stranger.kill()
    stranger.wait()
    assert done.stdout == "125\n0::/\n"
    assert "holds processes of another PID namespace" in done.stderr
    assert not [name for name in os.listdir(outside) if name.startswith("cmemrun-")]


def test_there_is_what_a_container_takes() -> None:
    for tool in ("unshare", "setpriv", "mount"):
        assert shutil.which(tool), tool
    assert detect().mounts
