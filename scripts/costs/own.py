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
    moments = {"after a tenth of it": 0.1, "after half": 0.5, "at the end": 1.0}
    with subprocess.Popen(command) as run:
        process = psutil.Process(run.pid)
        for when, share in moments.items():
            time.sleep(max(0.0, length * share - (time.time() - process.create_time())))
            found[when] = process.memory_full_info().uss
        run.terminate()
    rows = tuple((when, f"{size / MIB:.2f}") for when, size in found.items())
    title = f"Our own memory in {length:.0f} s with a sample of everything each millisecond"
    return Table(title, ("", "USS, MiB"), rows, found)
