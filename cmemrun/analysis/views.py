"""What other tools would show for a run at its peak, by their own formulas."""

from typing import NamedTuple

from cmemrun.model import Run

__all__ = ["View", "as_others_show"]


class View(NamedTuple):
    """One tool's number; ``None`` where what it is made of is not known."""

    tool: str
    size_bytes: int | None
    formula: str
    source: str


def as_others_show(run: Run) -> list[View]:
    """The number of each, of the sample nearest to the peak."""
    peak = run.at_peak
    usage, inactive = peak.usage_bytes, peak.inactive_file_bytes
    v1 = run.method.backend == "cgroup-v1"
    docker = None
    if inactive is not None:
        # Not 0, unlike the others (calculateMemUsageUnixNoCache).
        docker = usage if inactive >= usage else usage - inactive
    cached = peak.file_bytes
    return [
        View(
            "kubectl top",
            peak.working_set_bytes,
            "usage - inactive_file, at least 0",
            "cadvisor lib/container/libcontainer/handler.go, setMemoryStats",
        ),
        View(
            "docker stats",
            docker,
            "usage - inactive_file",
            "docker/cli cli/command/container/stats_helpers.go",
        ),
        View(
            "docker stats to 19.03",
            None if cached is None else max(0, usage - cached),
            "usage - cache",
            "moby#40727",
        ),
        View(
            "podman stats",
            peak.working_set_bytes,
            "usage - inactive_file, at least 0",
            "go.podman.io/common pkg/cgroups/memory_linux.go",
        ),
        View(
            # Of v1 it has shown anon since containers/common 1a9d45ce of 2023.
            "podman stats, older" if v1 else "podman stats to 5.5",
            usage if v1 else peak.anon_bytes,
            "usage" if v1 else "anon",
            "containers/common pkg/cgroups/memory.go",
        ),
        View(
            "ps, RSS summed",
            sum(one.rss_bytes for one in peak.processes) if peak.processes else None,
            "each process's RSS: shared pages count for each that maps them",
            "proc_pid_status(5), VmRSS",
        ),
    ]
