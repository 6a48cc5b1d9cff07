"""Searches as pictures and pages: what is drawn, that it is true, and that nothing breaks it."""

import json
import re
import warnings
from itertools import combinations
from typing import Any
from xml.etree import ElementTree

import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.transforms import Bbox

from cmemrun.analysis.search import Outcome, Trial, search
from cmemrun.errors import BadInput
from cmemrun.report import curve, curve_page
from cmemrun.report.fit_document import SavedFit, fit_from, is_fit, render
from cmemrun.report.scales import of_sizes, of_times
from cmemrun.report.sheet import FORMATS, THEMES
from tests.made_up import HOSTILE, MIB
from tests.report.reading import words
from tests.searches import USUAL, MadeUp, found, trial

pytestmark = pytest.mark.slow

OK, KILLED, FAILED, TIMED_OUT = Outcome
HOUR = 3600.0


MANY = found(
    trial(None, 1.0),
    *(trial(limit, 100 / limit, OK if limit > 60 else KILLED, 0.5) for limit in range(2, 101)),
    cliff_bytes=61,
    knee_bytes=100,
    low_bytes=60,
)
SEARCHED = SavedFit(("./server",), search(MadeUp(20, peak=3200, kept=15, fast_from=2500)), 0.1)
CASES = {
    "usual": USUAL,
    "a hundred": MANY,
    "a knee far above": SEARCHED,
    "TiB and 10 h": found(
        trial(None, 10 * HOUR),
        trial(2**20, 90 * HOUR, stall=40 * HOUR),
        trial(2**23, 11 * HOUR),
        cliff_bytes=2**20,
        knee_bytes=2**23,
    ),
    "1 ms": found(trial(None, 0.001), trial(2, 0.0012), cliff_bytes=2, knee_bytes=2),
    "without a limit only": found(trial(None, 1.0)),
    "one that fails": found(trial(None, 1.0, FAILED, None)),
    "one trial": found(trial(None, 1.0), trial(90, 1.0)),
    "no cliff": found(trial(None, 1.0), trial(50, 0.1, KILLED), low_bytes=50),
    "nothing": found(Trial(None, OK, 0.0, None, 0), Trial(0, OK, 0.0, None, 0), slowdown=None),
    "nonsense": found(
        Trial(None, OK, 0.0, 0.0, 0),
        Trial(2**63, KILLED, 1e9, 1e9, 0),
        Trial(0, OK, 1e-9, 0.0, 2**63),
        slowdown=100.0,
        cliff_bytes=0,
        knee_bytes=2**43,
        low_bytes=2**43,
    ),
}


def marked(drawn: Figure, panel: int = 0) -> list[tuple[str, float, float]]:
    """The trials in a plot: shape, size in MiB, time in seconds."""
    lines: list[Any] = list(drawn.axes[panel].lines)
    return [
        (str(line.get_marker()), float(x) / MIB, float(y))
        for line in lines
        if line.get_linestyle() == "None"
        for x, y in zip(*line.get_data(), strict=True)
    ]


@pytest.mark.parametrize("theme", THEMES)
@pytest.mark.parametrize("case", CASES)
def test_every_search_is_a_picture(case: str, theme: str) -> None:
    svg = curve.render(CASES[case], "svg", theme=theme)
    root = ElementTree.fromstring(svg)  # noqa: S314 (it is ours)
    assert root.tag == "{http://www.w3.org/2000/svg}svg"
    assert THEMES[theme].background.encode() in svg
    assert svg == curve.render(CASES[case], "svg", theme=theme)
    starts = {"svg": b"<?xml", "png": b"\x89PNG\r\n\x1a\n", "pdf": b"%PDF-1."}
    for name in FORMATS:
        assert curve.render(CASES[case], name, theme=theme).startswith(starts[name])


def boxes(drawn: Figure) -> list[tuple[str, Bbox]]:
    """Where the words are, those in the plots and those of the axes."""
    FigureCanvasAgg(drawn).draw()  # type: ignore[no-untyped-call]
    texts = [*drawn.texts, *drawn.legends[0].get_texts()]
    for axes in drawn.axes:
        texts += [*axes.texts, *axes.get_xticklabels(), *axes.get_yticklabels()]
        texts += [axes.xaxis.label, axes.yaxis.label]
    return [
        (text.get_text(), text.get_window_extent())
        for text in texts
        if text.get_text() and text.get_visible()
    ]


