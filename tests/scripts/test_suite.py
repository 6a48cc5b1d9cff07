"""The suite is red when it should be: a step that dies, hangs or runs no test, and why."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from scripts.suite import table
from scripts.suite.schedule import run
from scripts.suite.steps import Ended, Step

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
WRITE = "import os, sys; open(os.environ['CMEMRUN_TEST_REPORT'], 'w').write(sys.argv[1])"


def ended(step: Step) -> Ended:
    (one,) = run([step], lanes=2)
    return one


def reporting(name: str, **record: object) -> Step:
    command = (sys.executable, "-c", WRITE, json.dumps({"left_out": {}} | record))
    return Step(name, command, records=1)


def test_step_that_fails_is_red_with_its_status() -> None:
    found = ended(Step("fails", ("sh", "-c", "echo words; exit 3")))
    assert (found.why_red, found.output) == ("exit status 3", "words\n")


def test_step_that_is_killed_is_red_with_its_signal() -> None:
    assert ended(Step("killed", ("sh", "-c", "kill -9 $$"))).why_red == "exit status -9"


def test_step_that_hangs_is_ended_and_red() -> None:
    found = ended(Step("hangs", ("sh", "-c", "echo begun; sleep 1000"), seconds=1))
    assert (found.why_red, found.output) == ("hung", "begun\n")


@pytest.mark.parametrize(
    "command", [("true",), (sys.executable, "-c", WRITE, '{"tests": {}, "left_out": {}}')]
)
def test_step_that_ran_no_test_is_red(command: tuple[str, ...]) -> None:
    assert ended(Step("silent", command, records=1)).why_red == "ended well, but 1 of 1 ran no test"


def test_step_of_two_places_is_red_if_one_ran_no_test() -> None:
    record = json.dumps({"tests": {"a": ["passed", 1]}, "left_out": {}})
    found = ended(Step("silent", (sys.executable, "-c", WRITE, record), records=2))
    assert (found.why_red, len(found.tests)) == ("ended well, but 1 of 2 ran no test", 1)


def test_cpu_time_is_that_of_processes_nobody_waits_for(tmp_path: Path) -> None:
    burn = "import time\nwhile time.process_time() < 0.5: pass"
    done = tmp_path / "done"
    orphan = f"( ({sys.executable} -S -c '{burn}'; touch {done}) & )"
    found = ended(
        Step("orphan", ("sh", "-c", f"{orphan}; until [ -e {done} ]; do sleep 0.1; done"))
    )
    assert found.cpu_seconds is None or found.cpu_seconds >= 0.5


def test_feature_that_no_step_offered_is_named_with_its_test() -> None:
    steps = [
        reporting("here", tests={"a": ["passed", 1]}, left_out={"b": ["psi"], "c": ["smp"]}),
        reporting("guest", tests={"b": ["passed", 1]}, left_out={"c": ["smp"]}),
    ]
    assert table.never_offered(list(run(steps, lanes=2))) == ["c ran nowhere: it needs smp"]


def test_table_names_step_tests_failures_and_slowest(capsys: pytest.CaptureFixture[str]) -> None:
    found = ended(reporting("here", tests={"t.py::test_a": ["failed", 7.6], "b": ["passed", 0]}))
    table.show([found], 12.3)
    rows = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert rows[0] == ["step", "wall", "s", "CPU", "s", "tests", "failed"]
    assert (rows[1][0], rows[1][3:]) == ("here", ["2", "1"])
    assert rows[-1] == ["here", "8", "t.py::test_a"]


def test_record_has_what_ran_and_what_was_left_out(tmp_path: Path) -> None:
    (tmp_path / "test_it.py").write_text(
        "import pytest\n"
        "def test_good(): pass\n"
        "def test_bad(): assert False\n"
        "@pytest.mark.needs('none')\n"
        "def test_elsewhere(): pass\n"
    )
    plugin = tmp_path / "with_none.py"
    plugin.write_text("from tests.selection import *\nFEATURES['none'] = lambda: False\n")
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    for workers in ((), ("-n", "2")):
        written = tmp_path / "record.json"
        done = subprocess.run(
            (sys.executable, "-m", "pytest", "-q", "-p", "with_none", *workers, "test_it.py"),
            cwd=tmp_path,
            env={
                "PATH": "/usr/bin:/bin",
                "PYTHONPATH": f"{tmp_path}:{ROOT}",
                "CMEMRUN_TEST_REPORT": str(written),
            },
            capture_output=True,
            text=True,
            check=False,
        )
        record = json.loads(written.read_text())
        assert done.returncode == 1, done.stdout
        assert {node: how for node, (how, _) in record["tests"].items()} == {
            "test_it.py::test_good": "passed",
            "test_it.py::test_bad": "failed",
        }
        assert record["left_out"] == {"test_it.py::test_elsewhere": ["none"]}
