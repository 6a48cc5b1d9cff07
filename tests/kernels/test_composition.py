"""Who made up the peak, and of what."""

import os
import shlex
from collections.abc import Callable, Sequence
from typing import Any

import pytest

from cmemrun.kernel.hierarchy import detect
from tests.conftest import Cmemrun, Result
from tests.kernels.kernel import linux
from tests.loads import LOAD, MIB, Hold

Load = Callable[..., Result]


def of(sample: Any, word: str) -> dict[str, Any]:
    """The one load that has the word on its command line; nothing where there is none.

    The shell that starts them has all of their words on its own, and so has its fork.
    """
    told = sample.get("processes", [])
    loads = [who for who in told if who["command"][:1] == [LOAD[0]]]
    found = [who for who in loads if word in shlex.join(who["command"])]
    assert len(found) <= 1, told
    return found[0] if found else {}


def shows(word: str, mib: int, name: str = "pss_bytes") -> Callable[[Sequence[Any]], bool]:
    """Whether some sample has the process with as much."""

    def seen(samples: Sequence[Any]) -> bool:
        return any(of(sample, word).get(name, -1) >= mib * MIB for sample in samples)

    return seen


@pytest.mark.kernel_independent
def test_processes_at_peak_are_the_parent_and_its_children(cmemrun: Cmemrun, hold: Hold) -> None:
    # Each also has what its interpreter takes, which one without a load tells.
    load = " ".join(LOAD)
    loads = {mib: f"{load} anon {mib} {hold}" for mib in (0, 10, 30, 60)}
    script = f"{loads[30]} & {loads[60]} & {loads[0]} & exec {loads[10]}"

    def seen(samples: Sequence[Any]) -> bool:
        return any(
            all(of(sample, f"anon {mib} ").get("pss_bytes", -1) >= mib * MIB for mib in loads)
            for sample in samples
        )

    with hold.until(seen, loads=4):
        run = cmemrun("--refresh", "100ms", *hold.options, "--", "sh", "-c", script)
    assert run.status == 0
    found = {mib: of(run["at_peak"], f"anon {mib} ") for mib in loads}
    for mib in (10, 30, 60):
        who = found[mib]
        assert abs(who["pss_bytes"] - found[0]["pss_bytes"] - mib * MIB) <= 3 * MIB, found
        assert who["uss_bytes"] <= who["pss_bytes"] <= who["rss_bytes"]
    assert found[30]["ppid"] == found[10]["pid"] == run["pid"]
    assert str(found[60]["pid"]) in run.stderr


@pytest.mark.kernel_independent
def test_processes_are_seen_between_two_refreshes(load: Load) -> None:
    run = load("anon", "40", options=("--refresh", "1h"), seen=shows("anon 40", 20))
    assert of(run["at_peak"], "anon 40")["pss_bytes"] >= 20 * MIB


def test_what_lies_inside(load: Load) -> None:
    run = load("shared", "32", held=True)
    inside = run["at_peak"]["composition"]
    # A mapping is counted when it is touched, on the way to the peak.
    assert inside["file_mapped_bytes"] >= 31 * MIB
    assert run["at_peak"]["shmem_bytes"] >= 31 * MIB
    if run["method"]["backend"] == "cgroup-v1":
        assert inside["slab_reclaimable_bytes"] is None
    else:
        assert inside["kernel_stack_bytes"] is not None


