"""The same acceptance tests on every kernel: here, and in guests by ``scripts/kernels test``."""

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

LOADS = str(Path(__file__).with_name("loads.py"))
MIB = 2**20


def in_guest() -> bool:
    """Whether this is one of our guests, which are an order of magnitude slower."""
    return Path("/run/exchange/command").exists()


@pytest.fixture
def load(cmemrun: Callable[..., Any]) -> Callable[..., Any]:
    """Measure one of the known loads: ``load("anon", "64")``, ``options=[…]`` for cmemrun's own."""

    def run(*arguments: str, options: tuple[str, ...] = (), **more: Any) -> Any:
        return cmemrun(*options, "--", sys.executable, "-S", "-E", LOADS, *arguments, **more)

    return run


@pytest.fixture
def disk(tmp_path: Path) -> str:
    """A directory on a real disk, where a file's pages are page cache and not shmem."""
    if in_guest():
        return "/mnt"
    assert os.statvfs(tmp_path).f_bavail, "no room"
    return os.environ.get("CMEMRUN_TEST_DISK", "/var/tmp")
