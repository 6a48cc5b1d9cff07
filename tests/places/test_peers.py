"""The same group, measured by those who did not learn it from us."""

import http.client
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from tests.places.podman import PODMAN, with_podman
from tests.waiting import until

MIB = 2**20

# Anonymous memory, and page cache of both kinds: pages are inactive that were read once, and
# active that were mapped and touched (with MGLRU: lru_gen_in_fault, linux/mm_inline.h) and read
# twice (without: folio_mark_accessed, linux/swap.c).
# khugepaged may collapse what lies idle and add to it, between two that look at it.
LOAD = """
import ctypes, mmap, os, time
PR_SET_THP_DISABLE = 41
assert ctypes.CDLL(None).prctl(PR_SET_THP_DISABLE, 1, 0, 0, 0) == 0
data = bytearray(40 << 20)
for name in ("read", "mapped"):
    with open(f"/{name}", "wb", 0) as file:
        file.write(bytes(16 << 20))
        os.fsync(file)
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
with open("/read", "rb", 0) as file:
    while file.read(1 << 20): pass
file = open("/mapped", "rb")
view = mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ)
for at in range(0, len(view), 4096): view[at]
for _ in range(2):
    file.seek(0)
    while file.read(1 << 20): pass
open("/ready", "w")
time.sleep(1000)
"""
COMMAND = [sys.executable, "-S", "-E", "-c", LOAD]


def told(*command: str) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def attached(*group: str) -> dict[str, Any]:
    """What we say, where there is something to be told apart."""
    run: dict[str, Any] = json.loads(
        told("cmemrun", "attach", *group, "--for", "1s", "--json", "-", "-q")
    )
    last = run["samples"][-1]
    assert last["anon_bytes"] >= 40 * MIB
    assert last["inactive_file_bytes"] >= 15 * MIB
    assert last["file_bytes"] - last["inactive_file_bytes"] >= 15 * MIB
    return run


def assert_close(run: dict[str, Any], ours: int, theirs: int) -> None:
    print(f"{ours} here, {theirs} there")
    assert abs(ours - theirs) <= run["method"]["resolution_bytes"]


@contextmanager
def in_runc(rootfs: Path, group: str) -> Iterator[str]:
    """The load as a container of runc's, whose name it gives."""
    bundle = rootfs / "bundle"
    bundle.mkdir()
    told("runc", "spec", "--bundle", str(bundle))
    config = json.loads((bundle / "config.json").read_text())
    config["process"] |= {"args": COMMAND, "terminal": False}
    config["root"] = {"path": str(rootfs)}
    usr = {"destination": "/usr", "type": "bind", "source": "/usr", "options": ["rbind", "ro"]}
    config["mounts"].append(usr)
    config["linux"]["cgroupsPath"] = group
    (bundle / "config.json").write_text(json.dumps(config))
    name = f"load-{os.getpid()}"
    # Without pipes of ours, which the container would hold open.
    with (rootfs / "said").open("w") as said:
        run = ["runc", "run", "--detach", "--bundle", str(bundle), name]
        done = subprocess.run(run, stdin=subprocess.DEVNULL, stdout=said, stderr=said, check=False)
    assert done.returncode == 0, (rootfs / "said").read_text()
    try:
        until("the load is ready", (rootfs / "ready").exists)
        yield name
    finally:
        told("runc", "delete", "--force", name)


# It does not begin on a machine whose clock speed it is not told, as User-Mode Linux does not.
CADVISOR = """
grep -q MHz /proc/cpuinfo || {
  { cat /proc/cpuinfo; echo "cpu MHz : 1000.000"; } > "$0" && mount --bind "$0" /proc/cpuinfo
}
exec cadvisor -listen_ip=127.0.0.1 -port=8080 -housekeeping_interval=1s
"""


@contextmanager
def cadvisor(directory: Path) -> Iterator[None]:
    """It listens after a while, and looks at every group there is each second."""
    command = ["unshare", "-m", "sh", "-c", CADVISOR, str(directory / "cpuinfo")]
    with (directory / "cadvisor.log").open("w") as said:
        server = subprocess.Popen(command, stderr=said)
    try:
        yield
        assert server.poll() is None, (directory / "cadvisor.log").read_text()
    finally:
        server.kill()
        server.wait()


def of_cadvisor(group: str, since: float) -> dict[str, int] | None:
    """The memory of its newest sample of the group, once that is newer than ``since``."""
    server = http.client.HTTPConnection("127.0.0.1", 8080, timeout=10)
    try:
        server.request("GET", f"/api/v1.3/containers{group}")
        answer = server.getresponse()
        if answer.status != 200:
            return None  # it has not seen the group
        newest = json.load(answer)["stats"][-1]
    except ConnectionRefusedError:
        return None
    finally:
        server.close()
    # Python 3.11 reads no nanoseconds.
    when = datetime.fromisoformat(newest["timestamp"].partition(".")[0] + "+00:00")
    memory: dict[str, int] = newest["memory"]
    return memory if when.timestamp() > since else None


@pytest.mark.places("root")
def test_runc_and_cadvisor_compute_the_same_working_set(rootfs: Path, tmp_path: Path) -> None:
    group = f"/load-{os.getpid()}"
    with cadvisor(tmp_path), in_runc(rootfs, group) as name:
        ready = time.time()
        of_runc = json.loads(told("runc", "events", "--stats", name))["data"]["memory"]
        run = attached("--cgroup", group)
        memory = until("cAdvisor has seen it", lambda: of_cadvisor(group, ready), every=0.2)
    assert memory is not None
    last = run["samples"][-1]
    usage, inactive = of_runc["usage"]["usage"], of_runc["raw"]["inactive_file"]
    assert_close(run, last["usage_bytes"], usage)
    assert_close(run, last["working_set_bytes"], usage - inactive)
    assert_close(run, last["usage_bytes"], memory["usage"])
    assert_close(run, last["working_set_bytes"], memory["working_set"])


@with_podman
def test_podman_stats_shows_what_we_say_it_does(rootfs: Path) -> None:
    run = ["run", "--detach", "--quiet", "--network=none", "-v", "/usr:/usr:ro", "--rootfs"]
    # Without pipes of ours, which its conmon would hold open.
    with (rootfs / "said").open("w") as said:
        command = [*PODMAN, *run, str(rootfs), *COMMAND]
        done = subprocess.run(command, stdout=said, stderr=said, check=False)
    answer = (rootfs / "said").read_text()
    assert done.returncode == 0, answer
    name = answer.split()[-1]
    try:
        until("the load is ready", (rootfs / "ready").exists)
        found = attached("--container", name)
        # In bytes, before it is rounded for people.
        template = "{{.ContainerStats.MemUsage}}"
        shown = told(*PODMAN, "stats", "--no-stream", "--no-reset", "--format", template, name)
    finally:
        told(*PODMAN, "rm", "--force", "--time=0", name)
    version = told("podman", "--version").split()[-1]
    # Since containers/common 0.64 it is no longer anon that it shows.
    tool = (
        "podman stats"
        if tuple(map(int, version.split(".")[:2])) >= (5, 6)
        else "podman stats to 5.5"
    )
    [view] = [view for view in found["shown_by"] if view["tool"] == tool]
    assert_close(found, view["size_bytes"], int(shown))
