"""Samples that are written as they come, and read back whatever happened."""

import csv
import io
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from functools import partial
from itertools import pairwise
from pathlib import Path

import psutil
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cmemrun.errors import BadInput
from cmemrun.model import Composition, Events, Exit, Measurement, Paging, Process, Run
from cmemrun.report import document, record, series_csv, terminal
from tests.conftest import CMEMRUN, Cmemrun
from tests.gate import closed_gate
from tests.made_up import RUN, SAMPLE
from tests.processes import thread_waits_in, waits_in
from tests.running import call_cmemrun
from tests.waiting import until

pytestmark = pytest.mark.slow

MIB = 2**20
LINES = [
    line.encode()
    for line in (
        record.first_line(RUN),
        *(
            record.sample_line(SAMPLE._replace(elapsed_seconds=when, usage_bytes=when * MIB))
            for when in (1, 2, 90, 4)
        ),
        record.last_line(RUN),
    )
]


def report(path: Path, *options: str) -> str:
    return call_cmemrun("report", *options, str(path), check=True).stdout


def test_a_whole_one_says_what_the_document_says(cmemrun: Cmemrun, tmp_path: Path) -> None:
    path = tmp_path / "run.jsonl"
    program = ["python3", "-c", "x = bytearray(30 << 20); import time; time.sleep(0.5)"]
    run = cmemrun("--record", str(path), "--refresh", "50ms", "--max-peak", "1Mi", "--", *program)
    assert run.status == 123
    assert report(path) == run.stderr.rpartition("cmemrun: ")[0]
    told = json.loads(report(path, "--format", "json"))
    # It also knows who was there whenever somebody looked.
    for sample in told["samples"]:
        sample.pop("processes", None), sample.pop("processes_elapsed_seconds", None)
    assert told == run.document


def recorded(path: Path) -> Run | None:
    """What is in the record of a run that goes on, ``None`` without a first line."""
    lines = path.read_bytes().splitlines(keepends=True) if path.exists() else []
    return record.read(lines) if lines and lines[0].endswith(b"\n") else None


def test_a_crash_loses_one_refresh_at_most(tmp_path: Path) -> None:
    path = tmp_path / "run.jsonl"
    program = ["python3", "-c", "x = bytearray(30 << 20); import time; time.sleep(1000)"]

    def known(samples: int) -> Run | None:
        run = recorded(path)
        is_known = run and run.peak_bytes >= 30 * MIB and run.at_peak.processes
        return run if run and is_known and len(run.samples) >= samples else None

    # With so rare a refresh nothing comes later that could bring what came before to the file.
    for refresh, samples in (("200ms", 8), ("1h", 2)):
        path.unlink(missing_ok=True)
        options = ["--record", str(path), "--refresh", refresh, "-q", "--"]
        with subprocess.Popen([CMEMRUN, *options, *program]) as run:
            seen = until("the record has it", partial(known, samples))
            run.send_signal(signal.SIGKILL)
        assert seen is not None
        lines = path.read_bytes().splitlines(keepends=True)
        read = record.read(lines)
        assert len(read.samples) >= len(seen.samples) and read.method.lower_bound
        assert read.at_exit.elapsed_seconds == read.samples[-1].elapsed_seconds > 0
        assert read.exit.status is None
        told = report(path)
        assert "seen for" in told and "without the run's end" in told
    path.write_bytes(b"".join(lines)[:-7])
    assert "without the run's end" in report(path)


@settings(max_examples=200)
@given(st.integers(0, sum(map(len, LINES))), st.binary(max_size=20))
def test_torn_anywhere(length: int, noise: bytes) -> None:
    torn = b"".join(LINES)[:length] + noise
    try:
        run = record.read(torn.splitlines(keepends=True))
    except BadInput:
        assert length < len(LINES[0])
        return
    whole = [line for line in LINES[1:5] if line in torn]
    assert len(run.samples) >= len(whole)
    assert terminal.render(run, colour=False)


