"""The rows of the live view: what they say, that they fit, and that nothing in them moves."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len

from cmemrun.model import Events, Limits, Process, Run, Sample
from cmemrun.report.panel import LEAST_COLUMNS, LEAST_LINES, View, render, rows_of
from tests.made_up import MIB, RUN
from tests.report.live import LIMITED, SAMPLE, process


def shown(
    sample: Sample = SAMPLE, run: Run = LIMITED, columns: int = 120, history: tuple[int, ...] = ()
) -> list[str]:
    before = [Sample(float(second), usage) for second, usage in enumerate(history)]
    view = View(run, sample, [*before, sample], sample.elapsed_seconds)
    return render(view, rows=7, columns=columns, colour=False)


def test_it_tells_usage_beside_the_limit_and_what_it_is_made_of() -> None:
    rule, usage, parts, *_ = shown()
    assert re.fullmatch(r"── cmemrun ─+ 0:00:10 ──", rule) and len(rule) == 119
    assert re.fullmatch(
        r"usage     96\.0 MiB  [█▓▒░]+   75 % of limit  128\.0 MiB   peak   96\.0 MiB", usage
    )
    bar = [usage.count(glyph) for glyph in "█▓▒░"]
    for count, size in zip(bar, (64, 24, 8, 32), strict=True):
        assert abs(count - sum(bar) * size / 128) < 1
    assert parts == (
        "█ anon    64.0 MiB  ▓ file   24.0 MiB  ▒ kernel    8.0 MiB  working set   80.0 MiB"
        "  stalled  250 ms  tasks    3"
    )


def test_without_a_limit_the_peak_is_the_measure() -> None:
    usage = shown(run=RUN, history=(MIB, 192 * MIB))[1]
    assert usage.endswith(" 50 % of peak   192.0 MiB")
    assert usage.count("░") == sum(map(usage.count, "█▓▒"))


def test_what_the_kernel_does_not_say_is_not_zero() -> None:
    parts = shown(Sample(1.0, MIB))[2]
    assert parts.count("n/a") == 6


def test_kills_and_lower_bounds_are_told() -> None:
    proc = RUN._replace(method=RUN.method._replace(backend="proc"))
    rule = shown(SAMPLE._replace(events=Events(oom_kill=2)), run=proc)[0]
    assert "no group: a lower bound" in rule and "2 OOM kills" in rule


@pytest.mark.parametrize(("usage", "style"), [(96, "33"), (125, "1;31")])
def test_colours(usage: int, style: str) -> None:
    sample = SAMPLE._replace(usage_bytes=usage * MIB)
    rows = render(View(LIMITED, sample, [sample], 10.0), rows=7, columns=100, colour=True)
    assert f"\x1b[{style}m {100 * usage / 128:2.0f} %\x1b[0m" in rows[1]
    assert [re.sub(r"\x1b\[[0-9;]*m", "", row) for row in rows] == shown(sample, columns=100)


def test_processes_the_largest_first() -> None:
    told = (process(7, MIB, "small"), process(1234567, 3 * MIB, "sh", "-c", "a b"))
    hidden = process(8, 2 * MIB)._replace(pss_bytes=None)
    assert shown(SAMPLE._replace(processes=(*told, hidden)))[4:] == [
        "1234567    3.0 MiB PSS  sh -c 'a b'",
        "8          2.0 MiB RSS  name",
        "7          1.0 MiB PSS  small",
    ]
    assert shown(SAMPLE._replace(processes=told[:1]))[5:] == ["", ""]


def test_nothing_moves_but_what_changes() -> None:
    small = SAMPLE._replace(usage_bytes=0, anon_bytes=1023, file_bytes=0, kernel_bytes=4096)
    large = SAMPLE._replace(usage_bytes=127 * MIB, anon_bytes=1023 * MIB, tasks=1000)
    for columns in range(LEAST_COLUMNS, 170, 10):
        pairs = zip(shown(small, columns=columns), shown(large, columns=columns), strict=True)
        for one, other in pairs:
            words = re.findall(r"[a-z]+ ?[a-z]+", re.sub("[KM]iB| B ", "", one))
            assert [one.index(word) for word in words] == [other.index(word) for word in words]


def test_the_history_keeps_its_columns_until_they_are_too_many() -> None:
    usage = (8, 4, 2, 8, 8, 1)
    samples = [Sample(float(second), size * MIB) for second, size in enumerate(usage)]

    def history(seconds: float) -> str:
        view = View(RUN, samples[-1], samples, seconds)
        return render(view, rows=7, columns=79, colour=False)[3].removeprefix("history ")

    assert history(5.0) == "█" * 10 + "▄" * 10 + "▂" * 10 + "█" * 20 + "▁"
    # What comes later is added, and where nothing was looked at it was as before.
    assert history(6.9) == history(5.0) + "▁" * 19
    assert history(7.0) == "█" * 5 + "▄" * 5 + "▂" * 5 + "█" * 10 + "▁" * 11
    assert len(history(1e6)) <= 70


def test_a_column_has_the_highest_of_its_time() -> None:
    samples = [Sample(0.0, 0), Sample(50.0, MIB), Sample(50.01, 9 * MIB), Sample(100.0, 0)]
    rows = render(View(RUN, samples[-1], samples, 100.0), rows=7, columns=50, colour=False)
    assert rows[3].count("█") == 16  # until the next one is known
    assert rows[3].removeprefix("history ").index("█") == 15


TEXT = st.text(
    st.characters() | st.sampled_from("\x1b\n\r\t\x9b汉字👩‍🚀é́\u202e\u200b"), max_size=60
)
SIZE = st.none() | st.integers(0, 2**60)


@given(
    command=st.lists(TEXT, max_size=4),
    name=TEXT,
    sizes=st.tuples(st.integers(0, 2**60), SIZE, SIZE, SIZE, SIZE),
    limit=SIZE,
    elapsed=st.floats(0, 1e7),
    columns=st.integers(LEAST_COLUMNS, 400),
    colour=st.booleans(),
)
def test_it_fits_and_drives_no_terminal(
    command: list[str],
    name: str,
    sizes: tuple[int, int | None, int | None, int | None, int | None],
    limit: int | None,
    elapsed: float,
    columns: int,
    colour: bool,
) -> None:
    usage, anon, file, kernel, pss = sizes
    who = Process(2**22, 1, name, tuple(command), usage, pss, None, None, None)
    sample = Sample(elapsed, usage, anon, file, kernel, processes=(who,))
    run = RUN._replace(limits=Limits(max_bytes=limit))
    rows = render(View(run, sample, [sample], elapsed), rows=7, columns=columns, colour=colour)
    assert len(rows) == 7
    for row in rows:
        plain = re.sub(r"\x1b\[[0-9;]*m", "", row) if colour else row
        assert plain.isprintable()
        assert cell_len(plain) < columns
    assert sum(map(len, "".join(rows).encode().splitlines())) < 8192


def test_rows_of_a_terminal() -> None:
    assert rows_of(LEAST_LINES - 1, 200) == rows_of(100, LEAST_COLUMNS - 1) == 0
    sizes = [(lines, rows_of(lines, 80)) for lines in (LEAST_LINES, 19, 20, 39, 40, 100)]
    assert sizes == [(12, 5), (19, 5), (20, 7), (39, 7), (40, 9), (100, 9)]
    view = View(RUN, SAMPLE, [SAMPLE], 10.0)
    for _, rows in sizes:
        assert len(render(view, rows=rows, columns=80, colour=False)) == rows
