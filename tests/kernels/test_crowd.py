"""A group is one read, and not a walk over its processes."""

import statistics
import subprocess
import time

import pytest

from cmemrun.backends import Group, choose
from cmemrun.backends.surrounding import Surrounding
from cmemrun.keeper import Keeper
from cmemrun.kernel.hierarchy import detect
from tests.waiting import until

# Subshells: forked, and with nothing to execute they come quickly in a guest, too.
CROWD = """
read go
exec 3<&0
i=0
while [ $i -lt 300 ]; do (read end <&3) & i=$((i + 1)); done
read end <&3
"""


def cost(group: Group) -> float:
    started = time.thread_time()
    for _ in range(50):
        group.take(0.0).understand()
    return time.thread_time() - started


def ratio(many: Group, one: Group) -> float:
    pairs = [(cost(many), cost(one)) for _ in range(20)]
    return statistics.median(crowded / alone for crowded, alone in pairs)


@pytest.mark.emulated
@pytest.mark.kernel_independent
def test_hundreds_of_idle_processes_do_not_make_a_sample_dear() -> None:
    """Beside a group without any, in alternation: the machine is not always equally fast.

    To walk over the processes costs ten times as much and more. Right after they were made
    the kernel has sums to add up for whoever reads.
    """
    with Keeper() as keeper:
        one, many = (choose(detect(), 0, keeper, Surrounding(detect())) for _ in range(2))
        with subprocess.Popen(["sh", "-c", CROWD], stdin=subprocess.PIPE) as shell:
            many.attach(shell.pid)
            assert shell.stdin
            shell.stdin.write(b"go\n")
            shell.stdin.flush()
            until("all of them are there", lambda: len(many.members()) == 301, every=0.2)
            found = ratio(many, one)
            print(f"with 300 processes a sample costs {found:.3f} of one without")
        for group in (one, many):
            group.close()
            assert group.remove()
    assert found < 2