def test_nothing_is_said_of_a_kernel_that_nobody_looked_at() -> None:
    method = RUN.method._replace(peak_source="sampled", lower_bound=True)
    begun = record.first_line(RUN._replace(method=method)).encode()
    told = terminal.render(record.read([begun]), colour=False)
    assert "a lower bound: no sample was taken" in told
    assert told.count("not known: no sample was taken") == 2
    assert "not offered here" not in told and "nothing here counts" not in told
    assert ", 0 samples, " in told
    assert ", 1 sample, " in terminal.render(record.read([begun, LINES[1]]), colour=False)


def test_what_was_seen_of_a_torn_one() -> None:
    run = record.read(LINES[:5])
    assert (run.peak_bytes, run.wall_seconds) == (90 * MIB, 4.0)
    assert run.at_peak.elapsed_seconds == 90
    assert record.read(LINES)._replace(samples=()) == RUN._replace(samples=())


def test_a_torn_one_has_what_the_kernel_counted_until_then(tmp_path: Path) -> None:
    path = tmp_path / "run.jsonl"
    # On v1 the next one may be killed as well, while what the first had is not free yet: not the
    # shell, whose end would be that of the run.
    adjust = "/proc/self/oom_score_adj"
    eater = f"(echo 1000 > {adjust}; exec {sys.executable} -S -E -c 'x = bytearray(128 << 20)')"
    script = f"echo -1000 > {adjust}; {{}}; {eater}; {{}}; exit 0"
    options = ["-q", "--record", str(path), "--limit", "48Mi", "--refresh", "20ms", "--"]

    def samples(kills: int) -> int:
        """How many there are with so many OOM kills or more."""
        run = recorded(path)
        return sum((one.events.oom_kill or 0) >= kills for one in run.samples) if run else 0

    with (
        closed_gate(tmp_path / "before") as before_it,
        closed_gate(tmp_path / "after") as after_it,
        subprocess.Popen(
            [CMEMRUN, *options, "sh", "-c", script.format(before_it.shell, after_it.shell)]
        ),
    ):
        until("there are samples of before", lambda: samples(0) > 5)
        before_it.open()
        until("there are samples of after", lambda: samples(1) > 5)
        after_it.open()
    lines = path.read_bytes().splitlines(keepends=True)
    whole = record.read(lines)
    assert whole.events.oom_kill and whole.events.max
    assert whole.paging.pgfault and whole.at_peak.composition

    torn = record.read(lines[:-1])
    assert (torn.events, torn.paging) == (whole.events, whole.paging)
    told = torn.at_peak._replace(paging=Paging(), events=Events(oom_kill=0))
    assert told == whole.at_peak._replace(events=Events(oom_kill=0))
    assert torn.at_exit.events == whole.events and torn.at_exit.paging == whole.paging
    # Nobody saw how the program ended, nor did anybody read the log.
    assert torn.oom.verdict == "unknown" and torn.oom.limit == "own"
    assert whole.oom.verdict == "child-killed"
    seen = [record.read(lines[:length]) for length in range(2, len(lines))]
    for before, after in pairwise(seen):
        for one, other in ((before.events, after.events), (before.paging, after.paging)):
            assert [a is None for a in one] == [b is None for b in other]
            for a, b in zip(one, other, strict=True):
                assert a is None or b is None or a <= b, one
        assert after.at_peak.composition
    assert seen[0].events.max == seen[0].events.oom_kill == 0
    first = next(index for index, run in enumerate(seen) if run.events.oom_kill)
    assert seen[first].events.max and 0 < first < len(seen) - 1
    # While it waits nothing is counted, and nothing written of it.
    assert any(b"paging" not in line and b"events" not in line for line in lines[1:-1])


