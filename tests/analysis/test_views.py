"""What other tools would show, worked out by hand from their formulas."""

import pytest

from cmemrun.analysis.views import as_others_show
from cmemrun.model import Process, Sample
from tests.made_up import RUN

SAMPLE = Sample(0.0, 100, anon_bytes=30, file_bytes=60, inactive_file_bytes=20)
BOTH = tuple(
    Process(pid, 1, "x", ("x",), rss, None, None, None, 1) for pid, rss in ((1, 5), (2, 7))
)


def shown(sample: Sample, backend: str = "cgroup-v2") -> dict[str, int | None]:
    run = RUN._replace(at_peak=sample, method=RUN.method._replace(backend=backend))
    found = as_others_show(run)
    assert all(view.formula and view.source for view in found)
    return {view.tool: view.size_bytes for view in found}


def test_each_tool_by_its_formula() -> None:
    assert shown(SAMPLE._replace(processes=BOTH)) == {
        "kubectl top": 80,
        "docker stats": 80,
        "docker stats to 19.03": 40,
        "podman stats": 80,
        "podman stats to 5.5": 30,
        "ps, RSS summed": 12,
    }


def test_older_podman_on_v1_shows_usage() -> None:
    assert shown(SAMPLE, "cgroup-v1")["podman stats, older"] == 100


@pytest.mark.parametrize(("inactive", "docker"), [(100, 100), (120, 100), (99, 1)])
def test_docker_shows_usage_if_all_of_it_is_inactive(inactive: int, docker: int) -> None:
    found = shown(SAMPLE._replace(inactive_file_bytes=inactive))
    assert (found["docker stats"], found["kubectl top"]) == (docker, max(0, 100 - inactive))


def test_nothing_is_below_0_and_what_is_not_known_is_not_0() -> None:
    assert shown(SAMPLE._replace(file_bytes=130))["docker stats to 19.03"] == 0
    assert set(shown(Sample(0.0, 100)).values()) == {None}
