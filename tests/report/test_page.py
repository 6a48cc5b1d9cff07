"""The page about runs: whole, quiet, and showing what others chose as text."""

import base64
import re
from xml.etree import ElementTree

import pytest

from cmemrun.analysis.oom import judge
from cmemrun.errors import BadInput
from cmemrun.model import (
    Budget,
    Composition,
    Events,
    Exit,
    Limits,
    Mappings,
    Oom,
    OomTask,
    Pressure,
    Run,
    Runtime,
    Setting,
    Straggler,
)
from cmemrun.report import page, terminal
from tests.made_up import HOSTILE, MIB, RUN, SAMPLE, process, run_of, sample
from tests.report.reading import Strict

pytestmark = pytest.mark.slow

REFERENCES = {"src", "srcset", "href", "action", "data", "poster", "background"}


def read(runs: list[Run], *, processes: bool = False) -> tuple[Strict, str]:
    """What a browser makes of a page, and all text in it."""
    text = page.render(runs, processes=processes)
    assert text.startswith("<!DOCTYPE html>\n")
    parser = Strict()
    parser.feed(text)
    parser.close()
    assert parser.open == []
    for tag, attributes in parser.elements:
        assert tag not in {"script", "iframe", "object", "embed", "link", "base", "form", "a"}
        assert not [name for name in attributes if name.startswith("on")]
        for name in REFERENCES & attributes.keys():
            assert (attributes[name] or "").startswith("data:image/svg+xml;base64,")
    assert "url(" not in text and "@import" not in text
    return parser, " ".join(" ".join(parser.texts).split())


def test_what_is_told_of_one_run() -> None:
    run = RUN._replace(
        exit=Exit(code=3),
        user="nobody",
        limits=Limits(128 * MIB),
        budgets=(Budget("peak", 200 * MIB, 101 * MIB, "exact"), Budget("peak", 1, 2, "exact")),
        pressure=Pressure(1.5, 0.25),
        events=Events(max=3, oom_kill=0),
        at_peak=SAMPLE._replace(
            processes=(process(42, 70 * MIB, 60 * MIB),), processes_elapsed_seconds=0.5
        ),
        stragglers=(Straggler(43, None, ()),),
        method=RUN.method._replace(notes=("something to know",)),
    )
    parser, told = read([run])
    for expected in (
        "./myapp --flag",
        "as nobody",
        "101.0 MiB peak, the kernel's high-water mark, at most 512.0 KiB too high",
        "exit 3",
        "within the allowed 200.0 MiB",
        "over the allowed 1 B",
        "no OOM kill",
        "1.50 s waiting for memory, 250 ms of it all at once",
        "128.0 MiB, limit hit 3 times",
        "working set 90.0 MiB n/a 90.0 MiB",
        "swap n/a n/a n/a",
        "Processes at the peak at 500 ms",
        "42 1 60.0 MiB n/a 70.0 MiB n/a 1 ./worker42",
        "Linux 6.12.0",
        "2026-01-02T03:04:05+00:00",
        "43 ? outlived the program",
        "something to know",
    ):
        assert expected in told, expected
    tags = [tag for tag, _ in parser.elements]
    assert tags.count("h1") == 1 and tags.count("picture") == 1
    good = [attributes.get("class") for _, attributes in parser.elements]
    assert good.count("good") == 1 and good.count("bad") == 2


DETAILED = RUN._replace(
    at_peak=SAMPLE._replace(
        shmem_bytes=40 * MIB,
        sock_bytes=MIB // 2,
        composition=Composition(file_mapped_bytes=30 * MIB, pagetables_bytes=2 * MIB),
        processes=(process(42, 70 * MIB)._replace(mappings=Mappings(0, MIB, 2 * MIB, 0, 0, 0)),),
        processes_elapsed_seconds=0.5,
    ),
    at_peak_anon=sample(0.25, 90 * MIB),
    at_peak_working_set=sample(0.75, 95 * MIB),
    rules=(Setting("memory.max", "1", "rule", "source"),),
    runtime=Runtime("go", "1.22", "/x", (), "does as it is told", (("GOMEMLIMIT", "<1>"),)),
    oom=Oom(
        "child-killed",
        "own",
        tasks=(OomTask(42, "python3", 70 * MIB, MIB, -7), OomTask(43, "<b>", 0, 0, 1000)),
        last_samples=(sample(0.5, 80 * MIB), sample(0.6, 99 * MIB, anon_bytes=98 * MIB)),
    ),
)


