"""Groups as others make them, for the tests that measure in them or beside them."""

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

from cmemrun.backends import tree
from tests.conftest import hierarchy_of_memory
from tests.waiting import PATIENCE_SECONDS

__all__ = ["limit_group", "made_group", "make_group"]


def make_group(parent: str, name: str) -> str:
    """A group in another one, which on v2 has to hand the controller on."""
    path = f"{parent}/{name}"
    if hierarchy_of_memory()[0].version == 2:
        Path(parent, "cgroup.subtree_control").write_text("+memory")
    os.mkdir(path)
    return path


def limit_group(path: str, max_bytes: int) -> None:
    """As somebody may do it with a group of theirs."""
    version = hierarchy_of_memory()[0].version
    limit = "memory.max" if version == 2 else "memory.limit_in_bytes"
    Path(path, limit).write_text(str(max_bytes))


@contextlib.contextmanager
def made_group(name: str, max_bytes: int | None = None) -> Iterator[str]:
    """A group beside ours that somebody else might have made, with a limit perhaps."""
    # On v2 the tests start in the root group, which alone may have both
    # processes and groups with controllers.
    path = make_group(hierarchy_of_memory()[1], name)
    hierarchical = Path(path, "memory.use_hierarchy")
    if hierarchical.exists() and hierarchical.read_text() == "0\n":  # before Linux 5.11
        hierarchical.write_text("1")
    if max_bytes is not None:
        limit_group(path, max_bytes)
    try:
        yield path
    finally:
        assert tree.end([path], PATIENCE_SECONDS)
