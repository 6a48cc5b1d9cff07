"""Runtimes in reports, recommendations and refusals."""

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

import cmemrun
from cmemrun.commands import runtime
from cmemrun.report.document import parse, render
from tests.conftest import CMEMRUN, Cmemrun
from tests.runtimes import real

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]


def verb(*arguments: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run([CMEMRUN, *arguments], capture_output=True, text=True, check=False)


@pytest.fixture
def saved(cmemrun: Cmemrun, tmp_path: Path) -> Any:
    """A saved run, as if of a program of a runtime."""
    document = cmemrun("-q", "true").document
    assert document is not None and document["runtime"] is None
    document["peak_bytes"] = 100 * real.MIB

    def save(**runtime: object) -> str:
        document["runtime"] = {"version": None, "file": "/prog"} | runtime
        path = tmp_path / "saved.json"
        path.write_text(json.dumps(document))
        return str(path)

    return save


def test_what_cannot_be_recognized_costs_no_run(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise TypeError("a file that nobody has thought of")

    run = cmemrun.measure(["true"])
    monkeypatch.setattr(runtime, "recognize", fail)
    assert runtime.with_runtime(run, ["true"], {"PATH": "/bin"}, {}) is run


def test_what_is_refused(cmemrun: Cmemrun) -> None:
    for arguments, why in (
        (["--runtime-env", "true"], "there is no limit below the machine"),
        (["--limit", "4Ei", "--runtime-env", "true"], "there is no limit below the machine"),
        (["--limit", "64Mi", "--runtime-env", "true"], "is no Go, HotSpot JVM, .NET or Node"),
        (["--limit", "64Mi", "--runtime-env", "sh", "-c", "node"], "is no Go"),
    ):
        result = cmemrun(*arguments, document=False)
        assert result.status == 125 and why in result.stderr
    assert cmemrun("--limit", "64Mi", "--runtime-env", "no-such", document=False).status == 127


def test_a_limit_of_kubernetes_counts(cmemrun: Cmemrun) -> None:
    command = [real.node(), "-e", real.HEAP_OF_NODE]
    result = cmemrun("--k8s-limit", "400Mi", "--runtime-env", "--", *command)
    assert result["runtime"]["environment"] == {"NODE_OPTIONS": "--max-old-space-size=300"}
    assert 300 * real.MIB <= int(result.stdout) <= 310 * real.MIB
    assert cmemrun("--", *command)["runtime"]["does"] == ""


def test_it_is_read_back(cmemrun: Cmemrun, tmp_path: Path) -> None:
    result = cmemrun("--limit", "400Mi", "--runtime-env", real.node(), "-e", "0")
    run = parse(json.dumps(result.document))
    assert run.runtime and dict(run.runtime.environment) == result["runtime"]["environment"]
    assert json.loads(render(run))["runtime"] == result["runtime"]
    path = tmp_path / "again.json"
    path.write_text(render(run))
    shown = verb("report", str(path)).stdout
    assert run.runtime.does in shown and "has set NODE_OPTIONS=" in shown
    # We have set that, for another limit: the caller has told it nothing.
    assert "set it as NODE_OPTIONS=--max-old-space-size=" in verb("recommend", str(path)).stdout


def test_recommendations(saved: Any) -> None:
    path = saved(name="go", version="1.22.1")
    found = json.loads(verb("recommend", path, "--json").stdout)
    assert found["limit_bytes"] == 115 * real.MIB
    assert found["runtime"]["environment"] == {"GOMEMLIMIT": "106MiB"}
    assert "would have it collect in time" in found["runtime"]["does"]
    [line] = [line for line in verb("recommend", path).stdout.splitlines() if "set it as" in line]
    assert "GOMEMLIMIT=" in line
    told = verb("recommend", path, "--yaml").stdout
    assert "# set it as GOMEMLIMIT=" in told and set(YAML(typ="safe").load(told)) == {"resources"}
    patched = verb(
        "recommend", path, "--patch", str(ROOT / "examples/pod.yaml"), "--container", "app"
    )
    assert "GOMEMLIMIT" not in patched.stdout and "set it as GOMEMLIMIT=" in patched.stderr


def test_what_the_caller_has_told_is_left(saved: Any) -> None:
    path = saved(name="jvm", version="17.0.1", settings=["-Xmx9m (command line)"])
    found = json.loads(verb("recommend", path, "--json").stdout)["runtime"]
    assert "-Xmx9m" in found["does"] and found["environment"] == {}


def test_a_saved_run_does_not_drive_the_terminal(saved: Any) -> None:
    path = saved(name="\x1b[31mx", does="\x1b[2Jx\ny", environment={"A\x1b": "\x07"})
    for told in (verb("report", path), verb("recommend", path), verb("recommend", path, "--yaml")):
        assert told.returncode == 0
        assert "\x1b" not in told.stdout and "\x07" not in told.stdout
    for wrong in ({"environment": 1}, {"environment": {"a": 1}}, {"name": 1}, {"settings": [1]}):
        assert verb("report", saved(**{"name": "go"} | wrong)).returncode == 125
