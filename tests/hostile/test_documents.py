"""Files of a stranger's: whatever stands in them, an answer, or one line why there is none."""

import contextlib
import copy
import io
import json
import os
import random
import resource
import subprocess
import threading
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from hypothesis import strategies as st

from cmemrun.analysis import sizing, statistics
from cmemrun.analysis.comparison import compare, judge_growth
from cmemrun.commands import inputs, recommend
from cmemrun.commands.compare import _of
from cmemrun.errors import BadInput, NotOffered
from cmemrun.model import (
    Budget,
    Measurement,
)
from cmemrun.report import (
    FORMATS,
    curve,
    curve_page,
    document,
    figure,
    page,
    record,
    render,
    summary,
    terminal,
)
from cmemrun.report.fit_document import SavedFit
from tests.conftest import CMEMRUN
from tests.hostile.full import FULL, FULL_SAMPLE, ONE, SEARCH, SEVERAL
from tests.hostile.fuzz import IS_LONG, fuzz, torn, tried
from tests.made_up import MIB, RUN, SAMPLE
from tests.running import call_cmemrun

pytestmark = pytest.mark.slow

VALUES: list[Any] = [
    None, True, False, 0, -1, 2**63, 2**64 - 1, 1 - 2**64, 2**64, 10**4000, 0.5, -0.0, 1e308,
    -1e308, float("nan"), float("-inf"), "", "max", "x" * 5000, "\0\ud800\x1b[2J",
    "2026-01-01T00:00:00", "0001-01-01T00:00:00+23:59", "9999-12-31T23:59:59-23:59", [], [[]],
    [None], [1], ["a"], [{}], {}, {"a": 1}, [["a", "b"]], [["a"]],
]  # fmt: skip
ABSENT = object()


