"""A clean checkout in which an ordinary user installs cmemrun, as the jobs do."""

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.examples.jobs import EXAMPLES, github

ROOT = EXAMPLES.parent
# Where the machine's packages come from is its own affair.
KEPT = ("PIP_", "SSL_", "CMEMRUN_TEST_MARK")


class Place:
    """Directories of nobody's, and commands run there as that user."""

    def __init__(self, top: Path) -> None:
        self.top, self.home, self.project = top, top / "home", top / "project"

    def run(self, shell: list[str], script: str, **more: str) -> "subprocess.CompletedProcess[str]":
        """The script in a file, as CI has it, with nothing but ``more`` in its environment."""
        path = self.top / "script"
        path.write_text(script)
        path.chmod(0o755)
        kept = {name: value for name, value in os.environ.items() if name.startswith(KEPT)}
        clean = {"HOME": str(self.home), "PATH": "/usr/local/bin:/usr/bin:/bin", "USER": "nobody"}
        return subprocess.run(
            [*shell, str(path)],
            cwd=self.project,
            env=kept | clean | more,
            user=65534,
            group=65534,
            extra_groups=[],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )


@pytest.fixture(scope="session")
def home() -> Iterator[Path]:
    """Nobody's home, with what the first step of GitHub's job installs there."""
    # Not pytest's own directory, into which nobody else may look.
    top = Path(tempfile.mkdtemp(dir="/var/tmp"))
    place = Place(top)
    _check_out(place)
    installed = place.run(["bash", "-e"], github("without-sudo")[0])
    assert installed.returncode == 0, installed.stderr
    yield place.home
    shutil.rmtree(top)


@pytest.fixture
def place(home: Path) -> Iterator[Place]:
    top = Path(tempfile.mkdtemp(dir="/var/tmp"))
    place = Place(top)
    _check_out(place)
    place.home.rmdir()
    place.home = home
    yield place
    shutil.rmtree(top)


def _check_out(place: Place) -> None:
    place.top.chmod(0o755)
    place.home.mkdir()
    place.project.mkdir()
    for name in ("README.md", "LICENSE", "pyproject.toml"):
        shutil.copy(ROOT / name, place.project)
    for name in ("cmemrun", "examples"):
        shutil.copytree(ROOT / name, place.project / name)
    subprocess.run(["chown", "-R", "65534:65534", place.home, place.project], check=True)