def test_a_torn_one_knows_the_peak_as_the_sampler_does() -> None:
    """Usage at its highest was of a program whose pages were leaving already."""
    process = Process(7, 1, "it", ("it",), 60 * MIB, None, None, None, 1)
    other = process._replace(pid=8)
    inside = Composition(slab_reclaimable_bytes=5)
    near = SAMPLE._replace(usage_bytes=99 * MIB, elapsed_seconds=3)
    leaving = SAMPLE._replace(usage_bytes=102 * MIB, anon_bytes=60 * MIB, elapsed_seconds=4)
    samples = (
        SAMPLE._replace(usage_bytes=MIB, processes=(other,), composition=Composition()),
        SAMPLE._replace(composition=inside),
        near._replace(processes=(process,), processes_elapsed_seconds=3),
        leaving._replace(processes=(other,), processes_elapsed_seconds=4),
    )
    method = RUN.method._replace(peak_source="sampled", probe_seconds=None, resolution_bytes=0)
    begun = record.first_line(RUN._replace(method=method, exit=Exit()))
    run = record.read([line.encode() for line in (begun, *map(record.sample_line, samples))])
    assert run.peak_bytes == 102 * MIB
    assert run.at_peak == SAMPLE._replace(
        composition=inside, processes=(process,), processes_elapsed_seconds=3
    )
    assert [sample.composition for sample in run.samples] == [None] * len(run.samples)
    assert not [note for note in run.method.notes if "in none of its parts" in note]
    # In a record of an older cmemrun the highest is all that there is, and it is said.
    old = [line.encode() for line in (begun, record.sample_line(leaving))]
    run = record.read(old)
    assert (run.at_peak, run.peak_bytes) == (leaving, 102 * MIB)
    [note] = [note for note in run.method.notes if "in none of its parts" in note]
    assert note.startswith("22.0 MiB of the usage at peak")


def test_a_line_has_only_the_counts_that_have_changed() -> None:
    first = SAMPLE._replace(events=Events(max=1, oom_kill=0), paging=Paging(pgfault=5))
    second = first._replace(events=Events(max=2, oom_kill=0))
    third = second._replace(events=Events(max=2, oom_kill=1), paging=Paging(pgfault=6))
    lines = [
        record.sample_line(sample, before)
        for before, sample in pairwise((None, first, first, second, third))
        if sample
    ]
    told = [json.loads(line)["sample"] for line in lines]
    assert [line.get("events") for line in told] == [
        {"max": 1, "oom_kill": 0},
        None,
        {"max": 2},
        {"oom_kill": 1},
    ]
    assert [line.get("paging") for line in told] == [{"pgfault": 5}, None, None, {"pgfault": 6}]
    samples = [sample._replace(elapsed_seconds=when) for when, sample in enumerate((first, third))]
    lines = [record.first_line(RUN), record.sample_line(samples[0])]
    lines.append(record.sample_line(samples[1], samples[0]))
    assert record.read([line.encode() for line in lines]).samples == tuple(samples)


def test_a_record_of_an_older_cmemrun_is_read() -> None:
    old = [json.dumps({"sample": document.sample_of(SAMPLE._replace(events=Events(oom_kill=2)))})]
    run = record.read([LINES[0], *(f"{line}\n".encode() for line in old * 2)])
    assert (run.events, run.paging) == (Events(oom_kill=2), Paging())
    assert run.at_peak.usage_bytes == SAMPLE.usage_bytes and run.at_peak.composition is None


def test_of_looks_in_between_a_torn_one_says_nothing() -> None:
    for attached in (False, True):
        method = RUN.method._replace(probe_seconds=None, attached=attached)
        begun = RUN._replace(method=method._replace(sample_count=0, probe_count=0), exit=Exit())
        torn = record.read([record.first_line(begun).encode(), LINES[1]])
        for run, said in ((torn, False), (RUN._replace(method=method), True)):
            told = " ".join(terminal.render(run, colour=False).split())
            assert ("nothing in between" in told) is said
            assert "refresh 500 ms" in told and "0 times" not in told