def places(value: Any, at: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    yield at
    if isinstance(value, dict):
        for name in value:
            yield from places(value[name], (*at, name))
    elif isinstance(value, list):
        for index in range(min(len(value), 2)):
            yield from places(value[index], (*at, index))


def changed(whole: Any, place: tuple[Any, ...], value: Any) -> bytes:
    if not place:
        return json.dumps(None if value is ABSENT else value).encode()
    whole = copy.deepcopy(whole)
    inner = whole
    for step in place[:-1]:
        inner = inner[step]
    if value is ABSENT:
        del inner[place[-1]]
    else:
        inner[place[-1]] = value
    return json.dumps(whole).encode()


def use(text: bytes, *, drawn: bool = False) -> None:
    """Everything that can be done with a saved file; ``BadInput`` where it is refused."""
    saved = inputs._parse("f", text)
    if isinstance(saved, SavedFit):
        if drawn:
            curve.render(saved, "svg", theme="light")
            curve_page.render(saved)
        return
    runs = [run for one in saved for run in one.runs]
    for name in FORMATS:
        if name != "csv" or len(runs) == 1:
            render(saved, name)
    for run in runs:
        assert terminal.render(run, colour=True).count("\x1b") % 2 == 0
    summary.render(saved, colour=False)
    found = sizing.recommend(runs)
    runtime = recommend._runtime(runs, 64 * MIB)
    recommend._as_yaml(found, recommend.Qos.BURSTABLE, runtime)
    recommend._report(found, 1, runtime)
    json.dumps(recommend._document(found, runtime), allow_nan=False)
    base = Measurement("base", (RUN, RUN, RUN))
    for one in saved:
        for before, after in ((base, one), (one, base)):
            comparison = compare(before.runs, after.runs)
            growth: tuple[Budget, ...] = ()
            with contextlib.suppress(NotOffered):  # of runs that were all thrown off
                growth = judge_growth(comparison, {"peak": 0.1})
            summary.render_comparison(before, after, comparison, colour=False)
            json.dumps(_of(before, after, comparison, growth), allow_nan=False)
    if drawn:
        figure.render(runs, "svg", theme="light", processes=len(runs) == 1)
        page.render(runs)


def test_the_files_themselves_are_good() -> None:
    for whole in (ONE, SEVERAL, SEARCH):
        use(json.dumps(whole).encode(), drawn=True)
    empty = [place for place in places(ONE) if changed(ONE, place, ABSENT).count(b"null") > 60]
    assert not empty


@pytest.mark.parametrize("whole", [ONE, SEVERAL, SEARCH], ids=["one", "several", "search"])
def test_every_kind_of_value_in_every_place(
    whole: Any, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    values = (*VALUES, ABSENT)
    cases = [(place, value) for place in places(whole) for value in values]
    # Where pairs are many and time is little each place has one of the values, in turn. Those
    # inside of several runs are the places of one, and read as those are.
    if len(cases) > 1000 and not IS_LONG:
        once = [place for place in places(whole) if "runs" not in place[:-2]]
        cases = [(place, values[n % len(values)]) for n, place in enumerate(once)]
        # Three quarters of the time go into drawing lots, of which there can be fewer.
        monkeypatch.setattr(statistics, "_RESAMPLES", 50)
    refused = 0
    for place, value in cases:
        tried[request.node.name] += 1
        try:
            use(changed(whole, place, value))
        except BadInput as error:
            refused += 1
            assert len(error.message) < 5200
        except Exception as error:
            raise AssertionError(f"{place} as {value!r:.60}: {error!r}") from error
    # Not a test that cannot fail: as many are good, an absent value for instance.
    assert len(cases) / 20 < refused < len(cases)


def test_pictures_of_every_kind_of_value(request: pytest.FixtureRequest) -> None:
    wholes = (ONE, SEARCH)
    cases = [(one, place, value) for one in wholes for place in places(one) for value in VALUES]
    for whole, place, value in cases if IS_LONG else random.Random(7).sample(cases, 8):
        tried[request.node.name] += 1
        try:
            use(changed(whole, place, value), drawn=True)
        except BadInput:
            continue


@fuzz(torn(json.dumps(ONE).encode()), st.integers(0, 10**6), quick=30)
def test_a_torn_document_is_refused_and_a_changed_one_can_be_used(text: bytes, end: int) -> None:
    whole = json.dumps(ONE).encode()
    with pytest.raises(BadInput):
        inputs.parse_measurements("f", whole[: end % len(whole)])
    with contextlib.suppress(BadInput):
        use(text)


@fuzz(st.randoms(use_true_random=False), st.dictionaries(st.text(), st.integers()), quick=15)
def test_order_and_names_of_later_versions_are_nothing(
    random: random.Random, added: dict[str, int]
) -> None:
    def mixed(value: Any) -> Any:
        if not isinstance(value, dict):
            return [mixed(one) for one in value] if isinstance(value, list) else value
        items = [(name, mixed(one)) for name, one in value.items()]
        return dict(random.sample(items, len(items)))

    names = {f"later {name}": value for name, value in added.items()}
    assert document.run_from(names | mixed(ONE)) == document.run_from(ONE)


LINES = [record.first_line(FULL), *[record.sample_line(SAMPLE)] * 3, record.last_line(FULL)]


def test_every_kind_of_value_in_every_place_of_a_record(request: pytest.FixtureRequest) -> None:
    """What is wrong in a sample ends the record there; in its first line there is none."""
    noted = 0
    for index, line in enumerate(LINES[:2] + LINES[-1:]):
        [(kind, whole)] = json.loads(line).items()
        for turn, place in enumerate(places(whole)):
            values = (*VALUES, ABSENT)
            # The others are read as documents are.
            for value in values if IS_LONG or index == 1 else [values[turn % len(values)]]:
                tried[request.node.name] += 1
                parts = [one.encode() for one in (LINES[0], LINES[1], LINES[-1])]
                text = changed(whole, place, value)
                parts[index] = b'{"%s":%s}\n' % (kind.encode(), text)
                try:
                    run = record.read(parts)
                except BadInput:
                    assert index != 1, (place, value)
                    continue
                noted += any("without the run's end" in note for note in run.method.notes)
                if len(run.samples) == 1:
                    terminal.render(run, colour=False)
    assert noted > 100


def test_a_record_of_processes_without_end_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(record, "_WEIGHED_BYTES", 2**20)
    monkeypatch.setattr(record, "_MOST_VALUES", 10**5)
    sample = json.loads(record.sample_line(FULL_SAMPLE))
    sample["sample"]["processes"][0]["command"] = ["a"] * 10_000

    def lines() -> Iterator[bytes]:
        yield LINES[0].encode()
        for second in range(10**6):
            sample["sample"]["elapsed_seconds"] = second
            yield json.dumps(sample).encode()

    with pytest.raises(BadInput, match="more values than any record"):
        record.read(lines())
    # As many of them as one sample may have, where they are not kept.
    assert record.read([LINES[0].encode(), *[LINES[1].encode()] * 9999]).samples


@fuzz(torn("".join(LINES).encode()), quick=200)
def test_a_torn_record_gives_samples_that_are_in_it(text: bytes) -> None:
    try:
        run = record.read(io.BytesIO(text))
    except BadInput:
        return
    terminal.render(run, colour=False)
    assert len(run.samples) <= text.count(b'{"sample"') + 1


def refused(*arguments: str, may_be_large: bool = True, **more: Any) -> str:
    """What a command says that answers with one line and 125, in little memory."""
    if may_be_large:
        limit = partial(resource.setrlimit, resource.RLIMIT_AS, (5 << 29, 5 << 29))
        more["preexec_fn"] = limit
    done = call_cmemrun(*arguments, text=False, **more)
    told = done.stderr.decode()
    assert done.returncode == 125 and told.count("\n") == 1 and not done.stdout, told
    assert len(told) < 3000 and "defect" not in told and told.isprintable() ^ told.endswith("\n")
    return told


GARBAGE: dict[str, bytes] = {
    "nothing": b"",
    "zeros": bytes(1000),
    "noise": bytes(range(256)) * 50,
    "utf-16": json.dumps(ONE).encode("utf-16"),
    "deep": b"[" * 1_000_000,
    "deep objects": b'{"a":' * 500_000,
    "deep in a name": b'{"schema":1,"command":' + b"[" * 900 + b"]" * 900 + b"}",
    "digits": b'{"schema":' + b"9" * 100_000 + b"}",
    "a long schema": b'{"schema":"' + b"x" * 10**7 + b'"}',
    "a long time": json.dumps(ONE | {"started_at": "x" * 10**6}).encode(),
    "many values": b"[" + b"[]," * 4_200_000 + b"0]",
    "escapes": b'{"schema":"\x1b[2J\\u001b]52;c;\\u0007\\u202e\\u009b\\ud800"}',
    "twice": b'{"schema":1,"schema":2}',
    "a torn record": LINES[0].encode()[:-20],
    "a record of nothing": b'{"begun":1}\n',
    "a long line": b'{"begun":' + b" " * (20 * MIB),
}
VERBS = {
    "report": ["report", "{}"],
    "compare": ["compare", "{}", "{}"],
    "recommend": ["recommend", "{}"],
    "plot": ["plot", "{}", "-o", "{}.svg"],
    "against": ["--against", "{}", "true"],
    "pod": ["--pod", "{}", "true"],
    "patch": ["recommend", "good.json", "--patch", "{}"],
    "check": ["check", "--budget", "{}"],
    "budget": ["--budget", "{}", "true"],
}


@pytest.mark.parametrize("name", GARBAGE)
def test_garbage_is_refused_in_one_line(name: str, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(GARBAGE[name])
    (tmp_path / "good.json").write_text(json.dumps(ONE))
    # They read by the same function, which is tried with every file.
    verbs = ["report"]
    if len(GARBAGE[name]) < MIB:
        verbs.append(random.Random(name).choice([*VERBS]))
    for verb in VERBS if IS_LONG else verbs:
        words = [word.replace("{}", "file") for word in VERBS[verb]]
        refused(*words, may_be_large=len(GARBAGE[name]) >= MIB, cwd=tmp_path)
    assert sorted(os.listdir(tmp_path)) == ["file", "good.json"]


@pytest.mark.parametrize("verb", VERBS if IS_LONG else ["report", "pod", "check"])
def test_endless_files_and_what_is_no_file(verb: str, tmp_path: Path) -> None:
    (tmp_path / "good.json").write_text(json.dumps(ONE))
    os.mkfifo(tmp_path / "fifo")
    for path in ("/dev/zero", "/", "/no/such", "/proc/self/mem"):
        refused(
            *(word.replace("{}.svg", "x.svg").replace("{}", path) for word in VERBS[verb]),
            cwd=tmp_path,
        )
    if VERBS[verb].count("{}") == 1:

        def feed() -> None:
            with open(tmp_path / "fifo", "wb") as fifo:
                fifo.write(b"{}\n[\n")

        feeding = threading.Thread(target=feed, daemon=True)
        feeding.start()
        refused(*(word.replace("{}", "fifo") for word in VERBS[verb]), cwd=tmp_path)
        feeding.join(10)
        assert not feeding.is_alive(), "nobody has read it"


def test_many_samples_take_bounded_memory(tmp_path: Path) -> None:
    """Of a record that never ends: here as much as takes some seconds."""
    lines = 5_000_000 if IS_LONG else 30_000
    script = (
        f"import sys; sys.stdout.write({LINES[0]!r})\n"
        f"for n in range({lines}): sys.stdout.write({LINES[1]!r})"
    )
    with subprocess.Popen(["python3", "-c", script], stdout=subprocess.PIPE) as writing:
        told = call_cmemrun(
            "-q",
            "--json",
            "run.json",
            "--",
            CMEMRUN,
            "report",
            "-",
            stdin=writing.stdout,
            cwd=tmp_path,
            check=True,
            text=False,
        ).stdout
    assert b"without the run's end" in told
    assert json.loads((tmp_path / "run.json").read_text())["peak_anon_bytes"] < 64 * MIB
