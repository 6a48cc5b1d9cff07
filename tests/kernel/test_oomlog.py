"""The kernel log's words for OOM kills, as several kernels wrote them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cmemrun.kernel.oomlog import parse
from tests.kernel.logs import LINUX_4_19, LINUX_6_12, MACHINE, TOGETHER

PAGE = 4096


def test_a_kill_of_today() -> None:
    [event] = parse(LINUX_6_12.splitlines())
    assert (event.invoked_by, event.limit_group, event.victim_group) == ("alloc", "/b", "/b/k")
    assert (event.machine, event.together) == (False, False)
    [victim] = event.victims
    assert (victim.pid, victim.name) == (306, "a name) with (br")
    assert (victim.anon_bytes, victim.file_bytes, victim.shmem_bytes) == (10395648, 131072, 4096)
    assert victim.oom_score_adj == -7
    assert [(task.pid, task.name) for task in event.tasks] == [
        (305, "sh"),
        (306, "a name) with (brackets"),
    ]
    assert event.tasks[1].rss_bytes == 2570 * PAGE and event.tasks[1].swap_bytes == 3 * PAGE
    assert event.tasks[1].oom_score_adj == -7


def test_a_kill_of_old() -> None:
    [event] = parse(LINUX_4_19.splitlines())
    assert (event.limit_group, event.victim_group) == ("/docker", "/docker/x")
    assert [(victim.pid, victim.name) for victim in event.victims] == [(2345, "mem")]
    assert event.victims[0].oom_score_adj is None
    assert event.tasks[0].rss_bytes == 2400 * PAGE


def test_the_machine_of_old() -> None:
    """Without a word of the group, as there was none yet (Linux 4.19)."""
    header, *_, row, _, killed = LINUX_4_19.splitlines()
    chosen = "Out of memory: Kill process 2345 (mem) score 950 or sacrifice child"
    [event] = parse([header, row, chosen, killed])
    assert event.machine and event.victim_group is None
    # The others are left out where there are many.
    ours = "Memory cgroup out of memory: Kill process 2345 (mem) score 950 or sacrifice child"
    found = parse([chosen, killed, chosen, killed, ours, killed])
    assert [event.machine for event in found] == [True, True, False]


def test_a_name_with_a_line_end() -> None:
    lines = [line.replace("a name)", "a\nname)") for line in LINUX_6_12.splitlines()]
    [event] = parse(lines)
    assert event.victims[0].name == "a\nname) with (br"
    assert event.victim_group == "/b/k"


def test_a_group_kill_tells_its_first_victim_twice() -> None:
    [event] = parse(TOGETHER.splitlines())
    assert event.together
    assert [victim.pid for victim in event.victims] == [7, 6]


def test_the_machine() -> None:
    [event] = parse(["java invoked oom-killer: order=0", *MACHINE.splitlines()])
    assert event.machine and event.limit_group is None
    assert event.victim_group == "/a/cmemrun-1-x"


def test_what_was_rate_limited_away_is_missed_and_not_guessed() -> None:
    lines = [line for line in LINUX_6_12.splitlines() if "Killed process" in line]
    [event] = parse(lines)
    assert event.limit_group is event.victim_group is event.invoked_by is None
    assert len(parse(LINUX_6_12.splitlines() + lines)) == 2


@given(st.lists(st.text()), st.lists(st.sampled_from(LINUX_6_12.splitlines()), max_size=8))
def test_no_text_is_too_strange(texts: list[str], lines: list[str]) -> None:
    parse([word for pair in zip(texts, lines, strict=False) for word in pair])


@pytest.mark.parametrize(
    ("constraint", "machine"),
    [
        ("CONSTRAINT_MEMCG", False),
        ("CONSTRAINT_NONE", True),
        ("CONSTRAINT_CPUSET", True),
        ("CONSTRAINT_MEMORY_POLICY", True),
    ],
)
def test_summary_line_says_whose_memory_ran_out(constraint: str, machine: bool) -> None:
    # As Linux 5.0 wrote it, whose victim's line does not say; the one that did was lost.
    summary, killed = MACHINE.splitlines()
    lines = [
        "java invoked oom-killer: order=0",
        summary.replace("CONSTRAINT_NONE", constraint),
        killed.removeprefix("Out of memory: "),
    ]
    [event] = parse(lines)
    assert event.machine is machine


def test_victims_line_says_that_the_machine_ran_out() -> None:
    killed = MACHINE.splitlines()[1]
    for words in ("Out of memory: ", "Out of memory (oom_kill_allocating_task): "):
        [event] = parse([killed.replace("Out of memory: ", words)])
        assert event.machine and event.victims[0].pid == 99


def test_event_without_a_victim_is_not_told() -> None:
    lines = [line for line in LINUX_6_12.splitlines() if "Killed process" not in line]
    assert parse(lines) == []
