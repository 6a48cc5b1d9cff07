"""Who made up the peak, and of what."""

import os
import shlex
import sys
from typing import Any

from cmemrun.kernel.hierarchy import detect
from tests.conftest import Cmemrun
from tests.kernels.conftest import LOADS, in_guest

MIB = 2**20
LOAD = f"{sys.executable} -S -E {LOADS}"


def of(run: Any, word: str) -> dict[str, Any]:
    told = run["at_peak"]["processes"]
    assert [word in shlex.join(who["command"]) for who in told].count(True) == 1, told
    [found] = [who for who in run["at_peak"]["processes"] if word in shlex.join(who["command"])]
    return found  # type: ignore[no-any-return]


def test_a_parent_and_two_children(cmemrun: Cmemrun) -> None:
    # Each also has what its interpreter takes, which one without a load tells.
    script = f"{LOAD} anon 30 2 & {LOAD} anon 60 2 & {LOAD} anon 0 2 & exec {LOAD} anon 10 2"
    run = cmemrun("sh", "-c", script)
    assert run.status == 0
    bare = of(run, "anon 0 2")["pss_bytes"]
    for mib in (10, 30, 60):
        who = of(run, f"anon {mib} 2")
        # A guest is so slow that a look may come while somebody is still growing.
        assert in_guest() or abs(who["pss_bytes"] - bare - mib * MIB) <= 3 * MIB, who
        assert in_guest() or who["uss_bytes"] <= who["pss_bytes"] <= who["rss_bytes"]
    assert of(run, "anon 30 2")["ppid"] == of(run, "anon 10 2")["pid"] == run["pid"]
    assert str(of(run, "anon 60 2")["pid"]) in run.stderr


def test_a_spike_has_its_processes(cmemrun: Cmemrun) -> None:
    run = cmemrun(*LOAD.split(), "spike", "120", "20")
    who = of(run, "spike 120 20")
    assert in_guest() or who["pss_bytes"] >= 60 * MIB


def test_what_lies_inside(cmemrun: Cmemrun) -> None:
    run = cmemrun(*LOAD.split(), "shared", "32")
    inside = run["at_peak"]["composition"]
    # A mapping is counted when it is touched, on the way to the peak.
    assert inside["file_mapped_bytes"] >= 31 * MIB
    assert run["at_peak"]["shmem_bytes"] >= 31 * MIB
    if run["method"]["backend"] == "cgroup-v1":
        assert inside["slab_reclaimable_bytes"] is None
    else:
        assert inside["kernel_stack_bytes"] is not None


def test_time_lost_for_want_of_memory(cmemrun: Cmemrun, disk: str) -> None:
    path = f"{disk}/cmemrun-pressure-{os.getpid()}"
    script = f"head -c 48M /dev/zero > {path}; for i in 1 2; do cat {path} > /dev/null; done"
    try:
        run = cmemrun("--limit", "24Mi", "--", "sh", "-c", script)
    finally:
        os.unlink(path)
    if detect().v2 is None or not os.path.exists("/proc/pressure/memory"):
        assert run["pressure"] is None and "not counted here" in run.stderr
        return
    assert 0 < run["pressure"]["full_seconds"] <= run["pressure"]["some_seconds"]
    assert run["pressure"]["some_seconds"] <= run["wall_seconds"]
    assert cmemrun("true")["pressure"]["some_seconds"] < 0.1


def test_names_that_would_drive_the_terminal(cmemrun: Cmemrun) -> None:
    name = "\x1b[31mred\n</script>\u202e"
    script = f"import sys, time; x = bytearray({20 * MIB}); time.sleep(1)"
    run = cmemrun(sys.executable, "-c", script, name)
    assert name in of(run, "bytearray")["command"]
    assert "\x1b" not in run.stderr and "\u202e" not in run.stderr
