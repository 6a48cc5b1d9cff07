"""Options that more than one verb has."""

from typing import Annotated

from cmemrun.commands.arguments import Option
from cmemrun.commands.options import values
from cmemrun.sampler import Probe

__all__ = [
    "Debug",
    "JsonFile",
    "LiveView",
    "ProbeInterval",
    "Processes",
    "Quiet",
    "RecordFile",
    "Refresh",
    "ReportFile",
    "Smaps",
]

Refresh = Annotated[
    float,
    Option(
        ("--refresh",),
        "Time between two full samples: 400ms, 1.5s, 1m30s.",
        "Common",
        metavar="DURATION",
        default="500ms",
        parse=values.interval,
    ),
]
ProbeInterval = Annotated[
    Probe,
    Option(
        ("--probe",),
        "Time between two looks at usage alone, so that no short peak is missed.",
        "Measuring",
        metavar="auto|off|DURATION",
        default="auto",
        parse=values.probe,
    ),
]
Processes = Annotated[
    bool,
    Option(
        ("--processes",),
        "See who is in the group at each refresh, for lines of each in a plot.",
        "Measuring",
        default=False,
    ),
]
Smaps = Annotated[
    bool,
    Option(
        ("--smaps",),
        "Split the largest processes by heap, stack, libraries, files (slower).",
        "Measuring",
        default=False,
    ),
]
ReportFile = Annotated[
    str | None,
    Option(
        ("-o", "--output"),
        "Write the report there, - for standard output.  [default: standard error]",
        "Common",
        metavar="FILE",
    ),
]
JsonFile = Annotated[
    str | None,
    Option(
        ("--json",),
        "Write everything measured as JSON, - for standard output.",
        "Common",
        metavar="FILE",
    ),
]
RecordFile = Annotated[
    str | None,
    Option(
        ("--record",),
        "Write every sample as it comes, as JSON lines that outlive a crash.",
        "Output",
        metavar="FILE",
    ),
]
LiveView = Annotated[
    bool,
    Option(
        ("--live",),
        "Show usage, its parts and the largest processes while it runs, in a terminal.",
        "Common",
        default=False,
    ),
]
Quiet = Annotated[bool, Option(("--quiet", "-q"), "No report.", "Common", default=False)]
Debug = Annotated[
    bool, Option(("--debug",), "Log what is tried, on standard error.", "Other", default=False)
]
