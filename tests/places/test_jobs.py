"""The jobs of examples/ where they are at home: with sudo, and in containers."""

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.examples.jobs import container, github, gitlab
from tests.places.podman import NEW, PODMAN

PLACE = os.environ["CMEMRUN_TEST_PLACE"]
MIB = 2**20


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    shutil.copytree("examples", tmp_path / "checkout/examples")
    # One run of each command will do: the others take their time in a guest.
    budgets = tmp_path / "checkout/examples/budgets.toml"
    budgets.write_text(re.sub(r"(?m)^runs = .*$", "", budgets.read_text()))
    return tmp_path / "checkout"


def done(shell: str, script: str, at: Path, **more: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [*shell.split(), script],
        cwd=at,
        env=os.environ | more,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )


def measured(path: Path) -> list[dict[str, Any]]:
    """All runs in a document, in which a single one stands for itself."""
    read = json.loads(path.read_text())
    told = read.get("measurements", [read])
    return [run for one in told for run in one.get("runs", [one])]


def ways(path: Path) -> set[tuple[str, str]]:
    return {(run["method"]["backend"], run["method"]["peak_source"]) for run in measured(path)}


@pytest.mark.places(*["login"] * NEW)
@pytest.mark.parametrize("job", ["with-sudo", "without-sudo"])
def test_github(job: str, checkout: Path, tmp_path: Path) -> None:
    """Installed where the job installs it; there is nothing to install it from."""
    command = tmp_path / "home/cmemrun/bin/cmemrun"
    command.parent.mkdir(parents=True)
    command.write_text(
        f"#!/bin/sh\nexport PYTHONPATH='{os.environ['PYTHONPATH']}'\n"
        f'exec {sys.executable} -m cmemrun "$@"\n'
    )
    command.chmod(0o755)
    runner = {
        "HOME": str(tmp_path / "home"),
        "GITHUB_STEP_SUMMARY": str(tmp_path / "summary"),
        "GITHUB_OUTPUT": str(tmp_path / "output"),
    }
    (script,) = [text for text in github(job) if "junit=" in text]
    found = done("bash -e -c", script, checkout, **runner)
    assert found.returncode == 0, found.stderr
    assert "::notice title=cmemrun" in found.stdout and "::error" not in found.stdout
    assert ways(checkout / "memory.json") == {("systemd-scope", "kernel")}
    user = "tester" if job == "with-sudo" else None
    assert {run["user"] for run in measured(checkout / "memory.json")} == {user}
    for path in (checkout / "memory.xml", tmp_path / "summary"):
        assert path.stat().st_uid == os.getuid()


@pytest.mark.places("container", *["writable-container"] * (not NEW))
def test_gitlab(checkout: Path) -> None:
    job = "memory" if PLACE == "container" else "memory-exact"
    install, *lines = gitlab(job)
    assert install == "pip install --quiet ."  # there is nothing to install it from
    found = done("sh -e -c", "\n".join(lines), checkout)
    assert found.returncode == 0, found.stderr
    way = ("proc", "sampled") if PLACE == "container" else ("cgroup-v2", "kernel")
    assert ways(checkout / "memory.json") == {way}
    for run in measured(checkout / "memory.json"):
        # There is none where the container gave memory back meanwhile, which is said.
        unbounded = any("no upper bound" in note for note in run["method"]["notes"])
        assert (run["upper_bound_bytes"] is None) is (PLACE != "container" or unbounded)
    assert (checkout / "memory.xml").exists() and (checkout / "metrics.txt").exists()


@pytest.fixture
def results() -> Iterator[Path]:
    path = Path("/var/tmp/results")
    path.mkdir()
    os.chown(path, 0, 1000)
    path.chmod(0o770)
    yield path
    shutil.rmtree(path)


def in_a_pod(name: str, rootfs: Path, results: Path, **more: str) -> None:
    """The container of a manifest, as the kubelet would have it made."""
    told = container(name)
    security = told["securityContext"]
    assert security["readOnlyRootFilesystem"] and security["capabilities"]["drop"] == ["ALL"]
    limit = told["resources"]["limits"]["memory"].removesuffix("i").lower()
    hardened = ["--read-only", "--cap-drop=all", "--security-opt=no-new-privileges"]
    of_the_pod = ["--user=1000:1000", "--group-add=1000", f"--memory={limit}"]
    rootfs.chmod(0o755)  # the pod's user is not the one who made it
    for path in ("app", "results", "opt"):
        (rootfs / path).mkdir()
    (mount,) = told["volumeMounts"]
    volumes = ["/usr:/usr:ro", "/opt:/opt:ro", "/opt/cmemrun:/app:ro"]
    volumes.append(f"{results}:{mount['mountPath']}")
    environment = {name: os.environ[name] for name in ("PATH", "PYTHONPATH")} | more
    found = subprocess.run(
        [
            *[*PODMAN, "run", "--rm", "--quiet", "--network=none", "--cgroupns=private"],
            *hardened,
            *of_the_pod,
            *[f"--volume={volume}" for volume in volumes],
            *[f"--env={key}={value}" for key, value in environment.items()],
            *[f"--workdir={told['workingDir']}", "--rootfs", str(rootfs)],
            *told["command"],
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    assert found.returncode == 0, found.stderr
    assert "touched 20MiB" in found.stdout


@pytest.mark.places("root")
def test_the_job_of_kubernetes(rootfs: Path, results: Path) -> None:
    in_a_pod("kubernetes/job.yaml", rootfs, results)
    run = json.loads((results / "run.json").read_text())
    assert run["method"]["backend"] == "proc"
    assert 20 * MIB <= run["peak_bytes"] <= run["upper_bound_bytes"] <= 128 * MIB
    assert any("limit of 128.0 MiB" in note for note in run["method"]["notes"])
    (budget,) = run["budgets"]
    assert (budget["passed"], budget["certainty"]) == (True, "lower-bound")
    assert (results / "run.jsonl").read_text().count("\n") >= 3


@pytest.mark.places("root")
def test_the_indexed_job(rootfs: Path, results: Path) -> None:
    in_a_pod("sweep/job.yaml", rootfs, results, JOB_COMPLETION_INDEX="4")
    run = json.loads((results / "20MiB-1.json").read_text())
    assert (run["method"]["backend"], run["exit"]["status"]) == ("proc", 0)
