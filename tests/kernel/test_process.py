"""Which processes are looked at, and how closely."""

import subprocess
import sys
import time

from cmemrun.kernel.process import largest


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
