#!/usr/bin/env python3
"""Measure programs from Python: one, and several at once."""

import asyncio
import sys
from pathlib import Path

import cmemrun

ALLOCATE = [sys.executable, str(Path(__file__).with_name("allocate.py"))]


def one() -> None:
    run = cmemrun.measure(
        [*ALLOCATE, "20MiB"],
        refresh=0.1,
        limits=cmemrun.Limits(max="512Mi"),
        assertions=["anon<=150Mi"],
        capture_output=True,
    )
    print(run.stdout, run.peak_bytes, run.at_peak.anon_bytes, run.oom.verdict, run.exit.status)
    for budget in run.budgets:
        print(budget.metric, budget.measured, budget.allowed, budget.passed, budget.certainty)


async def several() -> None:
    runs = await asyncio.gather(
        *(cmemrun.measure_async([*ALLOCATE, f"{mib}MiB"], timeout="1m") for mib in (10, 20, 30))
    )
    print([run.peak_bytes for run in runs])


if __name__ == "__main__":
    one()
    asyncio.run(several())
