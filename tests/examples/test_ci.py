"""The jobs for CI: as their services read them, and executed by an ordinary user.

With sudo, and in containers, tests/places executes them.
"""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from junitparser import JUnitXml

from tests.examples.conftest import Place
from tests.examples.jobs import EXAMPLES, github, gitlab, jenkinsfile

pytestmark = pytest.mark.slow


@pytest.mark.parametrize(
    ("schema", "name"),
    [("vendor.github-workflows", "github-actions.yml"), ("vendor.gitlab-ci", "gitlab-ci.yml")],
)
def test_it_is_of_its_schema(schema: str, name: str, tmp_path: Path) -> None:
    def check(path: Path) -> int:
        command = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", schema, str(path)]
        return subprocess.run(command, check=False, capture_output=True).returncode

    text = (EXAMPLES / "ci" / name).read_text()
    assert check(EXAMPLES / "ci" / name) == 0
    wrong = tmp_path / name
    wrong.write_text(
        text.replace("  with-sudo:\n", "  with-sudo:\n    step: 1\n").replace("script:", "skript:")
    )
    assert check(wrong) != 0


def test_the_jenkinsfile_is_declarative() -> None:
    """By https://www.jenkins.io/doc/book/pipeline/syntax, as nothing here reads Groovy."""
    pipeline = jenkinsfile()
    assert [one.name for one in pipeline.inside or ()] == ["agent", "stages", "post"]
    stages = list(pipeline.all("stage"))
    assert stages and list(pipeline.all("stages"))
    for stage in stages:
        assert len(stage.texts) == 1 and [one.name for one in stage.inside or ()] == ["steps"]
    (always,) = pipeline.all("always")
    assert [one.name for one in always.inside or ()] == ["junit", "archiveArtifacts"]
    assert {one.name for steps in pipeline.all("steps") for one in steps.inside or ()} == {"sh"}


def told(place: Place, name: str = "memory.json") -> list[dict[str, Any]]:
    """The measurements that a job has left, each by its budgets."""
    return json.loads((place.project / name).read_text())["measurements"]  # type: ignore[no-any-return]


def verdicts(place: Place) -> tuple[int, int, int]:
    found = JUnitXml.fromfile(str(place.project / "memory.xml"))
    return found.tests, found.failures, found.errors


def tighten(place: Place) -> None:
    """A budget that is broken: the gate has to close."""
    (place.project / "examples/budgets.toml").write_text(
        "[commands.import]\n"
        "command = ['python3', 'examples/allocate.py', '20MiB']\n"
        "max-peak = '10MiB'\n"
    )


class GitHub:
    """What a runner has for its steps."""

    def __init__(self, place: Place) -> None:
        self.place = place
        self.summary, self.output = place.top / "summary", place.top / "output"
        for path in (self.summary, self.output):
            path.touch()
            path.chmod(0o666)
        self.files = {"GITHUB_STEP_SUMMARY": str(self.summary), "GITHUB_OUTPUT": str(self.output)}

    def step(self, script: str) -> "subprocess.CompletedProcess[str]":
        return self.place.run(["bash", "-e"], script, **self.files)


def test_github_without_sudo(place: Place) -> None:
    runner = GitHub(place)
    _, doctor, measure, compare = github("without-sudo")
    assert "\nproved, as a lower bound only" in runner.step(doctor).stdout
    begun = place.run(
        ["sh", "-e"],
        "git init -q; git add .; alias commit='git -c user.name=a -c user.email=a commit -qm x'\n"
        "commit; commit --allow-empty",
    )
    assert begun.returncode == 0, begun.stderr
    measured = runner.step(measure)
    assert measured.returncode == 0, measured.stderr
    assert "\n::notice title=cmemrun%3A import::peak " in f"\n{measured.stdout}"
    assert [(one["name"], len(one["runs"])) for one in told(place)] == [
        ("import", 3),
        ("export", 1),
    ]
    for one in told(place):
        assert {run["method"]["backend"] for run in one["runs"]} == {"proc"}
        assert {run["user"] for run in one["runs"]} == {None}
    assert verdicts(place)[1:] == (0, 0)
    assert "import" in runner.summary.read_text()
    assert runner.output.read_text().startswith("passed=true\n")
    compared = runner.step(compare)
    assert compared.returncode == 0, compared.stderr
    assert compared.stdout.count("\nnew ") == 2
    # What has grown within its budget is found by this step alone.
    program = place.project / "examples/allocate.py"
    program.write_text(program.read_text().replace("int(size[:-3])", "int(size[:-3]) * 5 // 4"))
    assert runner.step(measure).returncode == 0
    again = runner.step("git worktree remove --force base\n" + compare)
    assert again.returncode == 123, again.stderr


