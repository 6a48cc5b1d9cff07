"""Runs under a container manager's rules: what is applied, and what is noted."""

from pathlib import Path

import pytest

from tests.conftest import Cmemrun
from tests.kernels.kernel import VERSION
from tests.kubernetes.pods import POD
from tests.loads import LOAD, MIB


@pytest.mark.kernel_independent
def test_a_container_of_a_pod(cmemrun: Cmemrun, tmp_path: Path) -> None:
    path = tmp_path / "pod.yaml"
    path.write_text(POD)
    options = ["--pod", str(path), "--container", "app", "--node-memory", "1Gi"]
    run = cmemrun(*options, "--", "cat", "/proc/self/oom_score_adj")
    # Burstable: 1000 - 1000 x 64 / 1024 = 1000 - 62 (62.5)
    assert run.status == 0 and run.stdout == "938\n"
    limits = run["limits"]
    assert (limits["max_bytes"], limits["oom_score_adj"]) == (128 * MIB, 938)
    if VERSION == 2:
        assert limits["oom_group"] is True and limits["swap_max_bytes"] == 0
    else:
        assert "not set: --oom-group: v1 has no group kill" in run["method"]["notes"]
    assert {rule["file"]: rule["value"] for rule in run["rules"]}["memory.max"] == str(128 * MIB)
    views = {view["tool"]: view["size_bytes"] for view in run["shown_by"]}
    assert views["kubectl top"] == run["at_peak"]["working_set_bytes"]
    assert "shown by" in run.stderr and "kubectl top" in run.stderr


@pytest.mark.kernel_independent
def test_what_was_asked_for_by_name_goes_first(cmemrun: Cmemrun) -> None:
    run = cmemrun("--docker", "-m 128m --oom-score-adj 100", "--limit", "64Mi", "true")
    assert run["limits"]["max_bytes"] == 64 * MIB and run["limits"]["oom_score_adj"] == 100


@pytest.mark.kernel_independent
def test_podman_limits_what_it_was_not_asked_to(cmemrun: Cmemrun) -> None:
    run = cmemrun("--podman", "-m 4m --oom-score-adj 100", "true")
    limits = run["limits"]
    assert (limits["max_bytes"], limits["pids_max"], limits["oom_score_adj"]) == (
        4 * MIB,
        2048,
        100,
    )


def test_the_whole_container_is_killed(cmemrun: Cmemrun) -> None:
    eater = " ".join((*LOAD, "anon", "96"))
    run = cmemrun("--k8s-limit", "48Mi", "--", "sh", "-c", f"{eater}; exit 0")
    if VERSION == 2:
        assert run.status == 137 and run["oom"]["verdict"] == "group-killed"
    else:
        assert run.status == 0 and run["oom"]["verdict"] == "child-killed"
