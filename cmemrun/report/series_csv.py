"""The samples of a Run as comma-separated values, for a spreadsheet or a notebook."""

import csv
import io

from cmemrun.model import Run
from cmemrun.report.document import sample_of

__all__ = ["render"]


def render(run: Run) -> str:
    """A line for every sample; empty is what the kernel does not say."""
    rows = []
    for sample in run.samples:
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
