"""Loads of known size, measured by us and by others, and the table that README has of it."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from cmemrun.backends import tree
from scripts.peers import tools
from scripts.peers.accuracy import compare
from scripts.peers.loads import LOADS, MIB, program
from scripts.peers.tools import OURS, TOOLS, Said, Tool, ToolFailed
from tests.conftest import hierarchy_of_memory
from tests.waiting import slowness, until

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
NAMED = {tool.name: tool for tool in TOOLS}

# Written on Debian 13 for a load of 64 MiB, by systemd 257 and, cut to what is read, by its runc.
SYSTEMD_RUN = """\
Running as unit: run-p304-i604.service; invocation ID: e5e18a002c8942128e2d976108b73511
Finished with result: success
Main processes terminated with: code=exited, status=0/SUCCESS
Service runtime: 11.269s
CPU time consumed: 7.822s
Memory peak: 73.2M (swap: 0B)
"""
RUNC = """\
{"type":"stats","id":"cmemrun-peer-308","data":{"memory":{"cache":36864,"usage":\
{"limit":18446744073709551615,"usage":9912320,"max":9912320,"failcnt":0}}}}
{"type":"stats","id":"cmemrun-peer-308","data":{"memory":{"cache":36864,"usage":\
{"limit":18446744073709551615,"usage":71487488,"max":71516160,"failcnt":0}}}}
"""


def here(name: str) -> Tool:
    tool = NAMED[name]
    if reason := tool.why_not():
        pytest.skip(f"{name}: {reason}")
    return tool


def slack_of_huge_pages() -> int:
    """Where all memory may be in huge pages one more or less is, by where a mapping begins."""
    enabled = Path("/sys/kernel/mm/transparent_hugepage/enabled")
    return 2 * MIB if enabled.exists() and "[always]" in enabled.read_text() else 0


def test_ours_is_within_what_it_says_for_every_load() -> None:
    others = [here("cgmemtime's method"), here("GNU time")]
    found = compare(LOADS, [OURS, *others], rounds=1, hold=0.05)
    assert not found.failures
    for load in LOADS:
        method = found.methods[load.name]
        assert method["peak_source"] == "kernel"
        # Each of two peaks is at most so much too high; and as much again for what the
        # arithmetic leaves out, a file system's own books above all.
        bound = 2 * method["resolution_bytes"] + slack_of_huge_pages()
        # That it is a load of the size it is said to have, the other says as well.
        for tool in (OURS, others[0]):
            [error] = found.errors(tool, load)
            print(f"{load.name}: {tool.name} {error / MIB:+.2f} MiB")
            assert abs(error) <= bound, (load.name, tool.name)
    [rss] = found.errors(others[1], LOADS[0])
    assert abs(rss) <= MIB


@pytest.mark.parametrize(
    "name", ["cmemrun", "cgmemtime's method", "runexec", "GNU time", "psrecord", "mprof"]
)
def test_what_a_tool_writes_is_read(name: str, tmp_path: Path) -> None:
    tool = here(name)
    read = tool.read(tool.run(program("pages", "64", "small", str(0.3 * slowness())), tmp_path))
    assert read is not None
    assert 64 * MIB <= read <= 84 * MIB


def test_what_tools_write_that_are_not_here_is_read() -> None:
    assert NAMED["systemd-run --wait"].read(Said("", SYSTEMD_RUN, "")) == round(73.2 * MIB)
    assert NAMED["runc events"].read(Said("", "", RUNC)) == 71516160


@pytest.mark.parametrize("name", ["psrecord", "mprof", "runc events", "systemd-run --wait"])
def test_who_saw_nothing_has_no_number(name: str) -> None:
    assert NAMED[name].read(Said("", "", "")) is None


def test_a_tool_that_fails_says_why(tmp_path: Path) -> None:
    with pytest.raises(ToolFailed, match=r"cmemrun: status 127: .*no-such"):
        OURS.run(["/no-such"], tmp_path)


@pytest.mark.parametrize(
    "name", ["cmemrun", "cgmemtime's method", "runexec", "GNU time", "psrecord", "mprof"]
)
def test_a_tool_that_takes_too_long_is_ended_and_the_load_with_it(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """That it is gone is seen to by the watch in ``tests/conftest.py``, of our groups too."""
    monkeypatch.setattr(tools, "_LONGEST_SECONDS", 1.0)
    _, own = hierarchy_of_memory()
    before = set(tree.descendants(own))
    with pytest.raises(ToolFailed, match="not done after 1 s"):
        here(name).run(program("none", "100"), tmp_path)
    left = {one for one in set(tree.descendants(own)) - before if "cgmemtime" in one}
    # A test beside this one has one for a second or so.
    until("its group is gone", lambda: left.isdisjoint(tree.descendants(own)), every=0.1)


def test_a_load_that_is_none() -> None:
    words = [sys.executable, "-m", "scripts.peers.accuracy", "--loads", "gold"]
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "the loads are: anonymous memory" in done.stderr


def test_the_table_in_the_readme_has_every_load() -> None:
    [section] = re.findall(
        r"<!-- accuracy -->(.*?)<!-- /accuracy -->", (ROOT / "README.md").read_text(), re.S
    )
    here, *guests = section.split("Error in MiB, median of")[1:]
    assert len(guests) == 2
    for table in (here, *guests):
        rows = re.findall(r"^\| ([^|]+) \|", table, re.M)[2:-1]
        assert rows == [load.name for load in LOADS]
