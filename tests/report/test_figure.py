"""Runs as pictures: what is drawn, that it is true, and that it is a picture at all."""

import math
import random
import re
import struct
import warnings
from itertools import pairwise
from typing import Any
from xml.etree import ElementTree

import matplotlib
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from cmemrun.errors import BadInput
from cmemrun.model import Budget, Events, Limits, Pressure, Run, Sample
from cmemrun.report import chart, figure
from tests.made_up import ESCAPES, HOSTILE, MIB, RUN, SAMPLE, process, run_of, sample
from tests.report.reading import words

pytestmark = pytest.mark.slow

DAY = 86400.0


def many(count: int, seconds: float, size: int) -> list[Sample]:
    """Noise, so that nothing can be left out unseen."""
    chance = random.Random(1)
    return [
        Sample(
            number * seconds / count,
            chance.randrange(size // 2, size),
            anon_bytes=chance.randrange(size // 4),
            file_bytes=chance.randrange(size // 4),
            kernel_bytes=chance.randrange(size // 8),
            sock_bytes=chance.randrange(size // 16),
            inactive_file_bytes=chance.randrange(size // 4),
        )
        for number in range(count)
    ]


def lines(drawn: Figure) -> list[tuple[list[float], list[float]]]:
    """All that is a line, in the unit of the ticks and in bytes."""
    found: list[Any] = [line.get_data() for line in drawn.axes[0].lines]
    return [([float(x) for x in xs], [float(y) for y in ys]) for xs, ys in found]


def outline(drawn: Figure) -> list[tuple[float, float]]:
    """The edge of the strip below the plot."""
    (strip,) = drawn.axes[1].collections
    edge: Any = strip.get_paths()[0].vertices
    return [(float(x), float(y)) for x, y in edge]


@pytest.mark.parametrize("theme", figure.THEMES)
@pytest.mark.parametrize(
    "run",
    [
        pytest.param(run_of(), id="no sample and no size"),
        pytest.param(run_of(peak_bytes=5 * MIB, limits=Limits(64 * MIB)), id="no sample"),
        pytest.param(run_of(SAMPLE), id="one sample"),
        pytest.param(run_of(sample(0.0, 0), wall_seconds=0.0), id="no time"),
        pytest.param(run_of(*many(30, 0.005, 4096)), id="5 ms of KiB"),
        pytest.param(run_of(*many(300, 30 * DAY, 2**42), command=HOSTILE), id="30 days of TiB"),
        pytest.param(
            run_of(sample(-1.0, -5), sample(1e300, 2**63), limits=Limits(-1)), id="nonsense"
        ),
    ],
)
def test_svg_and_png(run: Run, theme: str) -> None:
    svg = figure.render([run], "svg", theme=theme)
    root = ElementTree.fromstring(svg)  # noqa: S314 (it is ours)
    assert root.tag == "{http://www.w3.org/2000/svg}svg"
    assert not [one for one in root.iter() if one.tag.rpartition("}")[2] in {"script", "image"}]
    assert figure.THEMES[theme].background.encode() in svg
    png = figure.render([run], "png", theme=theme)
    assert png.startswith(b"\x89PNG\r\n\x1a\n")
    width, height = struct.unpack(">II", png[16:24])
    assert width == 1600 and 700 < height < 2000


@pytest.mark.parametrize("command", [HOSTILE, ()])
def test_pdf(command: tuple[str, ...]) -> None:
    pdf = figure.render([run_of(SAMPLE, command=command)], "pdf", theme="dark")
    assert pdf.startswith(b"%PDF-1.") and b"%%EOF" in pdf[-10:]
    assert b"CreationDate" not in pdf


def test_it_is_the_same_each_time_and_whatever_the_settings() -> None:
    run = run_of(*many(20, 1.0, MIB))
    with matplotlib.rc_context({"lines.linewidth": 9, "svg.fonttype": "none", "axes.grid": True}):
        before = dict(matplotlib.rcParams)
        first = [figure.render([run], name) for name in figure.FORMATS]
        assert dict(matplotlib.rcParams) == before
    assert first == [figure.render([run], name) for name in figure.FORMATS]


def test_what_is_drawn_of_one_run() -> None:
    run = run_of(
        sample(0.0, 0, anon_bytes=0, file_bytes=0, kernel_bytes=0, inactive_file_bytes=0),
        sample(1.0, 90 * MIB, anon_bytes=60 * MIB, file_bytes=20 * MIB, kernel_bytes=5 * MIB,
               inactive_file_bytes=15 * MIB),
        sample(2.0, 10 * MIB, anon_bytes=10 * MIB, file_bytes=0, kernel_bytes=0,
               inactive_file_bytes=0),
        peak_bytes=100 * MIB,
        limits=Limits(128 * MIB),
        budgets=(Budget("peak", 96 * MIB, 100 * MIB, "exact"), Budget("time", 1, 2, "exact")),
    )  # fmt: skip
    drawn = figure.draw([run])
    told = words(drawn)
    for expected in (
        "./myapp --flag",
        "cgroup-v2 · Linux 6.12.0 · 3 of 7 samples",
        "peak 100.0 MiB",
        "limit 128.0 MiB",
        "budget 96.0 MiB",
        "highest sample 90.0 MiB",
        "elapsed seconds",
        "96 MiB",
        "0 B",
    ):
        assert expected in told
    assert sum(text.startswith("budget") for text in told) == 1
    (legend,) = drawn.legends
    assert [text.get_text() for text in legend.get_texts()] == [
        "anon", "file", "kernel", "usage", "working set",
    ]  # fmt: skip
    found = lines(drawn)
    assert ([0.0, 1.0, 2.0], [0.0, 90.0 * MIB, 10.0 * MIB]) in found
    assert ([0.0, 1.0, 2.0], [0.0, 75.0 * MIB, 10.0 * MIB]) in found
    assert ([1.0], [90.0 * MIB]) in found
    levels = [ys[0] / MIB for _, ys in found if len(ys) == 2 and ys[0] == ys[1]]
    assert sorted(levels) == [96, 100, 128]
    # The areas lie on each other: the last, which covers the others, is anon alone.
    tops = [area.get_datalim(drawn.axes[0].transData).y1 for area in drawn.axes[0].collections]
    assert [round(top / MIB) for top in tops] == [85, 80, 60]
    lower = run._replace(method=run.method._replace(lower_bound=True, sample_count=3))
    told = words(figure.draw([lower]))
    assert "peak ≥ 100.0 MiB" in told
    assert "cgroup-v2 · Linux 6.12.0 · 3 samples · a LOWER BOUND" in told


def test_a_far_limit_leaves_the_usage_high() -> None:
    drawn = figure.draw([run_of(*many(9, 1.0, MIB), limits=Limits(2**40))])
    assert "limit 1.0 TiB ↑" in words(drawn)
    assert drawn.axes[0].get_ylim()[1] < 2 * MIB


def test_what_nobody_knows_is_left_out() -> None:
    run = run_of(
        sample(0.0, 4, anon_bytes=2), sample(1.0, 4), sample(2.0, 8, anon_bytes=6), sample(3.0, 8)
    )
    drawn = figure.draw([run])
    told = words(drawn)
    assert "anon" in told and "usage" in told
    assert not {"file", "kernel", "sockets", "working set"} & set(told)
    assert chart.thinned([(0.0, 2), (1.0, None), (2.0, 6)], 3.0) == [(0, 2), (1, None), (2, 6)]


def test_many_samples_lose_no_extreme() -> None:
    samples = many(100_000, 3600.0, 2**30)
    samples[77_777] = samples[77_777]._replace(usage_bytes=2**31)
    samples[33_333] = samples[33_333]._replace(usage_bytes=1)
    run = run_of(*samples)
    drawn = figure.draw([run])
    xs, ys = max(lines(drawn), key=lambda line: len(line[0]))
    assert len(xs) <= 2000 and xs == sorted(xs)
    assert (max(ys), min(ys)) == (2**31, 1)
    width = 3600.0 / 800
    for number in (0, 123, 799):
        inside = [s.usage_bytes for s in samples if int(s.elapsed_seconds / width) == number]
        kept = [y for x, y in zip(xs, ys, strict=True) if int(x * 60 / width) == number]
        assert (max(kept), min(kept)) == (max(inside), min(inside))
    svg = figure.render([run], "svg")
    assert len(svg) < 1_000_000


@pytest.mark.parametrize(
    ("size", "expected"),
    [
        (5, ["0 B", "1 B", "2 B", "3 B", "4 B", "5 B"]),
        (100 * MIB, ["0 B", "32 MiB", "64 MiB", "96 MiB"]),
        (1100 * MIB, ["0 B", "512 MiB", "1 GiB"]),
        (5 * 2**40, ["0 B", "1 TiB", "2 TiB", "3 TiB", "4 TiB", "5 TiB"]),
    ],
)
def test_ticks_are_round_in_binary(size: int, expected: list[str]) -> None:
    drawn = figure.draw([run_of(sample(0.0, 0), sample(1.0, size))])
    assert [label.get_text() for label in drawn.axes[0].get_yticklabels()] == expected


@pytest.mark.parametrize(
    ("seconds", "unit"),
    [
        (0.005, "milliseconds"),
        (60.0, "seconds"),
        (3600.0, "minutes"),
        (DAY, "hours"),
        (30 * DAY, "days"),
    ],
)
def test_time_is_in_a_unit_of_its_length(seconds: float, unit: str) -> None:
    drawn = figure.draw([run_of(*many(9, seconds, MIB), wall_seconds=seconds)])
    assert f"elapsed {unit}" in words(drawn)
    assert 1 < drawn.axes[0].get_xlim()[1] <= 400


def test_oom_kills_have_their_moment() -> None:
    run = run_of(
        *(sample(float(at), MIB, events=Events(oom_kill=kills))
          for at, kills in enumerate((0, 0, 2, 2, 3, 3))),
        events=Events(oom_kill=4),
        at_exit=sample(5.0, 0),
    )  # fmt: skip
    drawn = figure.draw([run])
    upright = [xs[0] for xs, ys in lines(drawn) if len(xs) == 2 and ys == [0, 1]]
    assert upright == [2, 4, 5]
    assert words(drawn).count("OOM kill") == 3
    assert "OOM kill" not in words(figure.draw([run_of(*many(9, 1.0, MIB))]))
    # What a group had counted before it was watched is none of the run's.
    before = run_of(
        *(sample(float(at), MIB, events=Events(oom_kill=7)) for at in range(3)),
        events=Events(oom_kill=7),
        method=RUN.method._replace(attached=True),
    )
    assert "OOM kill" not in words(figure.draw([before]))
    # Nor what was counted around it, and has turned out to be of others.
    others = run._replace(events=Events(oom_kill=0))
    assert "OOM kill" not in words(figure.draw([others]))


def test_stalls_are_a_strip_of_their_own() -> None:
    def stalled(*totals: float) -> Figure:
        samples = [
            sample(float(at), MIB, pressure=Pressure(total, 0.0)) for at, total in enumerate(totals)
        ]
        return figure.draw([run_of(*samples, pressure=Pressure(totals[-1], 0.0))])

    drawn = stalled(0.0, 0.5, 0.5, 1.5, 1.5)
    assert "stalled 1.50 s" in words(drawn)
    edge = outline(drawn)
    assert math.isclose(max(y for x, y in edge if x < 0.95), 0.5)
    assert max(y for x, y in edge if 1.05 < x < 1.95) == 0
    assert math.isclose(max(y for x, y in edge if 2.05 < x < 2.95), 1)
    # Told late: all of it was lost, and no second can lose two.
    edge = outline(stalled(0.0, 0.0, 0.0, 2.0))
    assert math.isclose(max(y for x, y in edge if 1.05 < x < 1.95), 1)
    assert max(y for x, y in edge if x < 0.95) == 0
    assert len(stalled(0.0, 0.0).axes) == 1
    assert len(figure.draw([run_of(SAMPLE)]).axes) == 1


def test_several_runs_lie_over_each_other() -> None:
    runs = [
        run_of(*many(20, float(number), MIB * number), command=(f"./app{number}",), **{
            "limits": Limits(3 * MIB)
        })
        for number in (1, 2, 3)
    ]  # fmt: skip
    told = words(figure.draw(runs))
    assert "Memory usage of 3 runs" in told and "limit 3.0 MiB" in told
    for number, run in enumerate(runs, start=1):
        assert f"{number}  ./app{number}, peak {run.peak_bytes / 1024:.1f} KiB" in told or (
            f"{number}  ./app{number}, peak {run.peak_bytes / MIB:.1f} MiB" in told
        )
    other = runs[0]._replace(limits=Limits(2 * MIB))
    assert not [text for text in words(figure.draw([other, *runs])) if text.startswith("limit")]
    crowd = words(figure.draw([RUN] * 30))
    assert "and 18 more" in crowd and "12  ./myapp --flag, peak 101.0 MiB" in crowd
    assert "./myapp --flag" in crowd and "30 runs · cgroup-v2 · Linux 6.12.0" in crowd


def legend(drawn: Figure) -> list[str]:
    return [text.get_text() for one in drawn.legends for text in one.get_texts()]


def test_kills_and_stalls_of_several_runs_are_on_their_lines() -> None:
    killed = run_of(
        sample(0.0, MIB, events=Events(oom_kill=0)),
        sample(1.0, 9 * MIB, events=Events(oom_kill=1)),
        sample(2.0, 4 * MIB, events=Events(oom_kill=1)),
        pressure=Pressure(1.25, None),
        events=Events(oom_kill=2),
        at_exit=sample(2.5, 0, events=Events(oom_kill=2)),
        command=("./killed",),
    )
    calm = run_of(*many(9, 2.0, MIB), command=("./calm",), pressure=Pressure(0.0, 0.0))
    # Nobody looked before it was over.
    unseen = calm._replace(samples=(), peak_bytes=5 * MIB, events=Events(oom_kill=1))
    drawn = figure.draw([calm, killed, unseen])
    assert legend(drawn) == [
        f"1  ./calm, peak {calm.peak_bytes / 1024:.1f} KiB",
        "2  ./killed, peak 9.0 MiB, stalled 1.25 s",
        "3  ./calm, peak 5.0 MiB",
        "OOM kill",
    ]
    marks: list[Any] = [line for line in drawn.axes[0].lines if line.get_marker() == "X"]
    at = [(line.get_xdata()[0], line.get_ydata()[0], line.get_color()) for line in marks]
    colours = figure.THEMES["light"].lines
    assert at == [
        (1.0, 9 * MIB, colours[1]),
        (2.5, 4 * MIB, colours[1]),
        (unseen.at_exit.elapsed_seconds, 5 * MIB, colours[2]),
    ]
    # The sign in the legend is none of the plot's.
    signs: list[Any] = drawn.legends[0].legend_handles
    assert [sign.get_marker() for sign in signs[:4]][-1] == "X"
    assert "OOM kill" not in words(figure.draw([calm, calm]))
    # Below the runs that are named, and all of it above the plot.
    crowd = figure.draw([killed] * 30)
    assert legend(crowd)[-2:] == ["and 18 more", "OOM kill"] and len(legend(crowd)) == 14
    for one in (drawn, crowd):
        FigureCanvasAgg(one).draw()  # type: ignore[no-untyped-call]
        marks = [line for line in one.axes[0].lines if line.get_marker() == "X"]
        assert all(line.get_window_extent().y1 <= one.axes[0].bbox.y1 for line in marks)
        assert one.legends[0].get_window_extent().y0 >= one.axes[0].bbox.y1


def test_budgets_on_what_is_drawn_are_named_lines() -> None:
    allowed = {"anon": 50 * MIB, "working_set": 60 * MIB, "file": 900 * MIB, "peak": 70 * MIB}
    others = {"swap": 10 * MIB, "tasks": 11, "wall": 12, "of a later version": 13}
    budgets = tuple(Budget(name, value, 1, "sampled") for name, value in (allowed | others).items())
    run = run_of(
        sample(0.0, MIB), sample(9.0, 80 * MIB), budgets=budgets, pressure=Pressure(1.0, 0.0)
    )
    for drawn in (figure.draw([run]), figure.draw([run, run._replace(command=("./other",))])):
        told = words(drawn)
        assert {text for text in told if text.startswith("budget")} == {
            "budget anon 50.0 MiB",
            "budget working set 60.0 MiB",
            "budget file 900.0 MiB ↑",
            "budget 70.0 MiB",
        }
        heights = [ys[0] / MIB for _, ys in lines(drawn) if len(ys) == 2 and ys[0] == ys[1]]
        assert {50, 60, 70} <= set(heights) and not {10, 900} & set(heights)
        FigureCanvasAgg(drawn).draw()  # type: ignore[no-untyped-call]
        for text in drawn.axes[0].texts:
            assert text.get_window_extent().x1 <= drawn.bbox.x1, text
    # Runs that may have different amounts have no line in common.
    other = run._replace(budgets=(Budget("anon", 51 * MIB, 1, "sampled"), *budgets[1:]))
    assert not [text for text in words(figure.draw([run, other])) if "anon" in text]


def test_a_strip_is_as_wide_as_its_plot() -> None:
    samples = [sample(float(at), MIB, pressure=Pressure(at / 4, 0.0)) for at in range(9)]
    budgets = (Budget("working_set", MIB, 1, "sampled"),)
    drawn = figure.draw([run_of(*samples, budgets=budgets, pressure=Pressure(2.0, 0.0))])
    plot, strip = (axes.get_position() for axes in drawn.axes)
    assert (plot.x0, plot.x1) == (strip.x0, strip.x1)


def test_a_line_for_each_process() -> None:
    looks = [
        sample(float(at), 50 * MIB, processes=tuple(
            process(pid, (pid + at) * MIB, (pid + at - 1) * MIB if pid == 9 else None)
            for pid in range(1, 11) if at != 1 or pid != 10
        ), processes_elapsed_seconds=at + 0.5)
        for at in range(3)
    ]  # fmt: skip
    run = run_of(*looks, sample(3.0, MIB), sample(10.0, MIB))
    drawn = figure.draw([run], processes=True)
    told = words(drawn)
    assert "10 ./worker10, RSS 12.0 MiB" in told
    assert "9 ./worker9, PSS 10.0 MiB" in told
    assert "and 2 smaller" in told and not [text for text in told if "worker1," in text]
    assert "processes not looked at" in told and "anon" not in told
    gone = next(ys for xs, ys in lines(drawn) if xs == [0.5, 1.5, 2.5] and math.isnan(ys[1]))
    assert (gone[0], gone[2]) == (10 * MIB, 12 * MIB)
    with pytest.raises(BadInput, match="no processes were recorded") as refused:
        figure.draw([run_of(SAMPLE)], processes=True)
    assert refused.value.hint == "run with --processes"
    with pytest.raises(BadInput, match="2 runs"):
        figure.draw([run, run], processes=True)


def test_what_nobody_looked_at_is_named_within_the_plot() -> None:
    look = sample(9.0, 50 * MIB, processes=(process(1, 50 * MIB),))
    drawn = figure.draw([run_of(look, sample(10.0, MIB))], processes=True)
    FigureCanvasAgg(drawn).draw()  # type: ignore[no-untyped-call]
    [axes] = drawn.axes
    [named] = [text for text in axes.texts if text.get_text() == "processes not looked at"]
    assert named.get_window_extent().x1 <= axes.bbox.x1


def test_hostile_names_are_text() -> None:
    hostile = process(7, MIB)._replace(command=HOSTILE)
    run = run_of(
        sample(0.0, MIB, processes=(hostile,)),
        command=HOSTILE,
        environment=RUN.environment._replace(kernel=f"6{ESCAPES}"),
    )
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for drawn in (
            figure.draw([run]),
            figure.draw([run], processes=True),
            figure.draw([run, run]),
        ):
            told = "".join(words(drawn))
            assert "$b_c\\nope{1}^2$" in told and "\\x1b[2J\\x07\\u202e" in told
            assert all(char.isprintable() for char in told)
            assert "日" not in told  # for which the typeface has no glyph
        svg = figure.render([run], "svg").decode()
    assert "<img" not in svg and not re.search(r"</?script", svg)
    assert "&lt;/script&gt;" in svg


def test_long_names_fit() -> None:
    run = run_of(SAMPLE, command=("W" * 1000,))
    drawn = figure.draw([run, run])
    FigureCanvasAgg(drawn).draw()  # type: ignore[no-untyped-call]
    for shown in (*drawn.legends, drawn.texts[0]):
        assert drawn.bbox.x1 * 0.85 < shown.get_window_extent().x1 < drawn.bbox.x1
    assert [text for text in words(drawn) if text.endswith("…, peak 100.0 MiB")]


def test_names_at_the_right_keep_apart() -> None:
    run = run_of(
        SAMPLE,
        limits=Limits(100 * MIB),
        budgets=(
            *(Budget("peak", size * MIB, 100 * MIB, "exact") for size in (99, 100, 101)),
            Budget("working_set", 100 * MIB, 100 * MIB, "exact"),
        ),
    )
    drawn = figure.draw([run])
    FigureCanvasAgg(drawn).draw()  # type: ignore[no-untyped-call]
    boxes = sorted(
        (text.get_window_extent().y0, text.get_window_extent().y1)
        for text in drawn.axes[0].texts
        if text.get_text().startswith(("peak", "limit", "budget"))
    )
    assert len(boxes) == 6
    for (_, top), (bottom, _) in pairwise(boxes):
        assert bottom >= top
