"""A group is one read, and not a walk over its processes."""

import statistics
import subprocess
import time

import pytest

from cmemrun.backends import Group, choose
from cmemrun.backends.surrounding import Surrounding
from cmemrun.keeper import Keeper
from cmemrun.kernel.hierarchy import detect

# Subshells: forked, and with nothing to execute they come quickly in a guest, too.
CROWD = """
read go
exec 3<&0
i=0
while [ $i -lt 1000 ]; do (read end <&3) & i=$((i + 1)); done
read end <&3
"""


def cost(group: Group) -> float:
    started = time.thread_time()
    for _ in range(50):
        group.take(0.0).understand()
    return time.thread_time() - started


def ratio(many: Group, one: Group) -> float:
    pairs = [(cost(many), cost(one)) for _ in range(40)]
    crowded, alone = (float(statistics.median(costs)) for costs in zip(*pairs, strict=True))
    return crowded / alone


@pytest.mark.slow
def test_a_thousand_idle_processes_do_not_make_a_sample_dear() -> None:
    """Beside a group without any, in alternation: the machine is not always equally fast."""
    with Keeper() as keeper:
        one, many = (choose(detect(), 0, keeper, Surrounding(detect())) for _ in range(2))
        with subprocess.Popen(["sh", "-c", CROWD], stdin=subprocess.PIPE) as shell:
            many.attach(shell.pid)
            assert shell.stdin
            shell.stdin.write(b"go\n")
            shell.stdin.flush()
            deadline = time.monotonic() + 120
            while len(many.members()) < 1001 and time.monotonic() < deadline:
                time.sleep(0.2)
            assert len(many.members()) == 1001
            # Idle they are some time after they were made: until then the kernel
            # has sums to add up for whoever reads.
            least = float("inf")
            for _ in range(6):
                time.sleep(2)
                least = min(least, ratio(many, one))
                print(f"with 1,000 processes a sample costs {least:.3f} of one without")
                if least < 1.1:
                    break
        for group in (one, many):
            group.close()
            assert group.remove()
    assert least < 1.1
