"""What ``attach`` takes."""

from typing import Annotated, NamedTuple

from cmemrun.commands.arguments import Option
from cmemrun.commands.options import values
from cmemrun.commands.options.repeats import Exports
from cmemrun.commands.options.shared import (
    Debug,
    JsonFile,
    LiveView,
    ProbeInterval,
    Processes,
    Quiet,
    RecordFile,
    Refresh,
    ReportFile,
    Smaps,
)
from cmemrun.identity import User

__all__ = ["AttachOptions"]


class AttachOptions(NamedTuple):
    """What ``attach`` was asked for, and on the command line the only declaration of it."""

    pid: Annotated[
        int | None,
        Option(
            ("--pid",),
            "The group that this process is in.",
            "Group",
            metavar="PID",
            parse=values.pid,
        ),
    ]
    cgroup: Annotated[
        str | None,
        Option(
            ("--cgroup",),
            "This group: /sys/fs/cgroup/system.slice/nginx.service, or /system.slice/….",
            "Group",
            metavar="PATH",
        ),
    ]
    container: Annotated[
        str | None,
        Option(
            ("--container",),
            "The group of the container with this ID, or its first digits.",
            "Group",
            metavar="ID",
        ),
    ]
    seconds: Annotated[
        float | None,
        Option(
            ("--for",),
            "Watch no longer than this.",
            "Common",
            metavar="DURATION",
            parse=values.interval,
        ),
    ]
    refresh: Refresh
    probe: ProbeInterval
    processes: Processes
    smaps: Smaps
    output: ReportFile
    json: JsonFile
    record: RecordFile
    exports: Exports
    live: LiveView
    quiet: Quiet
    debug: Debug

    @property
    def user(self) -> User | None:
        """Outputs are the caller's."""
        return None
