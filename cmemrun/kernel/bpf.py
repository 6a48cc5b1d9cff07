"""The eBPF maps that a process holds open (``bpf_map_show_fdinfo``, kernel/bpf/syscall.c)."""

import contextlib
import os
import re

from cmemrun.kernel.release import is_older_than
from cmemrun.model import BpfMap

__all__ = ["charges_maps", "maps_of", "parse"]

# enum bpf_map_type (include/uapi/linux/bpf.h), in its order.
_TYPES = (
    "unspec", "hash", "array", "prog_array", "perf_event_array", "percpu_hash", "percpu_array",
    "stack_trace", "cgroup_array", "lru_hash", "lru_percpu_hash", "lpm_trie", "array_of_maps",
    "hash_of_maps", "devmap", "sockmap", "cpumap", "xskmap", "sockhash",
    "cgroup_storage_deprecated", "reuseport_sockarray", "percpu_cgroup_storage", "queue",
    "stack", "sk_storage", "devmap_hash",
    "struct_ops", "ringbuf", "inode_storage", "task_storage", "bloom_filter", "user_ringbuf",
    "cgrp_storage", "arena", "insn_array",
)  # fmt: skip
_PER_CPU = frozenset({"percpu_hash", "percpu_array", "lru_percpu_hash", "percpu_cgroup_storage"})

_LINK = "anon_inode:bpf-map"
_LINE = re.compile(r"^(map_type|value_size|max_entries|memlock|map_id):\t(\d{1,20})$", re.MULTILINE)


def maps_of(pid: int) -> list[BpfMap]:
    """The maps that a process holds open; none where it has ended or hides them from us."""
    found = []
    with contextlib.suppress(OSError):
        for fd in os.listdir(f"/proc/{pid}/fd"):
            with contextlib.suppress(OSError):
                if os.readlink(f"/proc/{pid}/fd/{fd}") == _LINK:
                    with open(f"/proc/{pid}/fdinfo/{fd}", encoding="utf-8") as file:
                        found.append(parse(file.read(), os.sysconf("SC_NPROCESSORS_CONF")))
    return [one for one in found if one is not None]


def parse(text: str, cpus: int) -> BpfMap | None:
    """One ``fdinfo`` on a machine of so many possible CPUs; ``None`` where it is no map's."""
    told = {name: int(number) for name, number in _LINE.findall(text)}
    if not {"map_type", "memlock", "map_id"} <= told.keys():
        return None
    number = told["map_type"]
    kind = _TYPES[number] if number < len(_TYPES) else str(number)
    # A value takes a multiple of 8 bytes on every CPU.
    value_bytes = -(-told.get("value_size", 0) // 8) * 8
    return BpfMap(
        id=told["map_id"],
        type=kind,
        memlock_bytes=told["memlock"],
        per_cpu_bytes=value_bytes * told.get("max_entries", 0) * cpus if kind in _PER_CPU else 0,
    )


def charges_maps() -> bool:
    """Whether this kernel charges a map to the group of who makes it.

    Since Linux 5.11 ("bpf: switch to memcg-based memory accounting"), unless it was
    started with ``cgroup.memory=nobpf`` (6.3) or ``nokmem``; before, maps count
    against RLIMIT_MEMLOCK and in no group. No file tells.
    """
    if is_older_than(5, 11) is not False:
        return False
    with contextlib.suppress(OSError), open("/proc/cmdline", encoding="utf-8") as file:
        words = re.findall(r"\bcgroup\.memory=(\S+)", file.read())
        return not any(word in ("nobpf", "nokmem") for one in words for word in one.split(","))
    return True
