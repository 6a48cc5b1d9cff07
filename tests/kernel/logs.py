"""Kernel logs of OOM kills, as several kernels wrote them."""

__all__ = ["LINUX_4_19", "LINUX_6_12", "MACHINE", "TOGETHER"]

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
