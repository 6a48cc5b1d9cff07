"""The smallest limits, found by running real programs on every kernel."""

import os
import subprocess
from pathlib import Path

import pytest

from tests.commands.running import fit
from tests.conftest import CMEMRUN
from tests.kernels.kernel import VERSION
from tests.loads import LOAD, MIB

IS_LONG = bool(os.environ.get("CMEMRUN_TEST_LONG"))


@pytest.mark.kernel_independent
@pytest.mark.parametrize("attempt", range(3 if IS_LONG else 1))
def test_what_needs_40_mib_is_found_in_few_runs(tmp_path: Path, attempt: int) -> None:
    found = fit(tmp_path, "--", *LOAD, "anon", "40")
    needs = found["unlimited"]["peak_bytes"]
    assert found["is_complete"] and abs(found["cliff_bytes"] - needs) <= 4 * MIB
    assert len(found["runs"]) <= 12
    assert found["knee_bytes"] == found["cliff_bytes"]
    outcomes = {run["limit_bytes"]: run["outcome"] for run in found["runs"]}
    assert outcomes[found["cliff_bytes"]] == "ok" and "killed" in outcomes.values()
    assert "cliff" in found["stderr"] and "run 2:" in found["stderr"]


@pytest.mark.kernel_independent
def test_what_reads_a_file_again_and_again_has_a_knee(tmp_path: Path, disk: str) -> None:
    mib = 300 if IS_LONG else 64
    path = f"{disk}/cmemrun-reread-{os.getpid()}"
    load = [*LOAD, "reread", str(mib)]
    try:
        subprocess.run([*load, "0", path], check=True)
        found = fit(tmp_path, "--", *load, "5", path)
        # What the last one under a limit did not leave in the cache.
        Path(path).read_bytes()
        warm = fit(tmp_path, "--max-runs", "1", "--", *load, "-5", path, status=1)
    finally:
        os.unlink(path)
    assert found["is_complete"] and found["cliff_bytes"] <= 24 * MIB
    assert found["knee_bytes"] >= found["cliff_bytes"] + 4 * MIB
    assert found["warnings"] == []
    # What somebody read before is charged to that one.
    assert [one for one in warm["warnings"] if "cold cache" in one]


@pytest.mark.needs("psi", "v2")
def test_what_runs_on_is_squeezed_until_it_would_miss_something(tmp_path: Path, disk: str) -> None:
    path = f"{disk}/cmemrun-warm-{os.getpid()}"
    # Each time that it waits, be it for an emulated disk, is followed by a rest of 3 s.
    try:
        found = fit(tmp_path, "--squeeze", "--", *LOAD, "warm", "16", "48", "40", path)
    finally:
        os.unlink(path)
    assert found["highest_bytes"] >= 64 * MIB
    # The hot part and the interpreter, and not the cold one.
    assert 16 * MIB <= found["held_bytes"] <= 44 * MIB
    asked = [step["asked_bytes"] for step in found["steps"]]
    assert asked[0] == 0 and any(asked)
    assert "held" in found["stderr"] and found["by"] in found["stderr"]


def test_squeezing_is_refused_without_v2_or_psi(tmp_path: Path) -> None:
    ran, has_psi = tmp_path / "ran", os.path.exists("/proc/pressure/memory")
    done = subprocess.run(
        [CMEMRUN, "fit", "--squeeze", "--", "touch", str(ran)],
        capture_output=True,
        text=True,
        check=False,
    )
    if VERSION == 2 and has_psi:
        assert done.returncode == 1 and "it ended" in done.stderr
    else:
        assert done.returncode == 125 and not ran.exists()
        why = "only a group of cgroup v2" if VERSION == 1 else "stall cannot be measured here"
        assert why in done.stderr
