"""Tests for a machine with systemd, run in its guests by ``scripts/guest test``."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

PLACE = os.environ.get("CMEMRUN_TEST_PLACE")

# Elsewhere there is no such place to be in.
collect_ignore_glob = [] if PLACE else ["test_*.py"]


@pytest.fixture
def rootfs() -> Iterator[Path]:
    """A container's root, for the machine's own /usr, on the disk: /tmp may be a tmpfs."""
    path = Path(tempfile.mkdtemp(dir="/var/tmp"))
    for name in ("usr", "etc", "proc", "sys", "dev", "run", "tmp"):
        (path / name).mkdir()
    for name in ("bin", "sbin", "lib", "lib64"):
        (path / name).symlink_to(f"usr/{name}")
    (path / "etc/passwd").write_text("root:x:0:0::/:/bin/sh\n")
    yield path
    shutil.rmtree(path)
