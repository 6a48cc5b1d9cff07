"""Reasons are those that hold."""

import pytest

from cmemrun.report import words
from tests.made_up import RUN

OFF = "the kernel was started with psi=0 or built without it (CONFIG_PSI, Linux 4.20)"


@pytest.mark.parametrize(
    ("backend", "layout", "attached", "why"),
    [
        ("proc", "unified", False, "the kernel counts pressure (PSI) of groups only"),
        ("proc", "none", False, "the kernel counts pressure (PSI) of groups only"),
        (
            *("cgroup-v1", "legacy", False),
            "the kernel counts pressure (PSI) of v2 groups only, and there is no v2 tree",
        ),
        ("cgroup-v1", "hybrid", False, f"no v2 group was made beside v1's, or {OFF}"),
        ("systemd-scope", "hybrid", False, f"no v2 group was made beside v1's, or {OFF}"),
        ("cgroup-v1", "hybrid", True, f"no v2 group holds just these processes, or {OFF}"),
        ("cgroup-v2", "hybrid", False, OFF),
        ("cgroup-v2", "unified", False, OFF),
        ("systemd-scope", "unified", False, OFF),
        ("cgroup-v2", "unified", True, f"{OFF}, or cgroup.pressure is 0"),
    ],
)
def test_why_there_is_no_pressure(backend: str, layout: str, attached: bool, why: str) -> None:
    run = RUN._replace(
        environment=RUN.environment._replace(hierarchy=layout),
        method=RUN.method._replace(backend=backend, attached=attached),
    )
    assert words.stalled(run) == f"not offered here: {why}"
    unseen = run._replace(method=run.method._replace(sample_count=0))
    assert words.stalled(unseen) == "not known: no sample was taken"
