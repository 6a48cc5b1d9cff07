"""What is known of a program without a group, where others' memory is near."""

import os
import resource
import subprocess
import time
from unittest.mock import Mock

from cmemrun.backends.proc import ProcessTree
from cmemrun.kernel.process import memory_of

MIB = 2**20


def ended_with(highest_bytes: int) -> resource.struct_rusage:
    return resource.struct_rusage((0.0, 0.0, highest_bytes // 1024, *[0] * 13))


def test_a_mark_that_may_be_of_us_says_nothing_of_the_program() -> None:
    """Its own starts from what we were when we forked it, and by then we may have grown."""
    surrounding = Mock(watch=lambda: [], has_others_than=lambda _: False, oom_kills=lambda: None)
    tree = ProcessTree(surrounding, Mock(pid=0), "no group", owns_process=False)
    grown = b"x" * (64 * MIB)
    program = subprocess.Popen(["/bin/sleep", "60"])
    try:
        tree.attach(program.pid)
        while not tree.take(0.0).understand().file_bytes:
            assert program.poll() is None
            time.sleep(0.01)
        own = memory_of(os.getpid())
        assert own is not None and own.highest_resident_bytes > len(grown)
        assert tree.high_water_bytes(ended_with(own.highest_resident_bytes - MIB)) < 8 * MIB
        assert tree.high_water_bytes(ended_with(own.highest_resident_bytes + MIB)) > 56 * MIB
    finally:
        program.kill()
        program.wait()