@pytest.mark.parametrize("case", [case for case in CASES if case != "nonsense"])
def test_words_are_whole_and_apart(case: str) -> None:
    drawn = curve.draw(CASES[case])
    places = boxes(drawn)
    for text, box in places:
        assert drawn.bbox.x0 <= box.x0 and box.x1 <= drawn.bbox.x1, text
        assert drawn.bbox.y0 <= box.y0 and box.y1 <= drawn.bbox.y1, text
    for (one, box), (other, another) in combinations(places, 2):
        assert not (
            min(box.x1, another.x1) - max(box.x0, another.x0) > 0.5
            and min(box.y1, another.y1) - max(box.y0, another.y0) > 0.5
        ), (one, other)


def test_what_is_drawn() -> None:
    drawn = curve.draw(USUAL)
    told = words(drawn)
    for expected in (
        "./myapp --flag",
        "7 runs without swap · at most 10 % slower from the knee on",
        "cliff 60.0 MiB",
        "knee 75.0 MiB",
        "peak 90.0 MiB",
        "no limit 1.00 s",
        "allowed 1.10 s",
        "killed, failed or timed out",
        "stalled",
        "memory limit, MiB",
    ):
        assert expected in told, expected
    (legend,) = drawn.legends
    assert [text.get_text() for text in legend.get_texts()] == [
        "ok", "their median", "killed", "failed", "timed out", "without a limit, at its peak",
    ]  # fmt: skip
    assert sorted(marked(drawn)) == [
        ("X", 50, 0.2), ("^", 58, 11), ("o", 60, 3), ("o", 60, 4), ("o", 75, 1.05), ("o", 90, 1),
        ("s", 56, 0.5),
    ]  # fmt: skip
    assert sorted(marked(drawn, 1)) == [
        ("X", 50, 0), ("^", 58, 8), ("o", 60, 1.5), ("o", 60, 2.5), ("o", 75, 0.5), ("o", 90, 0),
        ("s", 56, 0.25),
    ]  # fmt: skip
    lines: list[Any] = [line.get_data() for line in drawn.axes[0].lines]
    assert [[60 * MIB, 75 * MIB], [3.5, 1.05]] in [[list(xs), list(ys)] for xs, ys in lines]
    across = [ys[0] for xs, ys in lines if list(xs) == [0, 1]]
    assert across == [1.0, pytest.approx(1.1)]
    upright = [float(xs[0]) / MIB for xs, ys in lines if len(xs) == 2 and xs[0] == xs[1]]
    assert upright == [60, 75, 90]
    ends = [
        area.get_window_extent().transformed(drawn.axes[0].transData.inverted()).x1 / MIB
        for area in drawn.axes[0].patches
    ]
    assert ends == [pytest.approx(58), pytest.approx(60)]


def test_what_is_not_known_is_said() -> None:
    only = words(curve.draw(CASES["without a limit only"]))
    assert "it was run without a limit only" in only
    assert any(text.startswith("INCOMPLETE") and "no cliff and no knee" in text for text in only)
    failing = words(curve.draw(CASES["one that fails"]))
    assert any("without a limit, either (failed)" in text for text in failing)
    assert any("stalls are not counted here" in text for text in failing)
    partial = found(trial(None, 1.0), trial(60, 2.0), trial(30, 0.1, KILLED))
    fit = partial.fit._replace(cliff_bytes=60 * MIB, low_bytes=30 * MIB)
    told = words(curve.draw(partial._replace(fit=fit, slowdown=None)))
    assert "killed" in told and "not known" in told
    assert not [text for text in told if text.startswith(("allowed", "knee"))]
    same = words(curve.draw(CASES["1 ms"]))
    assert "cliff and knee 2.0 MiB" in same and not [text for text in same if "INCOMPL" in text]


def test_an_allowed_time_far_above_leaves_the_others_high() -> None:
    drawn = curve.draw(USUAL._replace(slowdown=99.0))
    assert "allowed 1:40 min ↑" in words(drawn)
    assert drawn.axes[0].get_ylim()[1] < 20


