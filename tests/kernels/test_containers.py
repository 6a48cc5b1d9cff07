"""In a container: a namespace of its own whose tree may be written to, or only read."""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.cgroups import made_group
from tests.conftest import CMEMRUN
from tests.kernels.kernel import VERSION
from tests.loads import LOAD, MIB, Hold

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
    """The container's group as the machine has it, with a limit of 192 MiB."""
    with made_group(f"container-{os.getpid()}", 192 * MIB) as group:
        yield group


Enter = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def enter(outside: str) -> Enter:
    """Run a command in the container: ``enter("readonly", "true")``."""

    def run(how: str, *command: str) -> subprocess.CompletedProcess[str]:
        # Whoever waits for the container's first process stays outside.
        isolate = ["unshare", "-m", "-p", "-f", "-i", "--mount-proc", "sh", "-c"]
        into = f'echo 0 > {outside}/cgroup.procs; exec unshare -C bash -c "$@"'
        return subprocess.run(
            [*isolate, into, "-", ENTER, "-", outside, str(VERSION), how, *command],
            capture_output=True,
            text=True,
            check=False,
            stdin=subprocess.DEVNULL,
        )

    return run


@pytest.fixture
def load(tmp_path: Path, hold: Hold) -> list[str]:
    """64 MiB, and by its own account how much it is in all: a measurement must show the same."""
    path = tmp_path / "load.py"
    path.write_text(
        "import os\n"
        "data = bytearray(64 << 20)\n"
        "for at in range(0, len(data), 4096): data[at] = 1\n"
        f"open('{hold}.held', 'a').write('.')\n"
        f"os.read(os.open('{hold}', os.O_RDONLY), 1)\n"
        "lines = dict(line.split(':') for line in open('/proc/self/status'))\n"
        "print(lines['RssAnon'].split()[0])\n"
    )
    return [sys.executable, "-S", "-E", str(path)]


def measured(done: subprocess.CompletedProcess[str]) -> tuple[dict[str, Any], int]:
    assert done.returncode == 0, done.stderr
    rss_anon, _, document = done.stdout.partition("\n")
    return json.loads(document), int(rss_anon) * 1024


def test_with_a_tree_it_may_only_read(enter: Enter, load: list[str], hold: Hold) -> None:
    options = ("--json", "-", "--refresh", "100ms", *hold.options)
    with hold.until_sampled():
        run, rss_anon = measured(enter("readonly", CMEMRUN, "-q", *options, *load))
    assert (run["method"]["backend"], run["method"]["lower_bound"]) == ("proc", True)
    notes = " ".join(run["method"]["notes"])
    assert "Read-only file system" in notes and "has a limit of 192.0 MiB" in notes
    assert abs(run["at_peak"]["anon_bytes"] - rss_anon) <= 2 * MIB
    # We are in it ourselves, with the modules we load and the document we write.
    assert run["peak_bytes"] <= run["upper_bound_bytes"] <= run["peak_bytes"] + 16 * MIB
    refused = enter("readonly", CMEMRUN, "--require", "cgroup", "true")
    assert refused.returncode == 125
    assert "unmask=/sys/fs/cgroup" in refused.stderr


def test_an_oom_kill_in_it_is_seen(enter: Enter) -> None:
    eater = " ".join((*LOAD, "anon", "256"))
    done = enter("readonly", CMEMRUN, "-q", "--json", "-", "sh", "-c", f"{eater}; :")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["events"]["oom_kill"] >= 1


def test_with_a_tree_of_its_own_to_write_to(
    enter: Enter, outside: str, load: list[str], hold: Hold
) -> None:
    # The first divides the group; the others, one beside another, find it divided.
    first, beside = (
        f"{CMEMRUN} -q true",
        f"{CMEMRUN} -q sh -c 'echo >> {hold}.held; read over < {hold}'",
    )
    options = ("--json", "-", "--refresh", "100ms", *hold.options)
    once = " ".join((CMEMRUN, "-q", *options, *load))
    script = f"{first}; {beside} & {once}; wait; cat /proc/self/cgroup >&2"
    with hold.until_sampled(loads=2):
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
    one = f"{CMEMRUN} --require cgroup -q true || echo failed"
    done = enter("writable", "bash", "-c", f"for i in 1 2 3 4 5 6; do {{ {one}; }} & done; wait")
    assert (done.returncode, done.stdout) == (0, ""), done.stderr


def test_a_group_with_processes_it_cannot_see_is_not_divided(enter: Enter, outside: str) -> None:
    # A process that the container cannot see, and so cannot move.
    stranger = subprocess.Popen(["sleep", "1000"])
    Path(outside, "cgroup.procs").write_text(str(stranger.pid))
    script = f"{CMEMRUN} --require cgroup true; echo $?; cat /proc/self/cgroup"
    done = enter("writable", "sh", "-c", script)
    stranger.kill()
    stranger.wait()
    if VERSION == 1:  # its groups hold processes and groups alike: nothing is to be divided
        assert done.stdout.startswith("0\n"), done.stderr
    else:
        assert done.stdout == "125\n0::/\n"
        assert "holds processes of another PID namespace" in done.stderr
    assert not [name for name in os.listdir(outside) if name.startswith("cmemrun-")]
