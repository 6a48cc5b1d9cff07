"""Who made up the peak, and of what."""

import os
import shlex
import sys
from pathlib import Path
from typing import Any

from cmemrun.kernel.hierarchy import detect
from tests.conftest import Cmemrun, in_guest
from tests.kernels.conftest import LOADS, linux

MIB = 2**20
LOAD = f"{sys.executable} -S -E {LOADS}"


def of(run: Any, word: str) -> dict[str, Any]:
    told = run["at_peak"]["processes"]
    assert [word in shlex.join(who["command"]) for who in told].count(True) == 1, told
    [found] = [who for who in run["at_peak"]["processes"] if word in shlex.join(who["command"])]
    return found  # type: ignore[no-any-return]


def test_a_parent_and_two_children(cmemrun: Cmemrun) -> None:
    # A look at the processes takes a guest a tenth of a second and more, and we take one
    # percent of a core for them: there those at a refresh are to come when all have grown.
    hold = 24 if in_guest() else 2
    options = ("--refresh", "12s") if in_guest() else ()
    # Each also has what its interpreter takes, which one without a load tells.
    loads = {mib: f"{LOAD} anon {mib} {hold}" for mib in (0, 10, 30, 60)}
    run = cmemrun(
        *options, "sh", "-c", f"{loads[30]} & {loads[60]} & {loads[0]} & exec {loads[10]}"
    )
    assert run.status == 0
    found = {mib: of(run, f"anon {mib} {hold}") for mib in loads}
    for mib in (10, 30, 60):
        who = found[mib]
        assert abs(who["pss_bytes"] - found[0]["pss_bytes"] - mib * MIB) <= 3 * MIB, found
        assert who["uss_bytes"] <= who["pss_bytes"] <= who["rss_bytes"]
    assert found[30]["ppid"] == found[10]["pid"] == run["pid"]
    assert str(found[60]["pid"]) in run.stderr


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
        assert run["pressure"] is None and "not offered here" in run.stderr
        return
    series = [sample["pressure"]["some_seconds"] for sample in run["samples"]]
    assert series == sorted(series) and series[-1] == run["pressure"]["some_seconds"]
    # What was written is dropped and read again.
    assert run["paging"]["workingset_refault_file"] > 1000, run["paging"]
    assert 0 < run["pressure"]["full_seconds"] <= run["pressure"]["some_seconds"]
    assert run["pressure"]["some_seconds"] <= run["wall_seconds"]
    assert cmemrun("true")["pressure"]["some_seconds"] < 0.1


def test_what_the_largest_has_mapped(without_huge_pages: None, cmemrun: Cmemrun) -> None:
    run = cmemrun("--smaps", "--", *LOAD.split(), "anon", "32", "16" if in_guest() else "1")
    who = of(run, "anon 32")
    mapped = who["mappings"]
    assert mapped["anonymous_bytes"] >= 32 * MIB > mapped["heap_bytes"] > 0
    assert mapped["libraries_bytes"] > 0 and mapped["stack_bytes"] > 0
    assert abs(sum(mapped.values()) - who["pss_bytes"]) <= who["pss_bytes"] / 20
    assert "anonymous 32." in run.stderr or "anonymous 33." in run.stderr
    bare = cmemrun(*LOAD.split(), "anon", "32")
    assert of(bare, "anon 32")["mappings"] is None


def test_ebpf_maps(cmemrun: Cmemrun) -> None:
    run = cmemrun(
        "--refresh", "100ms", "--", *LOAD.split(), "maps", "6", "8" if in_guest() else "1"
    )
    assert run.status == 0, run.stderr
    found = {one["type"]: one for one in run["bpf_maps"]}
    assert set(found) == {"array", "percpu_array"}
    assert 6 * MIB <= found["array"]["memlock_bytes"] <= 6.2 * MIB
    assert found["array"]["per_cpu_bytes"] == 0
    assert found["percpu_array"]["per_cpu_bytes"] == MIB * (os.sysconf("SC_NPROCESSORS_CONF"))
    version = linux()
    assert run["bpf_maps_charged"] is (version >= (5, 11))
    # The array is there, and what is for each CPU is not.
    kernel = run["peak_kernel_bytes"]
    if version >= (5, 11):
        assert 6 * MIB <= kernel <= 7.9 * MIB
        assert "charged to no group" in run.stderr
    elif kernel is not None:
        assert kernel < 6 * MIB


def test_processes_are_tracked_on_demand(cmemrun: Cmemrun, tmp_path: Path) -> None:
    # In a guest a look costs so much that there are not many: the load is held until it was
    # seen three times, which the record shows.
    record, refresh = tmp_path / "run.jsonl", "2s" if in_guest() else "100ms"
    seen = f"""$(grep -c '"anon","[8]"' {record})"""
    script = f'{LOAD} anon 8 600 & until [ "{seen}" -ge 3 ]; do sleep 0.1; done; kill $!'
    options = ("--processes", "--refresh", refresh, "--record", str(record), "--timeout", "2m")
    run = cmemrun(*options, "--", "sh", "-c", script)
    assert run.status == 0, run.stderr
    looks = [sample["processes"] for sample in run["samples"] if "processes" in sample]
    assert len(looks) >= 3
    assert all(run["pid"] in [who["pid"] for who in look] for look in looks)
    assert 8 * MIB <= looks[-1][0]["rss_bytes"] <= 32 * MIB
    untracked = cmemrun("--refresh", "100ms", "--", *LOAD.split(), "anon", "8", "1")
    assert not [sample for sample in untracked["samples"] if "processes" in sample]


def test_names_that_would_drive_the_terminal(cmemrun: Cmemrun) -> None:
    name = "\x1b[31mred\n</script>\u202e"
    script = f"import sys, time; x = bytearray({20 * MIB}); time.sleep(1)"
    run = cmemrun(sys.executable, "-c", script, name)
    assert name in of(run, "bytearray")["command"]
    assert "\x1b" not in run.stderr and "\u202e" not in run.stderr
