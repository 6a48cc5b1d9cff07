"""Every file of a group missing, empty, cut off or unknown: none of it makes a wrong number.

On a directory made up as kernels have it; the code that reads is the real one.
"""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from cmemrun.backends.reading import DirectorySource
from cmemrun.backends.v1 import V1Group
from cmemrun.backends.v2 import V2Group
from cmemrun.errors import CmemrunError

STALL = (
    "some avg10=0.00 avg60=0.00 avg300=0.00 total=2000000\n"
    "full avg10=0.00 avg60=0.00 avg300=0.00 total=1000000\n"
)
V2 = {
    "memory.current": "10000000\n",
    "memory.stat": "anon 4000000\nfile 3000000\nkernel 2000000\nsock 500000\nshmem 0\n"
    "inactive_file 1000000\nfile_mapped 70000\npgfault 12\n",
    "memory.events": "low 0\nhigh 1\nmax 2\noom 3\noom_kill 4\noom_group_kill 5\n",
    "memory.peak": "11000000\n",
    "memory.swap.current": "40960\n",
    "memory.pressure": STALL,
    "memory.max": "536870912\n",
    "memory.high": "max\n",
    "memory.oom.group": "0\n",
    "cgroup.procs": "",
    "cpu.stat": "usage_usec 30\nuser_usec 20000000\nsystem_usec 10000000\n",
    "pids.current": "17\n",
    "pids.max": "100\n",
}
V1 = {
    "memory.usage_in_bytes": "10000000\n",
    "memory.max_usage_in_bytes": "11000000\n",
    "memory.kmem.usage_in_bytes": "2000000\n",
    "memory.failcnt": "23\n",
    "memory.oom_control": "oom_kill_disable 0\nunder_oom 0\noom_kill 4\n",
    "memory.limit_in_bytes": "536870912\n",
    "memory.memsw.limit_in_bytes": "9223372036854771712\n",
    "memory.soft_limit_in_bytes": "9223372036854771712\n",
    "memory.stat": "cache 1\nrss 2\ntotal_cache 3000000\ntotal_rss 4000000\ntotal_shmem 1000000\n"
    "total_inactive_file 500000\ntotal_pgfault 12\n",
    "memory.pressure": STALL,
    "cgroup.procs": "",
    "cpu.stat": "usage_usec 30\nuser_usec 20000000\nsystem_usec 10000000\n",
    "pids.max": "100\n",
}
KINDS: dict[str, tuple[Callable[[str], DirectorySource], dict[str, str]]] = {
    "v2": (V2Group, V2),
    "v1": (V1Group, V1),
}
UNKNOWN = (
    "\n",
    "no number\n",
    "-1\n",
    "1e9\n",
    "0x10\n",
    "12 34\n",
    "9" * 40 + "\n",
    "\0\0\n",
    "é\n",
)


def read_all(group: Any) -> dict[str, object]:
    """Every value that is read of a group, by name."""
    sample, limits, cpu = group.take(1.0).understand(), group.limits(), group.cpu_time()
    told: dict[str, object] = sample._asdict()
    told |= {f"limit {name}": one for name, one in limits._asdict().items()}
    told |= {f"event {name}": one for name, one in sample.events._asdict().items()}
    told |= {f"paging {name}": one for name, one in sample.paging._asdict().items()}
    told |= {"peak": group.peak(), "cpu": cpu}
    assert all(pid > 0 for pid in group.members())
    told |= {"working set": sample.working_set_bytes, "composition": group.composition()}
    return told


def faulty(text: str) -> list[str | None]:
    """What may be there in place of it; ``None`` for no file."""
    torn = [text[:length] for length in range(len(text))]
    return [None, *torn, *UNKNOWN, text + "news 1\n", *(text + one for one in UNKNOWN)]


@pytest.mark.parametrize("kind", KINDS)
def test_every_file_of_a_group(
    kind: str, tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    make, files = KINDS[kind]
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    group = make(str(tmp_path))
    whole = read_all(group)
    group.close()
    before, cases, refused = os.listdir("/proc/self/fd"), 0, 0
    for name, text in files.items():
        for other in faulty(text):
            path = tmp_path / name
            if other is None:
                path.unlink()
            else:
                path.write_text(other)
            cases += 1
            try:
                group = make(str(tmp_path))
                try:
                    found = read_all(group)
                finally:
                    group.close()
            except (OSError, CmemrunError) as error:
                assert "Errno" in str(error) or "found" in str(error)
                refused += 1
            else:
                for value, known in whole.items():
                    now = found[value]
                    assert is_less_told(value, now, known), (name, other, value, now)
        (tmp_path / name).write_text(text)
    # Nothing stays open of a group that could not be had.
    assert len(os.listdir("/proc/self/fd")) == len(before)
    assert 0 < refused < cases
    record_property("faults", cases)


def is_less_told(value: str, now: object, known: object) -> bool:
    """The same or nothing; a value made of several says less where one of them is missing."""
    if now == known or now is None:
        return True
    if isinstance(now, tuple) and isinstance(known, tuple):
        return all(one is None or one == other for one, other in zip(now, known, strict=True))
    # Without a line of its own in memory.stat it is what is left, and a note says so.
    return value == "kernel_bytes" and isinstance(now, int)
