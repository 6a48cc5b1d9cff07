"""``scripts/mutants``: which test sees which defect."""

import argparse
import asyncio
import os
import signal
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from rich.console import Console
from rich.table import Table

from scripts.defects.catalog import BadList, Defect, has, read_defects, select
from scripts.defects.trial import Checkout, Trial

_ROOT = Path(__file__).parents[2]
_ACCEPTANCE = ("tests/kernels",)
# A hang takes longer than this much of what the tests take without the defect.
_HANG_FACTOR = 10
# No tests that pass take longer, on the slowest machine.
_LONGEST_SECONDS = 3600.0


class Outcome(NamedTuple):
    """What became of one defect."""

    defect: Defect
    kind: str
    """``killed``, ``survived``, ``equivalent`` or ``not found``."""
    detail: str


class RedWithoutDefect(Exception):
    """Tests fail as they are, so that they say nothing of a defect."""


class Run:
    """The whole list against one checkout."""

    def __init__(self, checkout: Checkout, *, jobs: int, patience: float, quick: bool) -> None:
        self._checkout = checkout
        self._turn = asyncio.Semaphore(jobs)
        # Two acceptance runs at once would count each other's kills.
        self._acceptance_turn = asyncio.Lock()
        self._patience = patience
        self._quick = quick
        self._usual: dict[tuple[str, ...], float] = {}
        self._acceptance: dict[str | None, asyncio.Task[Trial]] = {}

    def claimed(self, defect: Defect) -> tuple[str, ...]:
        """The tests of a defect that the checkout has."""
        return tuple(test for test in defect.tests if has(self._checkout.root, test))

    async def without_defect(self, defects: Sequence[Defect]) -> None:
        """Run each set of claimed tests against the intact package."""
        sets = dict.fromkeys(filter(None, map(self.claimed, defects)))
        async with asyncio.TaskGroup() as group:
            trials = [(tests, group.create_task(self._test_intact(tests))) for tests in sets]
        red = [
            f"{trial.result().red} ({' '.join(tests)})"
            for tests, trial in trials
            if trial.result().red
        ]
        if red:
            raise RedWithoutDefect("red without any defect: " + "; ".join(red))
        self._usual = {tests: trial.result().seconds for tests, trial in trials}

    async def _test_intact(self, tests: tuple[str, ...]) -> Trial:
        async with self._turn:
            return await self._checkout.test(self._checkout.intact, tests, _LONGEST_SECONDS)

    async def judge(self, defect: Defect) -> Outcome:
        """Apply one defect and run the tests that must see it, the quick ones first."""
        path = self._checkout.root / defect.file
        try:
            broken = defect.apply(path.read_text())
        except (BadList, FileNotFoundError) as error:
            return Outcome(defect, "not found", str(error))
        if tests := self.claimed(defect):
            limit = self._patience + _HANG_FACTOR * self._usual[tests]
            async with self._turn:
                with self._checkout.broken(defect.file, broken) as copy:
                    trial = await self._checkout.test(copy, tests, limit)
            if trial.red:
                note = ", so it is not equivalent" if defect.equivalent else ""
                return Outcome(defect, "killed", trial.red + note)
        if defect.equivalent:
            return Outcome(defect, "equivalent", defect.equivalent)
        if self._quick:
            return Outcome(defect, "survived", " ".join(tests) or "no test claims it")
        return await self._judge_by_acceptance(defect, broken)

    async def _judge_by_acceptance(self, defect: Defect, broken: str) -> Outcome:
        guest = defect.kernel
        where = f"guest {guest}" if guest else " ".join(_ACCEPTANCE)
        if guest not in self._acceptance:
            intact = self._accept(self._checkout.intact, guest)
            self._acceptance[guest] = asyncio.create_task(intact)
        if red := (await self._acceptance[guest]).red:
            return Outcome(defect, "survived", f"{where} is red without it: {red}")
        with self._checkout.broken(defect.file, broken) as copy:
            trial = await self._accept(copy, guest)
        if trial.red:
            return Outcome(defect, "killed", f"{where}: {trial.red}")
        return Outcome(defect, "survived", f"{where} and the quick tests")

    async def _accept(self, package: Path, guest: str | None) -> Trial:
        limit = _LONGEST_SECONDS
        if guest:
            async with self._turn:
                return await self._checkout.test_in_guest(package, guest, limit)
        async with self._acceptance_turn, self._turn:
            return await self._checkout.test(package, _ACCEPTANCE, limit)