def test_it_has_what_the_report_in_a_terminal_has() -> None:
    parser, told = read([DETAILED])
    shared = (
        "shared memory 40.0 MiB, mapped files 30.0 MiB, page tables 2.0 MiB",
        "kubectl top 90.0 MiB, docker stats 90.0 MiB",
        "with or without inactive page cache",
        "does as it is told",
        "--runtime-env has set GOMEMLIMIT=<1>",
        "stack 1.0 MiB, libraries 2.0 MiB",
        "7 samples, refresh 500 ms, usage looked at 99 times in between",
    )
    report = terminal.render(DETAILED, colour=False)
    for expected in shared:
        assert expected in told and expected in report, expected
    for expected in (
        "at peak at exit highest seen at usage 100.0 MiB 1.0 MiB 101.0 MiB 1.00 s",
        "working set 90.0 MiB n/a 90.0 MiB 750 ms anon 80.0 MiB n/a 80.0 MiB 250 ms",
        "seen at usage working set anon file kernel swap 500 ms 80.0 MiB n/a",
        "600 ms 99.0 MiB n/a 98.0 MiB n/a",
        "pid RSS swap oom_score_adj name 42 70.0 MiB 1.0 MiB -7 python3 43 0 B 0 B 1000 <b>",
    ):
        assert expected in told, expected
    # Each table has a heading of its own, and nothing has one that is not there.
    tags = [tag for tag, _ in parser.elements]
    assert tags.count("h2") == 5 == tags.count("table") + 1
    parser, told = read([RUN])
    assert [tag for tag, _ in parser.elements].count("h2") == 2
    assert not [one for one in ("OOM killer", "inside", "shown by", "runtime") if one in told]


def test_who_was_there_before_a_kill() -> None:
    seen = DETAILED.at_peak.processes
    oom = DETAILED.oom._replace(tasks=(), processes=seen, processes_elapsed_seconds=0.25)
    _, told = read([DETAILED._replace(oom=oom)])
    title = "Who was seen last before it at 250 ms pid parent PSS USS RSS swap threads command"
    assert f"{title} {seen[0].pid} " in told and "chose from" not in told


def test_a_part_of_somebody_elses_page_has_it_too() -> None:
    told = page.fragment(DETAILED)
    assert "chose from" in told and "<img" not in told
    assert told.index("shared memory") < told.index("<details>") < told.index("chose from")


def test_it_forbids_itself_everything_else() -> None:
    parser, _ = read([RUN])
    policy = next(a for _, a in parser.elements if a.get("http-equiv") == "Content-Security-Policy")
    assert policy["content"] == "default-src 'none'; img-src data:; style-src 'unsafe-inline'"
    index = [a for _, a in parser.elements].index(policy)
    assert [tag for tag, _ in parser.elements[:index]] == ["html", "head", "meta"]


def test_the_picture_follows_the_theme() -> None:
    parser, _ = read([RUN])
    source = next(a for tag, a in parser.elements if tag == "source")
    image = next(a for tag, a in parser.elements if tag == "img")
    assert source["media"] == "(prefers-color-scheme: dark)" and image["alt"]
    pictures = [
        base64.b64decode(str(reference).partition(",")[2], validate=True)
        for reference in (image["src"], source["srcset"])
    ]
    assert pictures[0] != pictures[1]
    for picture in pictures:
        assert ElementTree.fromstring(picture).tag.endswith("svg")  # noqa: S314 (it is ours)


