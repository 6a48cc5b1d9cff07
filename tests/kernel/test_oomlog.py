"""The kernel log's words for OOM kills, as several kernels wrote them."""

from hypothesis import given
from hypothesis import strategies as st

from cmemrun.kernel.oomlog import parse

PAGE = 4096

LINUX_6_12 = """\
alloc invoked oom-killer: gfp_mask=0x100cca(GFP_HIGHUSER_MOVABLE), order=0, oom_score_adj=0
CPU: 0 UID: 0 PID: 306 Comm: alloc Not tainted 6.12.117+deb12-amd64 #1
memory: usage 10240kB, limit 10240kB, failcnt 227
swap: usage 0kB, limit 0kB, failcnt 0
Memory cgroup stats for /a:
Tasks state (memory values in pages):
[  pid  ]   uid  tgid total_vm      rss rss_anon rss_file rss_shmem pgtables_bytes swapents \
oom_score_adj name
[    305]     0   305      645      230        0      230         0    45056        0             \
0 sh
[    306]     0   306    10487     2570     2538       32         0    57344        3            \
-7 a name) with (brackets
oom-kill:constraint=CONSTRAINT_MEMCG,nodemask=(null),cpuset=/,mems_allowed=0,oom_memcg=/b,\
task_memcg=/b/k,task=a name) with (br,pid=306,uid=0
Memory cgroup out of memory: Killed process 306 (a name) with (br) total-vm:41948kB, \
anon-rss:10152kB, file-rss:128kB, shmem-rss:4kB, UID:0 pgtables:56kB oom_score_adj:-7
oom_reaper: reaped process 306 (alloc), now anon-rss:0kB, file-rss:128kB, shmem-rss:0kB"""

LINUX_4_19 = """\
mem invoked oom-killer: gfp_mask=0x6000c0(GFP_KERNEL), nodemask=(null), order=0, oom_score_adj=0
mem cpuset=/ mems_allowed=0
Task in /docker/x killed as a result of limit of /docker
memory: usage 10240kB, limit 10240kB, failcnt 123
Memory cgroup stats for /docker/x: cache:0KB rss:9000KB
[ pid ]   uid  tgid total_vm      rss pgtables_bytes swapents oom_score_adj name
[ 2345]     0  2345     3000     2400    65536        0             0 mem
Memory cgroup out of memory: Kill process 2345 (mem) score 950 or sacrifice child
Killed process 2345 (mem) total-vm:12000kB, anon-rss:9600kB, file-rss:100kB, shmem-rss:0kB"""

TOGETHER = """\
sh invoked oom-killer: gfp_mask=0xcc0(GFP_KERNEL), order=0, oom_score_adj=0
oom-kill:constraint=CONSTRAINT_MEMCG,nodemask=(null),cpuset=/,mems_allowed=0,oom_memcg=/a,\
task_memcg=/a,task=x,pid=7,uid=0
Memory cgroup out of memory: Killed process 7 (x) total-vm:8kB, anon-rss:4kB, file-rss:0kB, \
shmem-rss:0kB, UID:0 pgtables:56kB oom_score_adj:0
Tasks in /a are going to be killed due to memory.oom.group set
Memory cgroup out of memory: Killed process 6 (sh) total-vm:8kB, anon-rss:4kB, file-rss:0kB, \
shmem-rss:0kB, UID:0 pgtables:56kB oom_score_adj:0
Memory cgroup out of memory: Killed process 7 (x) total-vm:8kB, anon-rss:4kB, file-rss:0kB, \
shmem-rss:0kB, UID:0 pgtables:56kB oom_score_adj:0"""

MACHINE = """\
oom-kill:constraint=CONSTRAINT_NONE,nodemask=(null),cpuset=/,mems_allowed=0,global_oom,\
task_memcg=/a/cmemrun-1-x,task=java,pid=99,uid=1000
Out of memory: Killed process 99 (java) total-vm:9kB, anon-rss:8kB, file-rss:0kB, shmem-rss:0kB, \
UID:1000 pgtables:1kB oom_score_adj:0"""


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