def test_github_with_a_broken_budget(place: Place) -> None:
    tighten(place)
    runner = GitHub(place)
    measured = runner.step(github("without-sudo")[2])
    assert measured.returncode == 123
    (error,) = [line for line in measured.stdout.splitlines() if line.startswith("::error")]
    assert error.startswith("::error title=cmemrun%3A import::peak ")
    assert verdicts(place)[1] == 1
    assert runner.output.read_text().startswith("passed=false\n")


def test_github_has_the_same_budgets_with_sudo() -> None:
    """What ``--budget`` of the other job looks for is in the file."""
    from cmemrun.commands.budget_file import read_budgets

    (*_, command) = github("with-sudo")
    commands = {one.command for one in read_budgets(str(EXAMPLES / "budgets.toml"))}
    assert tuple(command.partition(" -- ")[2].split()) in commands


def test_gitlab(place: Place) -> None:
    install, measure = gitlab("memory")
    assert install == "pip install --quiet ."  # what the first step of GitHub's has done here
    path = f"{place.home}/cmemrun/bin:/usr/bin:/bin"
    done = place.run(["sh", "-e"], measure, PATH=path)
    assert done.returncode == 0, done.stderr
    assert verdicts(place)[1:] == (0, 0) and len(told(place)) == 2
    metrics = (place.project / "metrics.txt").read_text()
    assert 'cmemrun_peak_bytes{command="import"} ' in metrics and metrics.endswith("# EOF\n")
    # Nobody has a group here: the job that wants one ends before it measures.
    _, doctor, _ = gitlab("memory-exact")
    assert place.run(["sh", "-e"], doctor, PATH=path).returncode == 1
    tighten(place)
    assert place.run(["sh", "-e"], measure, PATH=path).returncode == 123
    assert verdicts(place)[1] == 1


def test_jenkins(place: Place) -> None:
    steps = list(jenkinsfile().all("sh"))
    install, doctor, measure = (text for step in steps for text in step.texts)
    ours = install.replace('"$WORKSPACE_TMP/cmemrun"', "~/cmemrun").replace(
        '"$WORKSPACE_TMP/cmemrun/bin/pip"', "~/cmemrun/bin/pip"
    )
    assert ours.split() == github("without-sudo")[0].split()  # which was done here

    def step(script: str) -> int:
        return place.run(["sh", "-xe"], script, WORKSPACE_TMP=str(place.home)).returncode

    assert (step(doctor), step(measure)) == (0, 0)
    assert verdicts(place)[1:] == (0, 0) and len(told(place)) == 2
    (junit,), (archive,) = jenkinsfile().all("junit"), jenkinsfile().all("archiveArtifacts")
    for one in (junit, archive):
        assert (place.project / one.texts[0]).is_file()
    tighten(place)
    assert step(measure) == 123
    assert verdicts(place)[1] == 1


@pytest.mark.parametrize("text", ["pipeline { a { }", "pipeline { } }", "pipeline { } x", "a { }"])
def test_the_reader_of_jenkinsfiles_can_refuse(
    text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "ci").mkdir()
    (tmp_path / "ci/Jenkinsfile").write_text(text)
    monkeypatch.setattr("tests.examples.jobs.EXAMPLES", tmp_path)
    with pytest.raises(ValueError):
        jenkinsfile()
