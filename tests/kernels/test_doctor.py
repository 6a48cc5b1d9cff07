"""What ``doctor`` says of a kernel is what that kernel has."""

import json
import subprocess

from tests.conftest import CMEMRUN, hierarchy_of_memory
from tests.kernels.kernel import linux


def test_what_this_kernel_offers() -> None:
    done = subprocess.run([CMEMRUN, "doctor", "--json"], capture_output=True, check=False)
    found = json.loads(done.stdout)
    mount, _ = hierarchy_of_memory()
    kernel = linux()
    assert (done.returncode, found["chosen"]) == (0, f"v{mount.version}")
    assert found["proof"]["passed"] is True
    offers = found["offers"]
    if mount.version == 1:
        assert offers["memory.max_usage_in_bytes"] and offers["memory.oom_control oom_kill"]
        return
    # Of Debian's kernels, which take none of these back.
    for name, since in {
        "memory.peak": (5, 19),
        "memory.stat kernel": (5, 18),
        "memory.reclaim": (5, 19),
        "cgroup.kill": (5, 14),
        "memory.oom.group": (4, 19),
    }.items():
        assert offers[name] is (kernel >= since), name
    [way] = [way for way in found["ways"] if way["name"] == "v2"]
    assert way["exact"] is (kernel >= (5, 19))
