"""The search on the command line: what success is, what is known already, and its end."""

import json
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from cmemrun.analysis.search import Fit, Outcome, Trial
from cmemrun.report.fit_document import SavedFit, render
from tests.commands.running import LOAD, fit
from tests.conftest import CMEMRUN
from tests.running import call_cmemrun
from tests.waiting import PATIENCE_SECONDS, until

pytestmark = pytest.mark.slow

MIB = 2**20


def test_success_is_what_the_check_says(tmp_path: Path) -> None:
    made = tmp_path / "made"
    code = f"x = b'x' * {30 * MIB}; open({str(made)!r}, 'w').write('!'); raise SystemExit(3)"
    check = f"test -s {made}"
    found = fit(tmp_path, "--check", check, "--", sys.executable, "-c", code)
    assert 30 * MIB <= found["cliff_bytes"] <= 60 * MIB
    failing = fit(tmp_path, "--", sys.executable, "-c", code, status=1)
    assert failing["cliff_bytes"] is None and len(failing["runs"]) == 1
    assert "does not succeed without a limit" in failing["stderr"]


def test_resumed_it_runs_nothing_twice(tmp_path: Path) -> None:
    program = [*LOAD, "anon", "30", "0.05"]
    first = fit(tmp_path, "--max-runs", "2", "--", *program)
    assert not first["is_complete"] and len(first["runs"]) == 2
    path = str(tmp_path / "fit.json")
    second = fit(tmp_path, "--resume", path, "--", *program)
    assert second["is_complete"] and second["runs"][:2] == first["runs"]
    assert fit(tmp_path, "--resume", path, "--", *program)["runs"] == second["runs"]


def test_ctrl_c_ends_it_with_what_is_known(tmp_path: Path) -> None:
    document, once, again = tmp_path / "fit.json", tmp_path / "once", tmp_path / "again"
    # The second run does not end by itself.
    script = f"test -e {once} && touch {again} && exec sleep 1000; touch {once}"
    running = subprocess.Popen(
        [CMEMRUN, "fit", "--json", str(document), "--", "sh", "-c", script],
        stderr=subprocess.PIPE,
        text=True,
    )
    assert running.stderr
    assert "run 1:" in running.stderr.readline()
    until("the second run goes on", again.exists)
    running.send_signal(signal.SIGINT)
    _, told = running.communicate(timeout=PATIENCE_SECONDS)
    assert running.returncode == 1 and "ended before" in told
    assert len(json.loads(document.read_text())["runs"]) == 1


@pytest.mark.parametrize(
    ("arguments", "damage", "words"),
    [
        (["true"], {"cliff_bytes": "big"}, ["no result of cmemrun fit"]),
        (["false"], {}, ["another program"]),
    ],
)
def test_a_result_of_something_else(
    arguments: list[str], damage: dict[str, Any], words: list[str], tmp_path: Path
) -> None:
    path = tmp_path / "fit.json"
    unlimited = Trial(None, Outcome.OK, 1.0, None, MIB)
    saved = SavedFit(("true",), Fit(unlimited, (unlimited,), None, None, 0, False))
    path.write_text(json.dumps(json.loads(render(saved)) | damage))
    done = call_cmemrun("fit", "--resume", str(path), "--", *arguments)
    assert done.returncode == 125 and done.stderr.count("\n") == 1
    for word in words:
        assert word in done.stderr


@pytest.mark.parametrize(
    "options",
    [
        ["--slowdown", "10"],
        ["--confirm", "0"],
        ["--max-runs", "x"],
        ["--check", "'"],
        ["--check", ""],
    ],
)
def test_bad_values(options: list[str]) -> None:
    done = call_cmemrun("fit", *options, "--", "true")
    assert done.returncode == 125 and done.stderr.count("\n") == 1 and options[0] in done.stderr
