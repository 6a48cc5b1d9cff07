"""Which processes are looked at, and how closely."""

import subprocess
import sys
import time

from cmemrun.kernel.process import descendants, largest
from cmemrun.model import Identity


def test_only_the_largest_are_looked_at_closely() -> None:
    """Only the largest are asked for more than their RSS."""
    crowd = [subprocess.Popen(["sleep", "1000"]) for _ in range(50)]
    load = "x = bytearray(64 << 20); import time; time.sleep(1000)"
    big = subprocess.Popen([sys.executable, "-c", load])
    time.sleep(2)
    found = largest([process.pid for process in [*crowd, big]], 5)
    for process in [*crowd, big]:
        process.kill()
        process.wait()
    assert len(found) == 5 and found[0].pid == big.pid
    assert [who.rss_bytes for who in found] == sorted(
        (who.rss_bytes for who in found), reverse=True
    )


def test_who_descends_from_whom() -> None:
    root, child, grandchild = Identity(10, 5), Identity(11, 6), Identity(12, 6)
    older, other = Identity(13, 4), Identity(14, 9)
    parents = {root: 1, child: 10, grandchild: 11, older: 10, other: 1}
    assert descendants([root], parents) == {root, child, grandchild}
    # It has ended while the others were looked at, and then somebody else has its number.
    del parents[root]
    assert descendants([root], parents) == {child, grandchild}
    parents[Identity(10, 8)] = 1
    assert descendants([root], parents) == set()
