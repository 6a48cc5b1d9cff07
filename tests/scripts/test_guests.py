"""A guest that dies, hangs or says nothing has no status, and its reason is told."""

import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from tests.waiting import until

ROOT = Path(__file__).parents[2]
GUEST = ROOT / "scripts/guest"

pytestmark = pytest.mark.slow


@pytest.fixture(autouse=True, scope="module")
def _guests() -> None:
    checked = subprocess.run([GUEST, "check"], capture_output=True, text=True, check=False)
    if checked.returncode != 0:
        pytest.skip(checked.stderr)


def run(*arguments: str, verb: str = "run") -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [GUEST, verb, *arguments], capture_output=True, text=True, check=False, timeout=300
    )


def test_status_and_output_are_the_commands() -> None:
    done = run("6.12", "--", "sh", "-c", "printf 'no end of line'; exit 7")
    assert (done.returncode, done.stdout) == (7, "no end of line")


def test_guest_that_dies_has_no_status() -> None:
    done = run("6.12", "--", "sh", "-c", "echo before; echo c > /proc/sysrq-trigger; sleep 60")
    assert (done.returncode, done.stdout) == (255, "before\n")
    assert "guest 6.12: the guest ended without a result" in done.stderr


def test_guest_that_hangs_is_ended() -> None:
    done = run("-t", "8", "6.12", "--", "sleep", "1000")
    assert done.returncode == 255
    assert "guest 6.12: the guest was ended after 8 s" in done.stderr


def test_guest_ends_with_the_command_that_started_it() -> None:
    command = [sys.executable, "-m", "scripts.guests", "run", "6.12", "--"]
    with subprocess.Popen(
        [*command, "sh", "-c", "echo up; exec sleep 1000"], cwd=ROOT, stdout=subprocess.PIPE
    ) as run:
        assert run.stdout is not None and run.stdout.readline() == b"up\n"
        [machine] = psutil.Process(run.pid).children()
        run.terminate()
    until("its kernel has ended", lambda: not machine.is_running())


def test_tests_that_fail_fail_the_guest(tmp_path: Path) -> None:
    done = run("6.12", "--", "tests/kernels/no_such_test.py", verb="test")
    assert done.returncode == 4, done.stdout


def test_unknown_guest_is_refused_with_those_there_are() -> None:
    done = run("4.4", "--", "true")
    assert done.returncode == 1
    assert "no guest '4.4'; there are 6.12, " in done.stderr
