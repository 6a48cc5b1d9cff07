"""How much longer a program takes while it is measured, by a clock beside it in the group."""

import functools
import shutil
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

from scripts.costs.measuring import CMEMRUN, PROGRAMS, Effort, Table, alternated, compared, seconds

_TIMES = 41
ALONE = "alone"
MEASURED = {
    "measured": (),
    "`--refresh 10ms`": ("--refresh", "10ms"),
    "`--processes`": ("--processes",),
}


def slowdown(effort: Effort) -> Table:
    """Of programs bound by memory, and of those that fork, in turn with and without us."""
    with tempfile.TemporaryDirectory(prefix="cmemrun-cost-") as made:
        where = Path(made)
        own = [sys.executable, "-S", "-E", PROGRAMS]
        scale = 1 if effort.quick else 10
        programs = {
            "copies memory (64 MiB)": [*own, "stream", "64", str(20 * scale)],
            "touches and frees memory (64 MiB)": [*own, "pages", "64", str(2 * scale)],
            "a shell that starts 1,000 programs": [*own, "shell", str(100 * scale)],
            "builds a C extension (psutil's)": _build(where),
        }
        figures: dict[str, dict[str, object]] = {}
        rows = []
        for program, command in programs.items():
            measures = {ALONE: functools.partial(_timed, command, (), where)}
            for name, options in MEASURED.items():
                around = (CMEMRUN, "--quiet", *options, "--")
                measures[name] = functools.partial(_timed, command, around, where)
            values = alternated(measures, effort.times(_TIMES))
            alone = values.pop(ALONE)
            ratios = {
                name: compared([mine / its for mine, its in zip(found, alone, strict=True)])
                for name, found in values.items()
            }
            took = compared(alone)
            figures[program] = {"seconds": took._asdict()}
            figures[program] |= {name: ratio._asdict() for name, ratio in ratios.items()}
            shown = (
                f"{ratio.median - 1:+.1%} ({ratio.low - 1:+.1%} to {ratio.high - 1:+.1%})"
                for ratio in ratios.values()
            )
            rows.append((program, f"{took.median:.2f} s", *shown))
    columns = ("a program that", ALONE, *MEASURED)
    title = f"How much longer a program takes, {effort.times(_TIMES)} times in turn"
    return Table(title, columns, tuple(rows), figures)


def _timed(command: list[str], around: tuple[str, ...], where: Path) -> float:
    clock = where / "seconds"
    clock.unlink(missing_ok=True)
    seconds([*around, sys.executable, "-S", "-E", PROGRAMS, "timed", str(clock), *command])
    return float(clock.read_text())


def _build(where: Path) -> list[str]:
    """A real build, each time anew: a few dozen processes of a compiler."""
    if shutil.which("cc") is None:
        raise SystemExit("scripts/bench: there is no C compiler (apt-get install gcc libc6-dev)")
    pip = [sys.executable, "-m", "pip", "download", "-qq", "--disable-pip-version-check"]
    only = ["--no-deps", "--no-binary", "psutil", "--dest", str(where)]
    subprocess.run([*pip, *only, "psutil==7.0.0"], check=True)
    [archive] = where.glob("psutil-*.tar.gz")
    with tarfile.open(archive) as source:
        source.extractall(where, filter="data")
    [tree] = (path for path in where.glob("psutil-*") if path.is_dir())
    build = f"setup.py -q build_ext --force --build-lib {where} --build-temp {where}"
    return ["sh", "-c", f"cd {tree} && exec {sys.executable} {build}"]
