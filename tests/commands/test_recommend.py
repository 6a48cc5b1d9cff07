"""Recommendations as they are printed: for people, programs and manifests."""

import json
import os
import subprocess
from fractions import Fraction
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from cmemrun.kubernetes.pod import find_pods
from cmemrun.report import document
from tests.conftest import Cmemrun
from tests.made_up import RUN
from tests.running import call_cmemrun

pytestmark = pytest.mark.slow

MIB = 2**20
MANIFEST = Path(__file__).parents[2] / "examples/pod.yaml"


@pytest.fixture
def saved(cmemrun: Cmemrun, tmp_path: Path) -> str:
    load = ["examples/allocate.py", "40MiB", "300ms"]
    run = cmemrun("-q", "--", "python3", *load, cwd=MANIFEST.parents[1])
    path = tmp_path / "saved.json"
    path.write_text(json.dumps(run.document))
    return str(path)


def recommend(*arguments: str) -> "subprocess.CompletedProcess[str]":
    return call_cmemrun("recommend", *arguments)


def test_as_a_table_and_as_json(saved: str) -> None:
    told = recommend(saved)
    assert told.returncode == 0 and "Guaranteed" in told.stdout and "KRR" in told.stdout
    assert "one run" in told.stdout
    found = json.loads(recommend(saved, saved, saved, "--json").stdout)
    assert {"request_bytes", "limit_bytes", "rules", "warnings"} <= set(found)
    assert 46 * MIB <= found["limit_bytes"] == found["request_bytes"] <= 62 * MIB
    assert f"{found['limit_bytes'] // MIB}Mi" in told.stdout


def test_as_yaml(saved: str) -> None:
    told = recommend(saved, "--yaml", "--qos", "burstable").stdout
    found = YAML(typ="safe").load(told)["resources"]
    assert found["requests"]["memory"].endswith("Mi") and told.startswith("# one run")


def test_a_manifest_with_them_in_it(saved: str, tmp_path: Path) -> None:
    told = recommend(saved, "--patch", str(MANIFEST), "--container", "app").stdout
    [before] = find_pods([YAML(typ="safe").load(MANIFEST.read_text())])
    [after] = find_pods([YAML(typ="safe").load(told)])
    limit = after.container("app").resources.memory_limit
    assert limit == after.container("app").resources.memory_request != None  # noqa: E711
    # All else, comments included, stays as it was.
    assert after.container("proxy") == before.container("proxy")
    for pod in (before, after):
        assert pod.container("app").resources.cpu_request == Fraction(1, 4)
    lines = zip(MANIFEST.read_text().splitlines(), told.splitlines(), strict=True)
    changed = [line for line, new in lines if line != new]
    assert len(changed) == 2 and all("memory:" in line for line in changed)
    bare = tmp_path / "bare.yaml"
    bare.write_text("kind: Pod\nspec:\n  containers:\n  - name: a  # mine\n---\nkind: Service\n")
    told = recommend(saved, "--patch", str(bare)).stdout
    assert "# mine" in told and "kind: Service" in told and "memory:" in told


def test_a_manifest_is_read_once_and_may_be_wide(saved: str, tmp_path: Path) -> None:
    text = "kind: Pod\nspec:\n  containers:\n    - name: a  # mine\n"
    reading, writing = os.pipe()
    with open(writing, "w") as pipe:
        pipe.write(text)
    with open(reading) as pipe:
        done = call_cmemrun("recommend", saved, "--patch", "/dev/stdin", stdin=pipe, check=True)
    assert "    - name: a  # mine\n" in done.stdout and "memory:" in done.stdout
    wide = tmp_path / "wide.yaml"
    wide.write_text(text.replace("\n", "\r\n"), encoding="utf-16", newline="")
    assert recommend(saved, "--patch", str(wide)).stdout == done.stdout


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["/no/such"], "cannot read"),
        (["SAVED", "--json", "--yaml"], "three answers"),
        (["SAVED", "--patch", "/no/such"], "cannot read"),
        (["SAVED", "--patch", str(MANIFEST)], "it has several"),
        (["SAVED", "--patch", str(MANIFEST), "--container", "x"], "no container"),
        ([], "FILE"),
    ],
)
def test_what_makes_no_sense(arguments: list[str], words: str, tmp_path: Path) -> None:
    saved = tmp_path / "saved.json"
    saved.write_text(document.render(RUN))
    told = recommend(*[str(saved) if word == "SAVED" else word for word in arguments])
    assert told.returncode == 125 and words in told.stderr and told.stderr.count("\n") == 1
