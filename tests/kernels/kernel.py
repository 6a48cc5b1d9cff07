"""What this kernel and its hierarchy are, for what differs between them."""

import os
from pathlib import Path

from cmemrun.kernel.hierarchy import detect
from tests.conftest import hierarchy_of_memory

__all__ = ["VERSION", "WITHOUT_KMSG", "has_swap_accounting", "linux"]

VERSION = 2 if detect().v1("memory") is None else 1
"""Of the tree that has the memory controller."""
WITHOUT_KMSG = ("unshare", "-m", "sh", "-c", 'mount --bind /dev/null /dev/kmsg; exec "$@"', "-")
"""What is run behind this finds the kernel log's device put out of sight."""


def linux() -> tuple[int, ...]:
    """The first two numbers of this kernel's release."""
    return tuple(map(int, os.uname().release.split("-")[0].split("+")[0].split(".")[:2]))


def has_swap_accounting() -> bool:
    """Whether swap can be limited; on v1 that is for the kernel's command line to say."""
    _, own = hierarchy_of_memory()
    return VERSION == 2 or Path(own, "memory.memsw.limit_in_bytes").exists()
