"""Our own memory over time, at as short a refresh as there is."""

import subprocess
import time

import psutil

from scripts.costs.measuring import CMEMRUN, Effort, Table

MIB = 2**20


def own_memory(effort: Effort) -> Table:
    """The launcher and its keeper, which is a fork of it and shares most with it: their RSS.

    Not their PSS or USS: those rise as other Pythons on the machine end.
    """
    length = effort.seconds(600.0)
    command = [CMEMRUN, "--quiet", "--refresh", "1ms", "--", "sleep", "1000"]
    found: dict[str, tuple[int, ...]] = {}
    moments = {"after a tenth of it": 0.1, "after half": 0.5, "at the end": 1.0}
    with subprocess.Popen(command) as run:
        try:
            launcher = psutil.Process(run.pid)
            both = (launcher, _keeper_of(launcher))
            started = time.monotonic()
            for when, share in moments.items():
                time.sleep(max(0.0, started + length * share - time.monotonic()))
                found[when] = tuple(one.memory_info().rss for one in both)
        finally:
            run.terminate()
    rows = tuple((when, *(f"{size / MIB:.1f}" for size in sizes)) for when, sizes in found.items())
    title = f"Our own memory in {length:.0f} s with a sample of everything each millisecond"
    return Table(
        title, ("", "RSS of the launcher, MiB", "of its keeper, mostly shared"), rows, found
    )


def _keeper_of(launcher: psutil.Process) -> psutil.Process:
    """Once it is there, and called so."""
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        for child in launcher.children():
            if child.name() == "memkeeper":
                return child
        time.sleep(0.01)
    raise TimeoutError("no keeper is seen")