@pytest.mark.parametrize(
    ("exit", "kills", "expected"),
    [
        (Exit(signal=9), 1, "the OOM killer ended the program"),
        (Exit(code=0), 1, "the OOM killer ended a child of the program, which itself went on"),
        (Exit(signal=9), 0, "no OOM kill, though SIGKILL ended it"),
        (Exit(code=0), None, "nothing here counts OOM kills"),
        (Exit(signal=15, timed_out=True), 0, "ended by the time limit (status 124)"),
        (Exit(signal=50), 0, "ended by signal 50 (status 178)"),
        (Exit(), 0, "its end was not recorded"),
    ],
)
def test_the_end(exit: Exit, kills: int | None, expected: str) -> None:
    alone = RUN.peaks._replace(tasks=1)
    run = RUN._replace(exit=exit, events=Events(oom_kill=kills), peaks=alone)
    run = run._replace(oom=judge(run))
    _, told = read([run])
    assert expected in told
    for evidence in run.oom.evidence:
        assert evidence in told


def test_a_lower_bound_is_called_one() -> None:
    method = RUN.method._replace(backend="proc", peak_source="sampled", lower_bound=True)
    run = RUN._replace(method=method, upper_bound_bytes=128 * MIB, pressure=None)
    _, told = read([run])
    assert "≥ 101.0 MiB peak, a LOWER BOUND" in told and "not above 128.0 MiB" in told
    assert "not offered here" in told


def test_hostile_names_are_text() -> None:
    hostile = "<b>&amp;\"'" + " ".join(HOSTILE)
    run = run_of(
        SAMPLE._replace(processes=(process(7, MIB)._replace(command=HOSTILE),)),
        command=HOSTILE,
        user=hostile,
        at_peak=SAMPLE._replace(processes=(process(7, MIB)._replace(command=(), name=hostile),)),
        stragglers=(Straggler(1, hostile, ()), Straggler(2, None, HOSTILE)),
        environment=RUN.environment._replace(
            kernel=hostile, machine=hostile, hierarchy=hostile, cmemrun=hostile
        ),
        method=RUN.method._replace(backend=hostile, group=hostile, notes=(hostile,)),
        budgets=(Budget(hostile, 1, 2, hostile),),
        oom=Oom(hostile, hostile, (), (hostile,), (OomTask(1, hostile, 0, 0, 0),)),
        runtime=Runtime(hostile, hostile, hostile, (), hostile, ((hostile, hostile),)),
    )
    for runs, processes in (([run], False), ([run], True), ([run, run], False)):
        parser, told = read(runs, processes=processes)
        assert "</script><img src=x onerror=alert(1)>" in told
        assert "<b>&amp;\"'./a$b_c" in told
        assert "\\x1b[2J\\x07\\u202e" in told and "\\n" in told
        assert all(char.isprintable() for char in told)
        assert len([tag for tag, _ in parser.elements if tag == "img"]) == 1
        assert not [tag for tag, _ in parser.elements if tag == "b"]
    raw = page.render([run])
    assert "onerror=alert(1)>" not in raw and not re.search(r"</?script", raw)


@pytest.mark.parametrize("processes", [False, True])
def test_no_sample(processes: bool) -> None:
    run = run_of(peak_bytes=0)
    if processes:
        with pytest.raises(BadInput, match="no processes"):
            page.render([run], processes=True)
    else:
        _, told = read([run])
        assert "0 B peak" in told


def test_several_runs_have_a_column_each() -> None:
    killed = RUN._replace(
        command=("./other",),
        exit=Exit(signal=9),
        events=Events(oom_kill=1),
        budgets=(Budget("peak", 1, 2, "exact"),),
        samples=(sample(0.0, 1), sample(1.0, 5 * MIB)),
        peak_bytes=5 * MIB,
        peaks=RUN.peaks._replace(tasks=1),
    )
    killed = killed._replace(oom=judge(killed))
    parser, told = read([RUN, killed])
    assert "Memory usage of 2 runs" in told
    assert "1 2 ./myapp --flag ./other peak 101.0 MiB 5.0 MiB working set" in told
    assert "budgets none 1 broken exit 0 137 OOM none main-killed stalled n/a n/a" in told
    assert "1. ./myapp --flag" in told and "2. ./other" in told
    assert [tag for tag, _ in parser.elements].count("picture") == 1