@pytest.mark.parametrize("text", [b"", b"\n", b'{"sample":{}}\n', b'{"begun":{}}\n', b"[" * 9999])
def test_what_is_none_is_refused(text: bytes) -> None:
    with pytest.raises(BadInput):
        record.read(text.splitlines(keepends=True))


def test_many_samples_take_bounded_memory() -> None:
    def lines() -> Iterator[bytes]:
        yield LINES[0]
        for number in range(20_000):
            sample = SAMPLE._replace(elapsed_seconds=number / 10, usage_bytes=number)
            yield record.sample_line(sample).encode()

    assert len(record.read(lines()).samples) <= 2100


def test_csv_has_a_line_for_each_sample(cmemrun: Cmemrun, tmp_path: Path) -> None:
    path = tmp_path / "saved.json"
    run = cmemrun("--refresh", "50ms", "--processes", "--", "sleep", "0.3")
    path.write_text(json.dumps(run.document))
    rows = list(csv.DictReader(io.StringIO(report(path, "--format", "csv"))))
    assert [int(row["usage_bytes"]) for row in rows] == [
        sample["usage_bytes"] for sample in run["samples"]
    ]
    for name in ("elapsed_seconds", "anon_bytes", "oom_kill", "pressure_some_seconds"):
        assert name in rows[0]
    assert "processes" not in rows[0]
    assert series_csv.render([Measurement("x", (RUN._replace(samples=()),))]) == ""


def test_a_disk_that_is_full_and_a_pipe_that_is_closed(cmemrun: Cmemrun) -> None:
    run = cmemrun("--record", "/dev/full", "-q", "sleep", "0.2")
    assert run.status == 125 and "--record: writing ended" in run.stderr
    assert run["exit"]["status"] == 0
    reading, writing = os.pipe()
    os.close(reading)
    run = cmemrun("--record", f"/dev/fd/{writing}", "-q", "sleep", "0.2", pass_fds=[writing])
    os.close(writing)
    assert run.status == 125 and "Broken pipe" in run.stderr


def test_a_reader_that_does_not_read_holds_nobody_up(tmp_path: Path) -> None:
    reading, writing = os.pipe()
    started = time.monotonic()
    with closed_gate(tmp_path / "gate") as gate:
        run = subprocess.Popen(
            [CMEMRUN, "--record", f"/dev/fd/{writing}", "--refresh", "1ms", "-q", "--",
             "sh", "-c", gate.shell],
            pass_fds=[writing],
        )  # fmt: skip
        os.close(writing)
        until("the pipe is full", lambda: thread_waits_in(run.pid, "pipe_write"))
        gate.open()
        until("the program has ended", lambda: not psutil.Process(run.pid).children())
        until("only the record is waited for", lambda: waits_in(run.pid, "futex"))
    ended_by = time.monotonic()
    told = b""
    while part := os.read(reading, 65536):
        told += part
    assert run.wait() == 0
    os.close(reading)
    read = record.read(told.splitlines(keepends=True))
    assert read.exit.status == 0 and read.wall_seconds < ended_by - started


@pytest.mark.parametrize("path", ["/no/such/x", "/", ""])
def test_a_file_that_cannot_be_made(path: str, tmp_path: Path) -> None:
    ran = tmp_path / "ran"
    done = call_cmemrun("--record", path, "touch", str(ran))
    assert done.returncode == 125 and done.stderr.count("\n") == 1
    assert "--record" in done.stderr and not ran.exists()


def test_nothing_is_lost_or_left_where_nothing_begins(tmp_path: Path) -> None:
    new, old = tmp_path / "new.jsonl", tmp_path / "old.jsonl"
    old.write_text("what was there")
    for path in (new, old):
        done = call_cmemrun("--record", str(path), "--pids", "0", "true")
        assert done.returncode == 125
        done = call_cmemrun("--record", str(path), "--set", "memory.no=1", "true")
        assert done.returncode == 125
    assert old.read_text() == "what was there" and not new.exists()
    call_cmemrun("-q", "--record", str(old), "true", check=True)
    assert old.read_text().startswith('{"begun":')
