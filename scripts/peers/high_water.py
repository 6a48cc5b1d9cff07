"""cgmemtime's method in a few lines: ``high_water.py FILE PROGRAM [ARG…]``.

A group for the run, the program started inside it, and the group's high-water mark into
FILE once it has ended. cgmemtime clones the program into the group, here its process goes
there before it executes, which v1 has as well: the peaks of the two are the same.
"""

import os
import signal
import sys
from pathlib import Path

from cmemrun.backends import tree
from cmemrun.kernel.hierarchy import detect


def main(file: str, *command: str) -> None:
    hierarchy = detect()
    memory = hierarchy.memory
    assert memory is not None
    # On v2 a group with processes, as ours may be, takes none with controllers below it.
    place = memory.point if memory.version == 2 else hierarchy.own_group(memory)
    mark = "memory.peak" if memory.version == 2 else "memory.max_usage_in_bytes"
    group = Path(f"{place}/cgmemtime-{os.getpid()}")
    group.mkdir()
    try:
        pid = os.fork()
        if pid == 0:
            Path(group, "cgroup.procs").write_text("0")
            os.execvp(command[0], command)
        _, status = os.waitpid(pid, 0)
        Path(file).write_text(Path(group, mark).read_text())
    finally:
        tree.end([str(group)], 5)
    sys.exit(os.waitstatus_to_exitcode(status))


if __name__ == "__main__":
    # As an exception, which cleans up.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    main(*sys.argv[1:])