@pytest.mark.emulated
@pytest.mark.needs("psi")
def test_stall_time_grows_where_the_limit_makes_it_wait(cmemrun: Cmemrun, disk: str) -> None:
    path = f"{disk}/cmemrun-pressure-{os.getpid()}"
    script = f"head -c 48M /dev/zero > {path}; for i in 1 2; do cat {path} > /dev/null; done"
    try:
        run = cmemrun("--limit", "24Mi", "--", "sh", "-c", script)
    finally:
        os.unlink(path)
    series = [sample["pressure"]["some_seconds"] for sample in run["samples"]]
    assert series == sorted(series) and series[-1] == run["pressure"]["some_seconds"]
    # What was written is dropped and read again.
    assert run["paging"]["workingset_refault_file"] > 1000, run["paging"]
    assert 0 < run["pressure"]["full_seconds"] <= run["pressure"]["some_seconds"]
    assert run["pressure"]["some_seconds"] <= run["wall_seconds"]
    unlimited = cmemrun("true")["pressure"]["some_seconds"]
    assert unlimited < run["pressure"]["some_seconds"]


def test_stall_time_is_told_where_there_is_a_v2_tree_and_psi(cmemrun: Cmemrun) -> None:
    run = cmemrun("true")
    if detect().v2 is not None and os.path.exists("/proc/pressure/memory"):
        assert 0 <= run["pressure"]["some_seconds"] <= run["wall_seconds"]
    else:
        assert run["pressure"] is None and "not offered here" in run.stderr


@pytest.mark.kernel_independent
def test_what_the_largest_has_mapped(without_huge_pages: None, load: Load) -> None:
    def seen(samples: Sequence[Any]) -> bool:
        mapped = [of(sample, "anon 32").get("mappings") or {} for sample in samples]
        return any(one.get("anonymous_bytes", 0) >= 32 * MIB for one in mapped)

    run = load("anon", "32", options=("--smaps",), seen=seen)
    who = of(run["at_peak"], "anon 32")
    mapped = who["mappings"]
    assert mapped["anonymous_bytes"] >= 32 * MIB > mapped["heap_bytes"] > 0
    assert mapped["libraries_bytes"] > 0 and mapped["stack_bytes"] > 0
    assert abs(sum(mapped.values()) - who["pss_bytes"]) <= who["pss_bytes"] / 20
    assert "anonymous 32." in run.stderr or "anonymous 33." in run.stderr
    bare = load("anon", "32", seen=shows("anon 32", 0))
    assert of(bare["at_peak"], "anon 32")["mappings"] is None


def test_ebpf_maps(cmemrun: Cmemrun, hold: Hold) -> None:
    # Each time that processes are looked at, maps are: once after they were made will do.
    before: list[int] = []

    def seen(samples: Sequence[Any]) -> bool:
        looks = len([sample for sample in samples if "processes" in sample])
        before.append(looks)
        return looks >= before[0] + 2

    with hold.until(seen):
        command = (*LOAD, "maps", "6", str(hold))
        run = cmemrun("--processes", "--refresh", "100ms", *hold.options, "--", *command)
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


@pytest.mark.kernel_independent
def test_processes_are_tracked_on_demand(load: Load) -> None:
    def seen(samples: Sequence[Any]) -> bool:
        return len([sample for sample in samples if of(sample, "anon 8")]) >= 3

    run = load("anon", "8", options=("--processes",), seen=seen)
    assert run.status == 0, run.stderr
    looks = [sample["processes"] for sample in run["samples"] if "processes" in sample]
    assert len(looks) >= 3
    assert all(run["pid"] in [who["pid"] for who in look] for look in looks)
    assert 8 * MIB <= looks[-1][0]["rss_bytes"] <= 32 * MIB
    untracked = load("anon", "8", seen=lambda samples: len(samples) >= 3)
    assert not [sample for sample in untracked["samples"] if "processes" in sample]


@pytest.mark.kernel_independent
def test_names_that_would_drive_the_terminal(cmemrun: Cmemrun, hold: Hold) -> None:
    name = "\x1b[31mred\n</script>\u202e"
    python, *load = LOAD
    with hold.until(shows("anon 20", 20)):
        run = cmemrun(*hold.options, python, "-X", name, *load, "anon", "20", str(hold))
    assert name in of(run["at_peak"], "anon 20")["command"]
    assert "\x1b" not in run.stderr and "\u202e" not in run.stderr
