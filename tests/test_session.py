"""The suite passes whatever its caller ignores, sets and closes."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[1]
TELLING = (
    "tests/commands/test_run.py::test_exit_status",  # the program dies of SIGINT, SIGQUIT …
    "tests/commands/test_run.py::test_the_program_has_our_surroundings",
    "tests/commands/test_help.py::test_the_first_screen_says_how_to_run_it_and_what_else_there_is",
    "tests/test_launcher.py::test_a_signal_while_it_waits_ends_it_as_it_would_the_program",
    "tests/api/test_threads.py::test_ctrl_c_in_the_main_thread",
)
ODD = {
    **{"LC_ALL": "C", "LANGUAGE": "de", "TERM": "dumb", "COLUMNS": "33", "LINES": "7"},
    **{"NO_COLOR": "1", "FORCE_COLOR": "1", "CI": "true", "GITHUB_ACTIONS": "true"},
    **{"PYTHONDONTWRITEBYTECODE": "1", "PYTHONUNBUFFERED": "1", "PYTHONWARNINGS": "error"},
}


def test_an_odd_caller_changes_no_result(tmp_path: Path) -> None:
    directory = tmp_path / "a b"
    directory.mkdir()
    script = "trap '' HUP INT QUIT TERM TSTP CHLD USR1; umask 077; exec 0<&-; exec setsid \"$@\""
    pytest = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:xdist"]
    done = subprocess.run(
        ["sh", "-c", script, "-", *pytest, *TELLING],
        cwd=ROOT,
        env=os.environ | ODD | {"TMPDIR": str(directory)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    assert not any(directory.iterdir())
