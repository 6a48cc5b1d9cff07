"""Docker's options and the files they end in, by docs.docker.com and opencontainers/cgroups."""

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cmemrun.docker import parse_size, settings
from cmemrun.errors import BadInput

MIB, GIB = 2**20, 2**30


def values(options: str) -> dict[str, str]:
    return {one.file: one.value for one in settings(options)[0]}


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
        settings(options)


def test_what_v2_has_none_of_is_warned_of() -> None:
    _, warnings = settings("-m 1g --oom-kill-disable --memory-swappiness 0 --kernel-memory 50m")
    assert len(warnings) == 3 and "Podman refuses" in warnings[0]


def test_sizes_are_powers_of_1024() -> None:
    for text in ("1g", "1G", "1gb", "1GiB", "1024m", "1048576k", str(GIB)):
        assert parse_size(text) == GIB


@given(st.text(max_size=30))
def test_nothing_gives_a_traceback(text: str) -> None:
    with contextlib.suppress(BadInput):
        settings(text)
