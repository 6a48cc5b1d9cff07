"""Docker's and Podman's options and the files they end in, by their sources."""

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cmemrun.docker import docker_settings, parse_size, podman_settings
from cmemrun.errors import BadInput
from cmemrun.model import UNLIMITED, Limits
from cmemrun.profile import limits_of

MIB, GIB = 2**20, 2**30


def values(options: str) -> dict[str, str]:
    return {one.file: one.value for one in docker_settings(options)[0]}


@pytest.mark.parametrize(
    ("options", "files"),
    [
        ("-m 1g", {"memory.max": GIB, "memory.swap.max": GIB}),
        ("-m1g --memory-swap 0", {"memory.max": GIB, "memory.swap.max": GIB}),
        ("--memory=512m --memory-swap=512m", {"memory.max": 512 * MIB, "memory.swap.max": 0}),
        ("-m 1g --memory-swap 3g", {"memory.max": GIB, "memory.swap.max": 2 * GIB}),
        ("-m 1g --memory-swap -1", {"memory.max": GIB, "memory.swap.max": "max"}),
        ("--memory-reservation 750m", {"memory.low": 750 * MIB}),
        ("--oom-score-adj -500 --pids-limit 9", {"oom_score_adj": -500, "pids.max": 9}),
        ("--pids-limit -1", {"pids.max": "max"}),
        ("", {}),
    ],
)
def test_files(options: str, files: dict[str, int | str]) -> None:
    assert values(options) == {file: str(value) for file, value in files.items()}


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ("-m 5m", "6m"),
        ("--memory-reservation 5m", "6m"),
        ("-m -1", "no size"),
        ("--memory-swap 1g", "wants --memory"),
        ("-m 1g --memory-swap 512m", "less than --memory"),
        ("-m 1g --memory-reservation 2g", "more than --memory"),
        ("-m 1Gq", "no size"),
        ("--cpus 2", "unrecognized"),
        ("-m", "expected one argument"),
        ("-m '1g", "quot"),
        ("--oom-score-adj 2000", "1000"),
        ("--help", "unrecognized"),
    ],
)
def test_what_docker_refuses(options: str, words: str) -> None:
    with pytest.raises(BadInput, match=words):
        docker_settings(options)


def test_what_v2_has_none_of_is_warned_of() -> None:
    options = "-m 1g --oom-kill-disable --memory-swappiness 0 --kernel-memory 50m"
    _, warnings = docker_settings(options)
    assert len(warnings) == 3 and "discards" in warnings[0]


# In tests/places these and more are held against Podman itself.
@pytest.mark.parametrize(
    ("options", "files"),
    [
        ("", {"pids.max": 2048}),
        ("-m 4m", {"memory.max": 4 * MIB, "memory.swap.max": 4 * MIB, "pids.max": 2048}),
        ("-m 1g --memory-swap 0 --pids-limit 0", {"memory.max": GIB, "memory.swap.max": 0}),
        ("--memory-reservation 1m --memory-swappiness -1", {"memory.low": MIB, "pids.max": 2048}),
        ("--oom-score-adj -500 --pids-limit 9", {"oom_score_adj": -500, "pids.max": 9}),
    ],
)
def test_podmans_files(options: str, files: dict[str, int | str]) -> None:
    found = {one.file: one.value for one in podman_settings(options)[0]}
    expected = {"pids.max": "max"} | {file: str(value) for file, value in files.items()}
    assert found == expected


@pytest.mark.parametrize(
    "options", ["--memory-swappiness 0", "--oom-kill-disable", "--memory-swap 1g", "--cpus 2"]
)
def test_what_podman_refuses(options: str) -> None:
    with pytest.raises(BadInput, match=r"^--podman: ") as refused:
        podman_settings(options)
    assert "docker" not in f"{refused.value.message} {refused.value.hint}".lower()


def test_rootless_podman_gives_no_lower_score_than_its_own() -> None:
    for asked, given_it in ((-500, "100"), (99, "100"), (300, "300")):
        [score, _] = podman_settings(f"--oom-score-adj {asked}", least_score=100)[0]
        assert score.value == given_it


def test_sizes_are_powers_of_1024() -> None:
    for text in ("1g", "1G", "1gb", "1GiB", "1024m", "1048576k", str(GIB)):
        assert parse_size(text) == GIB


@given(st.text(max_size=30))
def test_nothing_gives_a_traceback(text: str) -> None:
    for settings in (docker_settings, podman_settings):
        with contextlib.suppress(BadInput):
            settings(text)


@pytest.mark.parametrize(
    ("options", "files"),
    [
        ("-m 6m", {"memory.max": 6 * MIB, "memory.swap.max": 6 * MIB}),
        (
            "-m 8m --memory-reservation 8m",
            {"memory.max": 8 * MIB, "memory.swap.max": 8 * MIB, "memory.low": 8 * MIB},
        ),
        ("--memory-reservation 6m", {"memory.low": 6 * MIB}),
        ("--oom-score-adj 1000", {"oom_score_adj": 1000}),
        ("--oom-score-adj -1000", {"oom_score_adj": -1000}),
        ("--pids-limit 0", {"pids.max": "max"}),
        ("--pids-limit 1", {"pids.max": 1}),
    ],
)
def test_bounds_themselves_are_allowed(options: str, files: dict[str, int | str]) -> None:
    assert values(options) == {file: str(value) for file, value in files.items()}


@pytest.mark.parametrize("options", ["--oom-score-adj 1001", "--oom-score-adj -1001", "-m 6291455"])
def test_just_beyond_the_bounds_is_refused(options: str) -> None:
    with pytest.raises(BadInput):
        docker_settings(options)


def test_limits_of_a_group_are_those_of_the_files() -> None:
    def limits(options: str) -> Limits:
        return limits_of(docker_settings(options)[0])

    assert limits("-m 1g --memory-swap -1 --memory-reservation 750m --pids-limit -1") == Limits(
        max_bytes=GIB, swap_max_bytes=UNLIMITED, low_bytes=750 * MIB, pids_max=UNLIMITED
    )
    assert limits("--oom-score-adj -500 --pids-limit 9") == Limits(oom_score_adj=-500, pids_max=9)
