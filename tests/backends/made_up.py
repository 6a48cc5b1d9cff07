"""Groups that are made up: directories with the files that kernels have in them."""

from pathlib import Path

from cmemrun.kernel.hierarchy import Hierarchy, Mount
from cmemrun.model import Identity

__all__ = ["V1", "V2_5_10", "V2_6_12", "Heir", "fill", "legacy", "unified"]

V2_5_10 = {
    "memory.current": "10000000\n",
    "memory.stat": "anon 4000000\nfile 3000000\nkernel_stack 16384\nsock 500000\n"
    "shmem 1000000\ninactive_file 12000000\nslab 200000\n",
    "memory.events": "low 0\nhigh 1\nmax 2\noom 3\noom_kill 4\n",
    "memory.max": "max\n",
}
V2_6_12 = V2_5_10 | {
    "memory.stat": "anon 4000000\nfile 3000000\nkernel 2000000\nsock 500000\nshmem 0\n"
    "inactive_file 1000000\nnews_of_9_9 1\n",
    "memory.events": "low 0\nhigh 1\nmax 2\noom 3\noom_kill 4\noom_group_kill 5\n",
    "memory.events.local": "low 0\nhigh 0\nmax 0\noom 1\noom_kill 0\noom_group_kill 0\n",
    "memory.peak": "11000000\n",
    "memory.swap.current": "4096\n",
    "memory.oom.group": "0\n",
    "pids.current": "7\n",
}
V1 = {
    "memory.usage_in_bytes": "10000000\n",
    "memory.max_usage_in_bytes": "11000000\n",
    "memory.kmem.usage_in_bytes": "2000000\n",
    "memory.failcnt": "3\n",
    "memory.oom_control": "oom_kill_disable 0\nunder_oom 0\noom_kill 1\n",
    "memory.limit_in_bytes": "9223372036854771712\n",
    "memory.stat": "cache 1\nrss 2\ntotal_cache 3000000\ntotal_rss 4000000\ntotal_shmem 1000000\n"
    "total_inactive_file 500000\n",
}


def fill(directory: Path, files: dict[str, str]) -> Path:
    """Make a directory with these files."""
    directory.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        (directory / name).write_text(text)
    return directory


class Heir:
    """Remembers what a keeper would be told."""

    pid = 2

    def __init__(self) -> None:
        self.paths: list[str] = []
        self.processes: set[Identity] = set()

    def adopt(self, path: str) -> None:
        self.paths.append(path)

    def watch(self, processes: set[Identity]) -> None:
        self.processes = processes


def unified(top: Path, own: str, root: str = "/") -> Hierarchy:
    """A v2 tree mounted at ``top``, and our own group in it."""
    return Hierarchy((Mount(str(top), root, 2, frozenset()),), {"": own})


def legacy(top: Path, own: str, root: str = "/") -> Hierarchy:
    """Likewise a v1 tree with the memory controller."""
    return Hierarchy((Mount(str(top), root, 1, frozenset({"memory"})),), {"memory": own})
