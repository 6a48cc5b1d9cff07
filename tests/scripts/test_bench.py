"""The costs that the README publishes are those that the script measures, and it works."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from scripts.costs.__main__ import TABLES

ROOT = Path(__file__).parents[2]
PUBLISHED = "".join(
    re.findall(
        r"<!-- scripts/bench -->(.*?)<!-- /scripts/bench -->",
        (ROOT / "README.md").read_text(),
        re.S,
    )
)


def cells(markdown: str) -> list[list[str]]:
    """The rows of every table in it, without the lines below their heads."""
    lines = [line for line in markdown.splitlines() if re.match(r"\| [^-]|\|  \|", line)]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


@pytest.mark.slow
@pytest.mark.parametrize("table", TABLES)
def test_a_table(table: str, tmp_path: Path) -> None:
    figures = tmp_path / "figures.json"
    done = subprocess.run(
        [sys.executable, "-m", "scripts.costs", "--quick", "--only", table, "--json", str(figures)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=1200,  # against a hang
        check=False,
    )
    assert done.returncode == 0, done.stderr
    measured = cells(done.stdout)
    assert len(measured) > 2
    assert measured[0] in cells(PUBLISHED), "the columns are others"
    # What follows in the same table, down to the next empty line.
    head = next(line for line in PUBLISHED.splitlines() if cells(line) == measured[:1])
    published = cells(PUBLISHED[PUBLISHED.index(head) :].partition("\n\n")[0])
    assert [row[0] for row in measured] == [row[0] for row in published]
    assert json.loads(figures.read_text())[table]
