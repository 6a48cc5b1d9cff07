"""The terminal report in a terminal: broken between words, and nothing lost by it."""

import re

import pytest
from hypothesis import strategies as st
from rich.cells import cell_len

from cmemrun.model import (
    Budget,
    Events,
    Exit,
    Limits,
    Mappings,
    Oom,
    OomTask,
    Pressure,
    Process,
    Run,
    Straggler,
)
from cmemrun.report import terminal
from tests.hostile.fuzz import fuzz
from tests.made_up import MIB, RUN, SAMPLE
from tests.report.hostile import texts

SGR = re.compile(r"\x1b\[[0-9;]*m")
GROUP = "/sys/fs/cgroup/" + "x" * 150
COMMAND = ("python3", "-c", "print('a command that is wider than any terminal here')" * 2)
FULL = RUN._replace(
    command=COMMAND,
    user="somebody",
    exit=Exit(signal=9),
    peak_bytes=64 * MIB + 409600,
    upper_bound_bytes=128 * MIB,
    limits=Limits(64 * MIB, oom_group=True, swap_max_bytes=0),
    events=Events(max=1234, oom_kill=1),
    pressure=Pressure(1.5, 0.25),
    budgets=(Budget("peak", MIB, 2 * MIB, "exact"), Budget("anon", 9 * MIB, 2 * MIB, "sampled")),
    at_peak=SAMPLE._replace(
        shmem_bytes=40 * MIB,
        sock_bytes=20 * MIB,
        processes=tuple(
            Process(pid, 1, "w", (f"./w{pid}",), MIB, MIB, MIB, 0, 1, Mappings(*([MIB] * 6)))
            for pid in range(10)
        ),
        processes_elapsed_seconds=0.5,
    ),
    oom=Oom(
        "main-killed",
        "own",
        evidence=("the kernel log says that it has killed python3 (pid 1234) of 63.5 MiB anon",),
        tasks=tuple(OomTask(pid, "python3", pid * MIB, 0, 0) for pid in range(9)),
        last_samples=tuple(SAMPLE._replace(elapsed_seconds=at / 10) for at in range(9)),
    ),
    stragglers=(Straggler(42, "late", ("./late", "--for", "ever")),),
    method=RUN.method._replace(
        group=GROUP, notes=("no sample was closer to the peak than 8.5 MiB: not even by far",)
    ),
)


def lines(run: Run, width: int | None, *, colour: bool = False) -> list[str]:
    return terminal.render(run, colour=colour, width=width).splitlines()


def words(told: list[str]) -> list[str]:
    return " ".join(told).split()


@pytest.mark.parametrize("width", [43, 60, 72, 80, 81, 120, 250])
def test_no_word_is_lost_and_all_fit(width: int) -> None:
    told = lines(FULL, width)
    assert words(told) == words(lines(FULL, None))
    # What somebody may copy is in one piece, whatever the width.
    whole = [line for line in told if "x" * 150 in line or "a command that is wider" in line]
    assert len(whole) == 2 and whole[0].count("a command that is wider") == 2
    # A table of sizes has the width that it has.
    wide = [line for line in told if len(line) > width and line not in whole]
    assert all(width < 60 and len(line) <= 58 for line in wide), wide
    assert not [line for line in told if line != line.rstrip()]


def test_what_follows_is_below_its_beginning() -> None:
    told = "\n".join(lines(FULL, 60))
    assert (
        "\npeak         64.4 MiB   the kernel's high-water mark, at\n"
        "             most 512.0 KiB too high\n"
    ) in told
    assert (
        "                 heap 1.0 MiB, stack 1.0 MiB, libraries\n"
        "                 1.0 MiB, anonymous 1.0 MiB, files 1.0 MiB,\n"
        "                 shared 1.0 MiB\n"
    ) in told


@pytest.mark.parametrize("width", range(43, 130))
def test_a_number_keeps_its_unit(width: int) -> None:
    for line in lines(FULL, width):
        assert not re.match(r"\s*([KMG]iB|B|ms|s)\b", line), line


@pytest.mark.parametrize("width", [None, 0, 20, 42])
def test_where_there_is_no_room_or_no_terminal(width: int | None) -> None:
    told = lines(FULL, width)
    assert (
        "peak         64.4 MiB   the kernel's high-water mark, at most 512.0 KiB too high" in told
    )
    assert told == lines(FULL, 10_000)


@pytest.mark.parametrize("width", [60, 80, 120, None])
def test_every_line_has_its_own_colour(width: int | None) -> None:
    coloured = lines(FULL, width, colour=True)
    assert [SGR.sub("", line).rstrip() for line in coloured] == lines(FULL, width)
    for line in coloured:
        codes = SGR.findall(line)
        assert codes[1::2] == ["\x1b[0m"] * (len(codes) // 2) and len(codes) % 2 == 0, line
    if width == 60:
        begin = next(at for at, line in enumerate(coloured) if "is over the" in line)
        assert "\x1b[31m" in coloured[begin] and coloured[begin + 1].startswith(" " * 13 + "\x1b")
        peak = next(line for line in coloured if "64.4 MiB   the" in SGR.sub("", line))
        assert "\x1b[1m64.4 MiB\x1b[0m   the kernel's" in peak


def test_a_command_in_the_table_is_as_long_as_there_is_room() -> None:
    (process, *_) = FULL.at_peak.processes
    peak = FULL.at_peak._replace(processes=(process._replace(command=COMMAND, mappings=None),))
    run = RUN._replace(at_peak=peak)

    def shown(width: int | None) -> str:
        told = lines(run, width)
        at = next(number for number, line in enumerate(told) if line.startswith("processes"))
        return "\n".join(told[at + 1 : told.index("", at)])

    for width in (72, 80, 120):
        assert len(shown(width)) == width and shown(width).endswith("…")
    sizes, command = shown(71).split("\n")
    assert sizes.endswith("1.0 MiB") and len(command) == 71 and command.endswith("…")
    assert len(shown(None)) == 13 + 36 + 3 + 60
    broad = process._replace(command=("漢字" * 50,), mappings=None)
    run = RUN._replace(at_peak=FULL.at_peak._replace(processes=(broad,)))
    for width in (72, 80, 81, 120):
        assert cell_len(shown(width)) == width and shown(width).endswith("…")
    marked = process._replace(command=("e" + "\u0301" * 10_000,), mappings=None)
    run = RUN._replace(at_peak=FULL.at_peak._replace(processes=(marked,)))
    assert len(shown(80)) == 80
    unnamed = process._replace(command=(), name="n" * 500, mappings=None)
    run = RUN._replace(at_peak=peak._replace(processes=(unnamed,)))
    assert len(shown(80)) == 80


@fuzz(texts | st.text(), st.integers(43, 120), quick=50, long=5_000)
def test_any_words_are_all_there_still(word: str, width: int) -> None:
    run = RUN._replace(
        method=RUN.method._replace(notes=(word,), backend=word),
        oom=Oom("main-killed", evidence=(word,)),
    )
    for colour in (False, True):
        told = [SGR.sub("", line) for line in lines(run, width, colour=colour)]
        # What begins a line and would be a command to a CI job is spelled otherwise.
        assert words(told) == words(lines(run, None)) or "::" in word