async def _judge_all(run: Run, defects: Sequence[Defect]) -> list[Outcome]:
    await run.without_defect(defects)
    done = 0

    async def judge(defect: Defect) -> Outcome:
        nonlocal done
        outcome = await run.judge(defect)
        done += 1
        print(f"{done}/{len(defects)} {defect.name}: {outcome.kind}", file=sys.stderr, flush=True)
        return outcome

    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(judge(defect)) for defect in defects]
    return [task.result() for task in tasks]


def _show(outcomes: Sequence[Outcome]) -> None:
    table = Table("defect", "outcome", "by which test, or why not", box=None, pad_edge=False)
    for outcome in outcomes:
        table.add_row(outcome.defect.name, outcome.kind, outcome.detail)
    # Into a file or a pipe each row is one line.
    console = Console(width=None if sys.stdout.isatty() else 250, markup=False, highlight=False)
    console.print(table)
    counts = Counter(outcome.kind for outcome in outcomes)
    console.print(
        f"{len(outcomes)} defects: " + ", ".join(f"{n} {kind}" for kind, n in counts.items())
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """0 if every defect is seen or explained, 1 if not, 2 if nothing can be said."""
    parser = argparse.ArgumentParser(prog="scripts/mutants", description=__doc__)
    parser.add_argument("patterns", nargs="*", metavar="NAME", help="names or globs; default all")
    parser.add_argument("--list", action="store_true", help="print the list and run nothing")
    parser.add_argument("--quick", action="store_true", help="no acceptance tests for survivors")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, metavar="N")
    parser.add_argument(
        "--patience", type=float, default=120.0, metavar="SECONDS", help="before a run is a hang"
    )
    parser.add_argument(
        "--root", type=Path, default=_ROOT, metavar="CHECKOUT", help="another checkout to break"
    )
    parser.add_argument(
        "--defects", type=Path, default=_ROOT / "tests/defects", metavar="DIR", help="the list"
    )
    asked = parser.parse_args(arguments)
    try:
        defects = select(read_defects(asked.defects), asked.patterns)
    except BadList as error:
        print(f"scripts/mutants: {error}", file=sys.stderr)
        return 2
    if asked.list:
        for defect in defects:
            print(defect.name, defect.file, *defect.tests)
        return 0
    if os.geteuid() != 0:
        print("scripts/mutants: needs root, to mount copies of the package", file=sys.stderr)
        return 2
    root = asked.root.resolve()
    if not (root / ".venv").exists():
        subprocess.run([root / "scripts/venv", "dev"], check=True)
    # End what was started, as Ctrl-C does.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with tempfile.TemporaryDirectory(prefix="cmemrun-mutants-") as directory:
        run = Run(
            Checkout(root, Path(directory)),
            jobs=asked.jobs,
            patience=asked.patience,
            quick=asked.quick,
        )
        try:
            outcomes = asyncio.run(_judge_all(run, defects))
        except RedWithoutDefect as error:
            print(f"scripts/mutants: {error}", file=sys.stderr)
            return 2
        except KeyboardInterrupt:
            return 130
    _show(outcomes)
    # An older checkout may not have what a defect replaces; ours must.
    bad = {"survived"} if root != _ROOT else {"survived", "not found"}
    return int(any(outcome.kind in bad for outcome in outcomes))


if __name__ == "__main__":
    sys.exit(main())
