"""The samples of a Run as comma-separated values, for a spreadsheet or a notebook."""

import csv
import io
from collections.abc import Sequence

from cmemrun.errors import BadInput
from cmemrun.model import Measurement
from cmemrun.report.document import sample_of

__all__ = ["render"]


def render(measurements: Sequence[Measurement]) -> str:
    """A line for every sample of one run; empty is what the kernel does not say."""
    runs = [run for one in measurements for run in one.runs]
    if len(runs) != 1:
        raise BadInput(
            f"csv has the samples of one run, and these are {len(runs)}",
            hint="give each a file of its own, or take json",
        )
    rows = []
    for sample in runs[0].samples:
        row = sample_of(sample._replace(processes=()))
        pressure = row.pop("pressure") or {}
        rows.append(
            row
            | {f"pressure_{name}": pressure.get(name) for name in ("some_seconds", "full_seconds")}
        )
    file = io.StringIO()
    if rows:
        table = csv.DictWriter(file, rows[0], lineterminator="\n")
        table.writeheader()
        table.writerows(rows)
    return file.getvalue()
