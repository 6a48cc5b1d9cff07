"""The verb plot: formats, refusals in one line, and that matplotlib is loaded by it alone."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from cmemrun.commands import main
from cmemrun.report import document, fit_document, record
from tests.made_up import RUN
from tests.running import call_cmemrun
from tests.searches import USUAL

pytestmark = pytest.mark.slow

STARTS = {"svg": b"<?xml", "png": b"\x89PNG", "pdf": b"%PDF", "html": b"<!DOCTYPE html>"}


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    path = tmp_path / "run.json"
    path.write_text(document.render(RUN))
    return path


def plot(
    *arguments: object, directory: Path, stdin: bytes = b""
) -> subprocess.CompletedProcess[bytes]:
    return call_cmemrun("plot", *map(str, arguments), cwd=directory, input=stdin, text=False)


@pytest.mark.parametrize("name", STARTS)
def test_the_name_decides(
    name: str, saved: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / f"peak.{name.upper()}"
    out.write_text("old")
    assert main(["plot", str(saved), "-o", str(out)]) == 0
    assert capfd.readouterr() == ("", "")
    assert out.read_bytes().startswith(STARTS[name])
    assert sorted(entry.name for entry in tmp_path.iterdir()) == [out.name, "run.json"]


def test_to_standard_output_from_standard_input(saved: Path, tmp_path: Path) -> None:
    done = plot("-", "-o", "-", "--format", "png", directory=tmp_path, stdin=saved.read_bytes())
    assert (done.returncode, done.stderr) == (0, b"")
    assert done.stdout.startswith(STARTS["png"]) and done.stdout.endswith(b"IEND\xaeB`\x82")


def test_a_record_a_theme_and_several_runs(saved: Path, tmp_path: Path) -> None:
    line = record.first_line(RUN) + "".join(map(record.sample_line, RUN.samples))
    (tmp_path / "run.jsonl").write_text(line + record.last_line(RUN))
    done = plot("run.jsonl", saved, "-o", "a.svg", "--theme", "dark", directory=tmp_path)
    assert (done.returncode, done.stderr) == (0, b"")
    assert b"#14171c" in (tmp_path / "a.svg").read_bytes()
    assert plot("run.jsonl", saved, "-o", "a.html", directory=tmp_path).returncode == 0
    assert "2. <code>./myapp" in (tmp_path / "a.html").read_text()


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (("-o", "peak.gif"), "does not end in .svg, .png, .pdf or .html; name the format"),
        (("-o", "-"), "'-' does not end in"),
        (("-o", "no/such/peak.svg"), "--output: cannot write 'no/such/peak.svg'"),
        (("-o", "peak.svg", "--processes"), "no processes were recorded; run with --processes"),
        (("-o", "peak.svg", "missing.json"), "cannot read 'missing.json'"),
        ((), "missing option '--output' / '-o'"),
    ],
)
def test_refusals_leave_nothing(
    arguments: tuple[str, ...],
    expected: str,
    saved: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["plot", str(saved), *arguments]) == 125
    told = capfd.readouterr().err
    assert expected in told and told.count("\n") == 1
    assert [entry.name for entry in tmp_path.iterdir()] == ["run.json"]


@pytest.mark.parametrize("name", STARTS)
def test_a_search(name: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "fit.json").write_text(fit_document.render(USUAL))
    out = tmp_path / f"fit.{name}"
    assert main(["plot", str(tmp_path / "fit.json"), "-o", str(out)]) == 0
    assert capfd.readouterr() == ("", "")
    assert out.read_bytes().startswith(STARTS[name])


@pytest.mark.parametrize(
    ("verb", "expected"),
    [
        (("plot", "fit.json", "run.json", "-o", "a.svg"), "a search and a run do not fit"),
        (("plot", "fit.json", "fit.json", "-o", "a.svg"), "the curves of 2 searches do not fit"),
        (("plot", "fit.json", "--processes", "-o", "a.svg"), "a search has no processes"),
        (("plot", "bad.json", "-o", "a.svg"), "'bad.json': it is no result of cmemrun fit"),
        (("report", "fit.json"), "'fit.json' is no run but a search"),
        (("recommend", "fit.json"), "'fit.json' is no run but a search"),
        (("fit", "--resume", "run.json", "true"), "'run.json' is a run, and no result"),
    ],
)
def test_a_search_where_it_does_not_belong(
    verb: tuple[str, ...],
    expected: str,
    saved: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("fit.json").write_text(fit_document.render(USUAL))
    Path("bad.json").write_text('{"schema": 1, "runs": []}')
    assert main([*verb]) == 125
    told = capfd.readouterr().err
    assert expected in told and told.count("\n") == 1
    assert not Path("a.svg").exists()


def python(script: str, directory: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", script],
        cwd=directory,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


def test_without_matplotlib(saved: Path, tmp_path: Path) -> None:
    script = (
        "import sys; sys.modules['matplotlib'] = None\n"
        "from cmemrun.commands import main\n"
        "sys.exit(main(['plot', 'run.json', '-o', {!r}]))"
    )
    for name in ("peak.svg", "peak.html"):
        done = python(script.format(name), tmp_path)
        assert done.returncode == 125
        assert "needs matplotlib" in done.stderr and done.stderr.count("\n") == 1
        assert done.stderr.endswith("; pip install matplotlib, or pipx inject cmemrun matplotlib\n")
        assert not (tmp_path / name).exists()


def test_settings_that_matplotlib_refuses(
    saved: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MPLBACKEND", "nonsense")
    done = plot(saved, "-o", "peak.svg", directory=tmp_path)
    assert done.returncode == 125
    assert b"MPLBACKEND" in done.stderr and done.stderr.count(b"\n") == 1


@pytest.mark.parametrize("wanted", [None, "/proc/matplotlib"], ids=["default", "named"])
def test_a_home_that_cannot_be_written_is_no_matter(
    wanted: str | None, saved: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    monkeypatch.setenv("HOME", "/proc")
    monkeypatch.setenv("TMPDIR", str(temporary))
    for name in ("MPLCONFIGDIR", "XDG_CONFIG_HOME", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    if wanted is not None:
        monkeypatch.setenv("MPLCONFIGDIR", wanted)
    done = plot(saved, "-o", "peak.svg", directory=tmp_path)
    assert (done.returncode, done.stderr) == (0, b"")
    # A directory for its caches was made there, and it is gone.
    assert list(temporary.iterdir()) == []


def test_nothing_else_loads_matplotlib(tmp_path: Path) -> None:
    script = (
        "import sys, json, cmemrun.commands.plot, cmemrun.commands.application\n"
        "print(json.dumps(sorted(sys.modules)))"
    )
    done = python(script, tmp_path)
    assert done.returncode == 0, done.stderr
    loaded = json.loads(done.stdout)
    assert "cmemrun.report.figure" in loaded
    assert not [name for name in loaded if name.partition(".")[0] in {"matplotlib", "numpy"}]
