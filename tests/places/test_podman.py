"""Podman's own containers have what ``--podman`` says they have."""

import json
import os
import subprocess
from pathlib import Path

import pytest

from cmemrun.docker import podman_settings
from cmemrun.errors import BadInput
from tests.places.podman import NEW, PODMAN, with_podman

# What nobody has set is like this.
UNTOUCHED = {
    "memory.max": "max",
    "memory.swap.max": "max",
    "memory.low": "0",
    "oom_score_adj": Path("/proc/self/oom_score_adj").read_text().strip(),
}


def podman(rootfs: Path, options: str) -> "subprocess.CompletedProcess[str]":
    files = [f"/sys/fs/cgroup/{name}" for name in (*list(UNTOUCHED)[:3], "pids.max")]
    run = ["run", "--rm", "--quiet", "--network=none", "--cgroupns=private", *options.split()]
    container = ["-v", "/usr:/usr:ro", "--rootfs", str(rootfs)]
    show = ["grep", "", *files, "/proc/self/oom_score_adj"]
    return subprocess.run(
        [*PODMAN, *run, *container, *show],
        capture_output=True,
        text=True,
        check=False,
    )


@with_podman
@pytest.mark.parametrize(
    "options",
    [
        "",
        "-m 4m --memory-swappiness -1",
        "-m 64m --memory-swap 96m --memory-reservation 128m --oom-score-adj 300 --pids-limit 9",
        "-m 64m --memory-swap -1 --pids-limit 0 --oom-score-adj -500 --kernel-memory 50m",
        *["--memory-swap 0 --pids-limit -1"] * NEW,  # crun before 1.8.6 refuses it
    ],
)
def test_what_it_sets(rootfs: Path, options: str) -> None:
    theirs = podman(rootfs, options)
    assert theirs.returncode == 0, theirs.stderr
    lines = [line.rpartition(":") for line in theirs.stdout.splitlines()]
    explain = ["cmemrun", "--podman", options, "--explain", "--json", "-"]
    rules = json.loads(subprocess.run(explain, capture_output=True, check=True).stdout)
    ours = {rule["file"]: rule["value"] for rule in rules}
    assert UNTOUCHED | ours == {os.path.basename(path): value for path, _, value in lines}


@pytest.mark.places("root")
@pytest.mark.parametrize(
    ("options", "words"),
    [
        ("-m 64m --memory-swap 32m", "swap limit less than the memory limit"),
        ("--memory-swap 96m", "swap limit without the memory limit"),
        ("--memory-swappiness 0", "memory swappiness with cgroupv2"),
        ("--oom-kill-disable", "OOM killer with cgroupv2"),
        ("--oom-score-adj 2000", "oom_score_adj: Invalid argument"),
        ("-m -1", "invalid size"),
    ],
)
def test_what_it_refuses(rootfs: Path, options: str, words: str) -> None:
    theirs = podman(rootfs, options)
    assert theirs.returncode != 0 and words in theirs.stderr.replace("`", "")
    with pytest.raises(BadInput):
        podman_settings(options)
