"""The kernel log's account of OOM kills: text to values, in the wordings of Linux 4.19 to 6.x.

What belongs together comes in this order: who invoked the killer, the tasks it
looked at, a summary (Linux 5.0), the victim; under ``memory.oom.group`` then one
line for each further victim, the first one told again. All but the victims'
lines are rate-limited and may be missing.
"""

import os
import re
from collections.abc import Iterable

from cmemrun.model import OomEvent, OomTask, OomVictim

__all__ = ["parse"]

# A name may hold anything, line ends included.
_INVOKED = re.compile(r"(?P<name>.{1,64}) invoked oom-killer: ", re.DOTALL)
_SUMMARY = re.compile(
    r"oom-kill:constraint=(?P<constraint>\w+),.*?(?:,oom_memcg=(?P<limit>/.*))?(?:,global_oom)?"
    r",task_memcg=(?P<victim>/.*),task=.*,pid=\d+,uid=\d+",
    re.DOTALL,
)
# Before Linux 5.0.
_TASK_IN = re.compile(
    r"Task in (?P<victim>/.*) killed as a result of limit of (?P<limit>/.*)", re.DOTALL
)
_TOGETHER = re.compile(
    r"Tasks in /.* are going to be killed due to memory\.oom\.group set", re.DOTALL
)
# Until 5.1, where the other lines may be missing: whose memory it was that ran out.
_CHOSEN = re.compile(
    r"(?:Memory cgroup o|(?P<machine>O))ut of memory: Kill process \d+ \(.*\) score -?\d+ or",
    re.DOTALL,
)
# The name is what lies before the sizes.
_KILLED = re.compile(
    r"(?P<prefix>(?:Memory cgroup out of memory|Out of memory)[^:]*: )?"
    r"Killed process (?P<pid>\d{1,10}) \((?P<name>.*)\),? (?:UID \d+, )?"
    r"total-vm:(?P<vm>\d{1,15})kB, anon-rss:(?P<anon>\d{1,15})kB, file-rss:(?P<file>\d{1,15})kB"
    r"(?:, shmem-rss:(?P<shmem>\d{1,15})kB)?"
    r"(?:.*oom_score_adj:(?P<adj>-?\d{1,4}))?",
    re.DOTALL,
)
_HEADER = re.compile(r"\[ *pid *\] +uid +tgid ")
_ROW = re.compile(r"\[ *(?P<pid>\d{1,10})\] (?P<fields> *\d.*)", re.DOTALL)


class _Event:
    """One event while its lines come in."""

    def __init__(self, invoked_by: str | None = None) -> None:
        self.invoked_by = invoked_by
        self.limit_group: str | None = None
        self.victim_group: str | None = None
        self.machine = False
        self.together = False
        self.victims: dict[int, OomVictim] = {}
        self.tasks: list[OomTask] = []

    def frozen(self) -> OomEvent:
        return OomEvent(
            invoked_by=self.invoked_by,
            limit_group=self.limit_group,
            victim_group=self.victim_group,
            machine=self.machine,
            together=self.together,
            victims=tuple(self.victims.values()),
            tasks=tuple(self.tasks),
        )


def parse(lines: Iterable[str]) -> list[OomEvent]:
    """The OOM events that a kernel log tells of, oldest first; other lines are passed over."""
    found: list[_Event] = []
    columns: list[str] = []
    for line in lines:
        if invoked := _INVOKED.match(line):
            found.append(_Event(invoked["name"]))
        elif chosen := _CHOSEN.match(line):
            if not found or found[-1].victims:
                found.append(_Event())
            found[-1].machine = chosen["machine"] is not None
        elif killed := _KILLED.match(line):
            _add_victim(found, killed)
        elif not found:
            continue
        elif summary := _SUMMARY.fullmatch(line):
            found[-1].limit_group, found[-1].victim_group = summary["limit"], summary["victim"]
            found[-1].machine = summary["constraint"] != "CONSTRAINT_MEMCG"
        elif task_in := _TASK_IN.fullmatch(line):
            found[-1].limit_group, found[-1].victim_group = task_in["limit"], task_in["victim"]
        elif _TOGETHER.fullmatch(line):
            found[-1].together = True
        elif _HEADER.match(line):
            columns = line.split("]", 1)[1].split()
        elif row := _ROW.fullmatch(line):
            _add_task(found[-1], columns, row)
    return [event.frozen() for event in found if event.victims]


def _add_victim(found: list[_Event], killed: re.Match[str]) -> None:
    # A victim that nothing leads up to: the other lines were rate-limited away.
    if not found or (found[-1].victims and not found[-1].together):
        found.append(_Event())
    event, pid = found[-1], int(killed["pid"])
    if (killed["prefix"] or "").startswith("Out of memory"):
        event.machine = True
    adj = killed["adj"]
    event.victims.setdefault(
        pid,
        OomVictim(
            pid=pid,
            name=killed["name"],
            anon_bytes=int(killed["anon"]) * 1024,
            file_bytes=int(killed["file"]) * 1024,
            shmem_bytes=int(killed["shmem"]) * 1024 if killed["shmem"] else None,
            oom_score_adj=int(adj) if adj else None,
        ),
    )


def _add_task(event: _Event, columns: list[str], row: re.Match[str]) -> None:
    # The name comes last and may hold anything, spaces included.
    fields = row["fields"].split(None, len(columns) - 1)
    values = dict(zip(columns, fields, strict=False))
    page_bytes = os.sysconf("SC_PAGESIZE")
    # int() would take 1_0 and -5, too.
    if not all(values.get(name, "0").isdecimal() for name in ("rss", "swapents")):
        return
    try:
        task = OomTask(
            pid=int(row["pid"]),
            name=values["name"],
            rss_bytes=int(values["rss"]) * page_bytes,
            swap_bytes=int(values.get("swapents", 0)) * page_bytes,
            oom_score_adj=int(values.get("oom_score_adj", 0)),
        )
    except (KeyError, ValueError):  # a line that was cut off, or is of another table
        return
    event.tasks.append(task)
