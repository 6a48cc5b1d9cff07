"""Our own memory over time: as many samples as a month has, and a real time at 1 ms."""

import subprocess
import time

import psutil

from scripts.costs.measuring import CMEMRUN, Effort, Table

MIB = 2**20


def own_memory(effort: Effort) -> Table:
    """What the launching process has for itself (USS), with a sample of everything each ms."""
    length = effort.seconds(600.0)
    command = [CMEMRUN, "--quiet", "--refresh", "1ms", "--", "sleep", "1000"]
    found: dict[str, int] = {}
    with subprocess.Popen(command) as run:
        process = psutil.Process(run.pid)
        for share in (0.1, 0.5, 1.0):
            time.sleep(max(0.0, length * share - (time.time() - process.create_time())))
            found[f"after {length * share:.0f} s"] = process.memory_full_info().uss
        run.terminate()
    rows = tuple((when, f"{size / MIB:.2f}") for when, size in found.items())
    return Table("Our own memory, a sample each millisecond", ("", "USS, MiB"), rows, found)
