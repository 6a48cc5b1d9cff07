"""The pictures of the README are of the run that is saved beside them."""

import re
from pathlib import Path
from xml.etree import ElementTree

import pytest

from cmemrun.commands.inputs import read_run
from cmemrun.units import format_size

PICTURES = Path(__file__).parents[2] / "examples/pictures"
SVG = "{http://www.w3.org/2000/svg}"


def tree(path: Path) -> ElementTree.Element:
    return ElementTree.parse(path).getroot()  # noqa: S314 (our own file)


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("kind", ["report", "plot"])
def test_each_is_small_and_needs_nothing_from_elsewhere(kind: str, theme: str) -> None:
    path = PICTURES / f"{kind}-{theme}.svg"
    assert tree(path).tag == f"{SVG}svg"
    assert path.stat().st_size < 100_000
    text = path.read_text()
    assert not re.search(r"url\((?!#)|<script|<image|@import", text)


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_the_report_is_that_of_the_run(theme: str) -> None:
    run = read_run(str(PICTURES / "run.json"))
    lines = "".join(tree(PICTURES / f"report-{theme}.svg").itertext())
    shown = lines.replace("\N{NO-BREAK SPACE}", " ")
    assert run.peak_bytes is not None
    assert format_size(run.peak_bytes) in shown
    assert f"{run.method.sample_count} samples" in shown
