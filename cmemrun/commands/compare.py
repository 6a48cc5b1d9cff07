"""``cmemrun compare``: saved runs against others, and whether the difference is one."""

import json
from collections.abc import Sequence
from typing import Annotated, Any, Optional

import typer

from cmemrun.analysis.comparison import Comparison, judge_growth
from cmemrun.analysis.comparison import compare as compare_runs
from cmemrun.analysis.metrics import METRICS
from cmemrun.commands.arguments import explained
from cmemrun.commands.baselines import read_baseline
from cmemrun.commands.console import colour, print_out, width
from cmemrun.commands.inputs import read_measurements
from cmemrun.commands.options import values
from cmemrun.commands.output import open_output
from cmemrun.commands.verdict import say_budgets
from cmemrun.model import Measurement
from cmemrun.report.document import SCHEMA, budget_of
from cmemrun.report.measurements import merged, statistics_of
from cmemrun.report.summary import render_comparison
from cmemrun.report.text import unicode_text

__all__ = ["compare"]


def compare(
    base: Annotated[
        str,
        typer.Argument(
            metavar="BASE",
            help="What to compare with: a file of --json, a baseline, or REV:FILE in git.",
            show_default=False,
        ),
    ],
    paths: Annotated[
        list[str],
        typer.Argument(
            metavar="NEW...",
            help="Files of --json; those of the same command are taken together.",
            show_default=False,
        ),
    ],
    fail_on: Annotated[
        Optional[list[Any]],  # noqa: UP045 (typer wants a type)
        typer.Option(
            "--fail-on",
            metavar="[METRIC=]PERCENT",
            help="Exit with 123 where the peak has grown by more; anon=10% for others.",
            parser=explained(values.growth),
            show_default=False,
        ),
    ] = None,
    json_path: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option(
            "--json",
            metavar="FILE",
            help="Write it as JSON, - for standard output.",
            show_default=False,
        ),
    ] = None,
) -> int:
    """Compare saved runs: is the difference more than chance?

    Every metric is compared. With three runs or more on both sides the difference
    has an interval (95 %, by bootstrap), and a verdict: same, better, worse, or unclear.

    \b
    Examples:
      cmemrun --runs 10 --json new.json -- ./myapp
      cmemrun compare base.json new.json --fail-on 5%
      cmemrun compare main:bench/base.json new.json --json -
    """
    output = None if json_path is None else open_output("--json", json_path)
    before = read_baseline(base)
    after = merged([one for path in paths for one in read_measurements(path)])
    pairs = [(before.of(one.name), one) for one in after]
    found = [compare_runs(old.runs, new.runs) for old, new in pairs]
    growth = [judge_growth(one, dict(fail_on or [])) for one in found]
    if output is not None:
        told = [_of(*pair, one, kept) for pair, one, kept in zip(pairs, found, growth, strict=True)]
        document = told[0] if len(told) == 1 else {"schema": SCHEMA, "comparisons": told}
        output.write(json.dumps(document, indent=1, allow_nan=False) + "\n")
    if json_path != "-":
        texts = [
            render_comparison(*pair, one, colour=colour(1), width=width(1))
            for pair, one in zip(pairs, found, strict=True)
        ]
        print_out("\n".join(texts))
    several = len(after) > 1
    statuses = [
        say_budgets(kept, name=new.name if several else None)
        for kept, new in zip(growth, after, strict=True)
    ]
    return max(statuses)


def _of(
    base: Measurement, new: Measurement, found: Comparison, growth: Sequence[Any]
) -> dict[str, Any]:
    return {
        "schema": SCHEMA,
        "base": {"name": unicode_text(base.name), "statistics": statistics_of(found.base)},
        "new": {"name": unicode_text(new.name), "statistics": statistics_of(found.new)},
        "metrics": {
            METRICS[one.metric].field: {
                **one._asdict(),
                "difference": one.difference,
                "share": one.share,
            }
            for one in found.differences
        },
        "budgets": [budget_of(one) for one in growth],
    }
