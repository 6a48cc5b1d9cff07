"""The watch that nothing is left behind sees all that a test has left, and nothing else."""

import os
import subprocess
from pathlib import Path

from cmemrun.kernel.hierarchy import detect
from tests import own_cgroup
from tests.conftest import CMEMRUN, groups, hierarchy_of_memory, processes
from tests.waiting import until


def test_a_run_is_seen_while_it_lasts(mark: str) -> None:
    with subprocess.Popen([CMEMRUN, "-q", "--", "cat"], stdin=subprocess.PIPE) as run:
        until("it has a cgroup", groups)
        assert all(group.startswith(tuple(own_cgroup.searched())) for group in groups())
        assert run.pid in processes(mark)
        run.communicate()
    until("it has gone", lambda: not groups() and not processes(mark))


def test_only_what_runs_may_be_made_below_is_searched() -> None:
    if not own_cgroup.is_entered():  # as on v2, where runs are made beside the tests
        assert own_cgroup.searched() == [mount.point for mount in detect().mounts]
        return
    beside = Path(hierarchy_of_memory()[1]).parent / f"cmemrun-{os.getpid()}-beside"
    beside.mkdir()
    try:
        assert not groups()
    finally:
        beside.rmdir()


def test_a_cgroup_that_is_left_behind_is_seen() -> None:
    own = Path(hierarchy_of_memory()[1], f"cmemrun-{os.getpid()}-left")
    own.mkdir()
    try:
        assert groups() == {str(own)}
    finally:
        own.rmdir()
