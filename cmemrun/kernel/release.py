"""Which Linux this is, for the few things that no file tells: elsewhere the file is asked."""

import os
import re

__all__ = ["is_older_than"]


def is_older_than(major: int, minor: int) -> bool | None:
    """Whether this kernel's release is; ``None`` where that has no number in front."""
    version = re.match(r"(\d+)\.(\d+)", os.uname().release)
    return None if version is None else (int(version[1]), int(version[2])) < (major, minor)