@pytest.mark.parametrize(
    ("sizes", "ticks", "label"),
    [
        ([60, 62], ["52", "54", "56", "58", "60", "62"], "MiB"),
        ([1020, 1056], ["864", "896", "928", "960", "992", "1024", "1056"], "MiB"),
        ([1024, 6 * 1024], ["1", "2", "3", "4", "5", "6"], "GiB"),
        ([16, 1024], ["16 MiB", "32 MiB", "64 MiB", "128 MiB", "256 MiB", "512 MiB", "1 GiB"],
         "(log scale)"),
    ],
)  # fmt: skip
def test_limits_have_round_ticks(sizes: list[int], ticks: list[str], label: str) -> None:
    scale = of_sizes([size * MIB for size in sizes])
    assert list(scale.ticks.values()) == ticks and scale.label.endswith(label)
    assert 0 < scale.across(sizes[0] * MIB) < scale.across(sizes[-1] * MIB) < 1


def test_times_have_round_ticks() -> None:
    assert list(of_times([1.0, 2.0], 1.0).ticks.values()) == ["0", "0.5", "1", "1.5", "2"]
    assert of_times([0.001], 0.001).label == "wall time, milliseconds"
    assert of_times([10 * HOUR], 10 * HOUR).label == "wall time, hours"
    assert list(of_times([0.05, 11.0], 0.1).ticks.values()) == ["100 ms", "1 s", "10 s"]


def test_hostile_names_are_text() -> None:
    hostile = USUAL._replace(command=HOSTILE, warnings=HOSTILE)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        told = "".join(words(curve.draw(hostile)))
        page = curve_page.render(hostile)
    assert "$b_c\\nope{1}^2$" in told and "\\x1b[2J\\x07\\u202e" in told
    assert all(char.isprintable() for char in told) and "日" not in told
    assert "<img src=x" not in page and not re.search(r"<script", page)
    assert all(char.isprintable() or char == "\n" for char in page)


def test_the_page_has_the_numbers() -> None:
    page = curve_page.render(USUAL._replace(warnings=("it read a file",)))
    assert page.count("data:image/svg+xml;base64,") == 2
    text = " ".join(re.sub(r"<[^>]+>", " ", page.split("<body>")[1]).split())
    for expected in (
        "./myapp --flag searched in 7 runs",
        "cliff 60.0 MiB , the smallest limit it succeeds with",
        "knee 75.0 MiB , the smallest with which it is at most 10 % slower",
        "warning it read a file",
        "none ok 1.00 s 0 ms 90.0 MiB",
        "58.0 MiB timed out 11.00 s 8.00 s 58.0 MiB",
    ):
        assert expected in text
    assert "INCOMPLETE" in curve_page.render(CASES["without a limit only"])


@pytest.mark.parametrize("case", [case for case in CASES if case != "nonsense"])
def test_a_document_is_read_back(case: str) -> None:
    read = json.loads(render(CASES[case]))
    assert is_fit(read) and fit_from(read | {"later": 1}) == CASES[case]


@pytest.mark.parametrize(
    "damage",
    [
        {"schema": 2},
        {"command": "true"},
        {"command": [1]},
        {"runs": None},
        {"runs": [{}]},
        {"unlimited": None},
        {"cliff_bytes": -1},
        {"cliff_bytes": True},
        {"low_bytes": 2**64},
        {"is_complete": 1},
        {"slowdown": -0.1},
        {"slowdown": 1e9},
        {"unlimited": json.loads(render(USUAL))["unlimited"] | {"wall_seconds": -1}},
        {"unlimited": json.loads(render(USUAL))["unlimited"] | {"wall_seconds": 1e300}},
        {"unlimited": json.loads(render(USUAL))["unlimited"] | {"outcome": "well"}},
        {"unlimited": json.loads(render(USUAL))["unlimited"] | {"outcome": []}},
    ],
)
def test_what_is_no_search_is_refused(damage: dict[str, Any]) -> None:
    with pytest.raises(BadInput, match=r"no result of cmemrun fit|schema 2"):
        fit_from(json.loads(render(USUAL)) | damage)
