"""A container manager's rules explained, and manifests and options that make no sense."""

import json
import subprocess
from pathlib import Path

import pytest

from tests.kubernetes.pods import POD
from tests.running import call_cmemrun


def explain(*options: str) -> "subprocess.CompletedProcess[str]":
    return call_cmemrun("--explain", *options)


def test_explained_without_running(tmp_path: Path) -> None:
    path = tmp_path / "pod.yaml"
    path.write_text(POD)
    options = ["--pod", str(path), "--container", "side", "--node-memory", "1Gi"]
    told = explain(*options)
    assert told.returncode == 0, told.stderr
    # In the words of v2, wherever we are. 1000 - 1000 x 32 / 1024 = 1000 - 31 (31.25)
    for word in ("memory.max", "33554432", "memory.oom.group", "oom_score_adj", "969"):
        assert word in told.stdout
    written = tmp_path / "rules.json"
    assert explain(*options, "--json", str(written)).stdout == ""
    rules = json.loads(written.read_text())
    assert {tuple(rule) for rule in rules} == {("file", "value", "rule", "source")}
    ran = tmp_path / "ran"
    done = call_cmemrun("--explain", "--k8s-limit", "1Gi", "touch", str(ran), check=True)
    assert done.returncode == 0 and not ran.exists()


BOMB = "a: &a [x,x,x,x,x,x,x,x,x]\n" + "".join(
    f"{new}: &{new} [{','.join([f'*{old}'] * 9)}]\n"
    for old, new in zip("abcdefgh", "bcdefghi", strict=True)
)
# The same with merge keys, which copy what they name into each mapping.
MERGES = "a: &a {x: x}\n" + "".join(
    f"{new}: &{new} {{<<: [{','.join([f'*{old}'] * 9)}]}}\n"
    for old, new in zip("abcdefgh", "bcdefghi", strict=True)
)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "no pod"),
        ("a: [", "no YAML"),
        ("\x00", "no YAML"),
        ("kind: Service", "no pod"),
        (BOMB + "kind: Pod\nspec: {containers: *i}", "all aliases unfolded"),
        (MERGES + "kind: Pod\nspec: {<<: *i}", "all aliases unfolded"),
        ("kind: List\nitems: &a [{kind: List, items: *a}]", "contains itself"),
        ("a: 1\na: 2", "duplicate key"),
        ("a: [\nb: {", "in line 2"),
        ("%YAML 1.1\n---\na: " + "1:" * 500_000 + "1", "a word of"),
        ('%YAML 1.1\n---\na: !!int "' + "1:" * 500_000 + '1"', "a word of"),
        ("x: &a [&a 1, *a]", "no pod"),
        pytest.param("--- {}\n" * 60_000, "all aliases unfolded", marks=pytest.mark.slow),
        ("kind: Pod\nspec: !!python/object/apply:os.system ['touch ran']", "no YAML"),
        ("kind: Pod\nspec: &x {containers: [*x]}", "contains itself"),
        ("[" * 100_000, "nested more than"),
        ("a: " + "x" * 2**20, "larger than any manifest"),
        ("kind: [Pod]", "no pod"),
        ("kind: !!bool x", "no YAML"),
        ("kind: !!int ''", "no YAML"),
        (POD.replace("64Mi", f"0x{'f' * 5000}"), "no quantity"),
        (POD.replace("64Mi", "64MB"), "64MB"),
        (POD.replace("app", "side"), "it has several"),
    ],
)
def test_a_manifest_of_a_strangers(text: str, words: str, tmp_path: Path) -> None:
    path = tmp_path / "pod.yaml"
    path.write_text(text)
    done = call_cmemrun("--pod", str(path), "--explain", cwd=tmp_path)
    assert done.returncode == 125 and done.stderr.count("\n") == 1, done.stderr
    assert words in done.stderr and not (tmp_path / "ran").exists()


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--docker", "-m 1g", "--k8s-limit", "1Gi"], "two sets of rules"),
        (["--docker", "-m 1g", "--podman", "-m 1g"], "two sets of rules"),
        (["--podman", "--oom-kill-disable"], "does not start"),
        (["--pod", "/no/such"], "cannot read"),
        (["--k8s-limit", "1Gi", "--k8s-version", "1.99"], "1.99"),
        (["--k8s-limit", "1Gi", "--k8s-version", "x"], "no release"),
        (["--k8s-limit", "1Gi", "--throttling-factor", "2"], "0 and 1"),
        (["--k8s-limit", "1Gi", "--cpu-limit", "1x"], "no quantity"),
        ([], "no rules"),
    ],
)
def test_what_makes_no_sense(options: list[str], words: str) -> None:
    done = explain(*options)
    assert done.returncode == 125 and words in done.stderr, done.stderr
