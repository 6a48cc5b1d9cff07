"""What of a group's memory this machine's kernel counts."""

from pathlib import Path

from tests.conftest import hierarchy_of_memory

__all__ = ["has_swap_accounting"]


def has_swap_accounting() -> bool:
    mount, own = hierarchy_of_memory()
    return mount.version == 2 or Path(own, "memory.memsw.limit_in_bytes").exists()
