"""scripts/test: every check and every test that this machine can run."""

import os
import subprocess
import sys
import time
from collections.abc import Sequence

from scripts.guests.catalog import GUESTS, Guest
from scripts.suite import schedule, table
from scripts.suite.steps import Ended, Step

_BIN = ".venv/bin"
_PYTEST = (f"{_BIN}/python", "-m", "pytest", "-q")
_MODES = ("", "--quick", "--here", "--long")
# What makes no groups, for whoever is not root.
_FOR_ALL = ("kernel", "backends", "report", "test_units.py", "test_series.py", "test_sampler.py")


def main(mode: str) -> int:
    """Run the steps of a mode; return the exit status."""
    begun = time.monotonic()
    steps, not_run = _steps(mode)
    ended = []
    for one in schedule.run(steps, os.cpu_count() or 1):
        print(f"== {one.step.name}, {one.wall_seconds:.0f} s", flush=True)
        print(one.output.rstrip("\n"), flush=True)
        ended.append(one)
    print()
    table.show(ended, time.monotonic() - begun)
    return _verdict(ended, not_run, is_whole=mode in {"", "--long"})


def _verdict(ended: Sequence[Ended], not_run: Sequence[str], *, is_whole: bool) -> int:
    red = [f"{one.step.name}: {one.why_red}" for one in ended if one.why_red]
    if is_whole and not not_run:
        red += table.never_offered(ended)
    print()
    for line in not_run:
        print(f"NOT RUN  {line}")
    for line in red:
        print(f"FAILED   {line}")
    is_strict = os.environ.get("CMEMRUN_TEST_STRICT") == "1"
    if red or (not_run and is_strict):
        return 1
    print("all passed" if not not_run else "all that ran passed")
    return 0


def _steps(mode: str) -> tuple[list[Step], list[str]]:
    """The steps of a mode, and a line for each thing that cannot be run here."""
    checks = [
        Step("ruff check", (f"{_BIN}/ruff", "check", "--quiet", ".")),
        Step("ruff format", (f"{_BIN}/ruff", "format", "--check", "--quiet", ".")),
        Step("mypy", (f"{_BIN}/mypy", "--no-error-summary")),
        Step("pyright", (f"{_BIN}/basedpyright", "--pythonpath", f"{_BIN}/python")),
    ]
    if os.geteuid() != 0:
        tests = tuple(f"tests/{name}" for name in _FOR_ALL)
        few = Step("tests here", (*_PYTEST, *tests), records=1)
        return [*checks, few], ["tests that make groups, and guests: they need root"]
    if mode == "--quick":
        here = [_here("tests here", "-m", "not slow", "--ignore=tests/kernels")]
        guests, why = _guests([GUESTS["6.12"]], "-m", "quick")
        return [*guests, *checks, *here], why
    here = [_here("tests here")]
    if mode == "--here":
        return [*checks, *here], []
    wanted = [guest for guest in GUESTS.values() if mode == "--long" or not guest.only_long]
    guests, why = _guests(wanted)
    coverage = [Step("coverage", ("scripts/coverage",), lanes=2)] if mode == "--long" else []
    return [*here, *guests, *checks, *coverage], why


def _here(name: str, *arguments: str) -> Step:
    return Step(name, (*_PYTEST, "-n", "2", "tests", *arguments), lanes=2, records=1)


def _guests(wanted: Sequence[Guest], *arguments: str) -> tuple[list[Step], list[str]]:
    checked = subprocess.run(
        ["scripts/guest", "check"], check=False, capture_output=True, text=True
    )
    if checked.returncode != 0:
        return [], [f"guest {guest.name}: {checked.stderr.strip()}" for guest in wanted]
    python = (f"{_BIN}/python", "-m", "scripts.guests", "test")
    return [
        Step(
            f"guest {guest.name}",
            (*python, guest.name, "--", *arguments),
            records=len(guest.places) or 1,
        )
        for guest in wanted
    ], []


if __name__ == "__main__":
    asked = "".join(sys.argv[1:])
    if asked not in _MODES:
        raise SystemExit(f"scripts/test {' | '.join(filter(None, _MODES))}")
    if asked == "--long":
        os.environ["CMEMRUN_TEST_LONG"] = "1"
    raise SystemExit(main(asked))
