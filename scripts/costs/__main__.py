"""What measuring costs, as Markdown, all in one run on one machine:  scripts/bench [--quick]"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pyperf

from scripts.costs import parts
from scripts.costs.launch import launching, loading, rivals
from scripts.costs.measuring import Effort, Table
from scripts.costs.own import own_memory
from scripts.costs.share import share_of_a_core
from scripts.costs.slowdown import slowdown
from scripts.peers.machine import describe
from scripts.peers.tools import OURS

_ROUNDS = 5
_SETTLING_SECONDS = 3.0


def parts_of_a_sample(effort: Effort) -> Table:
    """In turn, each part in a process of its own, so that their ratios are fair."""
    with tempfile.TemporaryDirectory(prefix="cmemrun-cost-") as where:
        path = Path(where, "parts.json")
        some = ["--values", "1", "--warmups", "0", "--loops", "1"]
        often = some if effort.quick else ["--values", "3"]
        command = [sys.executable, "-m", "scripts.costs.parts", "--quiet", "--processes", "1"]
        command += [*often, "--inherit-environ", parts.SETTLING, "--append", str(path)]
        waiting = os.environ | {parts.SETTLING: str(effort.seconds(_SETTLING_SECONDS))}
        for _ in range(effort.times(_ROUNDS)):
            subprocess.run(command, check=True, stdout=subprocess.DEVNULL, env=waiting)
        suite = pyperf.BenchmarkSuite.load(str(path))
    figures = {one.get_name(): one.median() * 1e6 for one in suite.get_benchmarks()}
    rows = tuple((part, f"{figures[part]:.1f}") for part in parts.PARTS)
    title = f"The parts of a sample, by pyperf, {effort.times(_ROUNDS)} times in turn"
    return Table(title, ("", "µs"), rows, figures)


TABLES = {
    "launching": launching,
    "parts": parts_of_a_sample,
    "share": share_of_a_core,
    "slowdown": slowdown,
    "own": own_memory,
    "loading": loading,
}


def main() -> None:
    parser = argparse.ArgumentParser(prog="scripts/bench", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="see that it works")
    parser.add_argument("--only", choices=TABLES, help="one of the tables")
    parser.add_argument("--json", metavar="FILE", help="all figures, too")
    asked = parser.parse_args()
    effort, figures = Effort(asked.quick), {}
    print(f"{describe([OURS, *rivals()])}\n")
    for name in [asked.only] if asked.only else TABLES:
        table = TABLES[name](effort)
        figures[name] = table.figures
        print(table.markdown(), flush=True)
    if asked.json:
        Path(asked.json).write_text(json.dumps(figures, indent=1) + "\n")


if __name__ == "__main__":
    main()
