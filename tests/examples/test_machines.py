"""Many machines: the sweep, and the jobs for Kubernetes, executed as far as without a cluster.

In a container tests/places executes them.
"""

import json
import os
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest

from tests.conftest import CMEMRUN
from tests.examples.jobs import EXAMPLES, container, documents
from tests.examples.slurm import cluster
from tests.waiting import until

pytestmark = pytest.mark.slow

SWEEP = EXAMPLES / "sweep"
SHELL = [SWEEP / "one.sh", SWEEP / "run.sh", SWEEP / "sweep.sbatch"]
MANIFESTS = ["kubernetes/job.yaml", "sweep/job.yaml"]
POINTS = sorted(f"{size}-{run}.json" for size in ("10MiB", "20MiB", "40MiB") for run in range(3))


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A directory to run in, with what is run, that may be written to."""
    shutil.copytree(EXAMPLES, tmp_path / "checkout/examples")
    return tmp_path / "checkout"


def run(checkout: Path, *command: str, **more: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        command,
        cwd=checkout,
        env=os.environ | more | {"PATH": f"{Path(CMEMRUN).parent}:{os.environ['PATH']}"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )


def at_points(points: Sequence[int], checkout: Path, variable: str, *command: str) -> None:
    """As a scheduler has it: the same command, the point in a variable, some at a time."""
    with ThreadPoolExecutor(2) as pool:
        runs = [pool.submit(run, checkout, *command, **{variable: str(at)}) for at in points]
    for one in runs:
        done = one.result()
        assert done.returncode == 0, done.stderr
    assert run(checkout, *command, **{variable: "9"}).returncode == 2


def assert_merged(checkout: Path, results: Path) -> dict[str, Any]:
    """A file for every point, and together three sizes with three runs of each."""
    paths = sorted(results.glob("*.json"))
    assert [path.name for path in paths] == POINTS
    report = run(checkout, CMEMRUN, "report", *map(str, paths))
    assert report.returncode == 0, report.stderr
    assert [line for line in report.stdout.splitlines() if line.startswith("cmemrun")] == [
        f"cmemrun      python3 examples/allocate.py {size}" for size in ("10MiB", "20MiB", "40MiB")
    ]
    merged = run(checkout, CMEMRUN, "report", "--format", "json", *map(str, paths)).stdout
    (checkout / "base.json").write_text(merged)
    compare = [CMEMRUN, "compare", "base.json", *map(str, paths), "--fail-on", "5%", "--json", "-"]
    compared = run(checkout, *compare)
    assert compared.returncode == 0, compared.stderr
    comparisons = json.loads(compared.stdout)["comparisons"]
    assert [one["metrics"]["peak_bytes"]["difference"] for one in comparisons] == [0, 0, 0]
    return json.loads(merged)  # type: ignore[no-any-return]


@pytest.mark.parametrize("path", SHELL, ids=lambda path: path.name)
def test_the_shell_has_nothing_to_say(path: Path) -> None:
    assert subprocess.run(["bash", "-n", path], check=False).returncode == 0
    checked = subprocess.run(["shellcheck", path], check=False, capture_output=True, text=True)
    assert checked.returncode == 0, checked.stdout


@pytest.mark.parametrize("name", MANIFESTS)
@pytest.mark.parametrize("version", ["1.25", "1.37"])
def test_it_is_of_the_schema(name: str, version: str) -> None:
    found = documents(name)
    assert [one["kind"] for one in found] == ["PersistentVolumeClaim", "Job"]
    for one in found:
        assert kubernetes_validate.validate(one, version, strict=True) == version
    claim, job = found
    pod = job["spec"]["template"]["spec"]
    (volume,) = pod["volumes"]
    assert volume["persistentVolumeClaim"]["claimName"] == claim["metadata"]["name"]
    (mount,) = container(name)["volumeMounts"]
    assert (mount["name"], mount["mountPath"]) == (volume["name"], "/results")
    pod["containers"][0]["resource"] = {}
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(job, version, strict=True)


def test_with_gnu_parallel(checkout: Path) -> None:
    # Whatever the directory is called.
    name = "-a b;touch c\n'\"{} $(touch c)"
    done = run(checkout, "examples/sweep/run.sh", name)
    assert done.returncode == 0, done.stderr
    merged = assert_merged(checkout, checkout / name)
    for one in merged["measurements"]:
        assert [run["exit"]["status"] for run in one["runs"]] == [0, 0, 0]
    assert sorted(os.listdir(checkout)) == sorted([name, "base.json", "examples"])


def test_a_point_that_fails_is_told(checkout: Path) -> None:
    (checkout / "examples/allocate.py").write_text("import sys\nsys.exit(sys.argv[1] == '40MiB')")
    assert run(checkout, "examples/sweep/run.sh", "out").returncode == 3
    assert sorted(os.listdir(checkout / "out")) == POINTS


def test_with_slurm(checkout: Path) -> None:
    directory = checkout / "sweep"
    directory.mkdir()
    with tempfile.TemporaryDirectory(dir="/var/tmp") as top, cluster(Path(top)) as environment:
        done = run(checkout, "sbatch", "examples/sweep/sweep.sbatch", **environment)
        assert done.returncode == 0, done.stderr
        # Its own --wait looks every ten seconds.
        queue = ("squeue", "--noheader")
        until("no job is left", lambda: not run(checkout, *queue, **environment).stdout, every=0.2)
    logs = "".join(log.read_text() for log in sorted(directory.glob("*.log")))
    assert logs == "".join(f"touched {size}\n" * 3 for size in ("10MiB", "20MiB", "40MiB"))
    merged = assert_merged(checkout, directory)
    backends = {run["method"]["backend"] for one in merged["measurements"] for run in one["runs"]}
    assert backends == {"proc"}


def test_with_an_indexed_job(checkout: Path) -> None:
    (_, job) = documents("sweep/job.yaml")
    assert (job["spec"]["completionMode"], job["spec"]["completions"]) == ("Indexed", len(POINTS))
    results = checkout / "results"
    results.mkdir()
    command = [
        word.replace("/results", str(results)) for word in container("sweep/job.yaml")["command"]
    ]
    at_points((0, 4, 8), checkout, "JOB_COMPLETION_INDEX", *command)
    assert sorted(os.listdir(results)) == ["10MiB-0.json", "20MiB-1.json", "40MiB-2.json"]


def test_the_job_of_kubernetes(checkout: Path) -> None:
    results = checkout / "results"
    results.mkdir()
    words = container("kubernetes/job.yaml")["command"]
    done = run(checkout, *(word.replace("/results", str(results)) for word in words))
    assert done.returncode == 0, done.stderr
    assert "budget       peak" in done.stderr
    document = json.loads((results / "run.json").read_text())
    assert document["budgets"][0]["passed"] is True
    again = run(checkout, CMEMRUN, "report", str(results / "run.jsonl"))
    assert "touched" in done.stdout and "peak" in again.stdout
