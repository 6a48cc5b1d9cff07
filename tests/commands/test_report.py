"""``cmemrun report``: every format from one saved run, and pushed; read by the real ones."""

import json
import os
import shutil
import socket
import subprocess
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pexpect
import pytest
from prometheus_client.parser import text_string_to_metric_families

from cmemrun.model import Budget, Measurement
from cmemrun.report import FORMATS, document, fit_document, measurements, render
from tests.conftest import CMEMRUN, Cmemrun
from tests.made_up import MIB, RUN
from tests.report.hostile import NASTY
from tests.running import call_cmemrun
from tests.waiting import PATIENCE_SECONDS, until

pytestmark = pytest.mark.slow

WITH_BUDGET = RUN._replace(budgets=(Budget("peak", 64 * MIB, 101 * MIB, "exact"),))
# By a Pushgateway, to what is pushed to it.
ADDED = ("job", "instance")


def report(*arguments: str, status: int = 0) -> str:
    """What is printed, or what is said of why nothing is."""
    done = call_cmemrun("report", *arguments)
    assert done.returncode == status, done.stderr
    assert (not done.stderr) if status == 0 else (not done.stdout)
    return done.stderr if status else done.stdout


@pytest.fixture
def saved(tmp_path: Path) -> str:
    path = tmp_path / "run.json"
    path.write_text(document.render(WITH_BUDGET))
    return str(path)


@pytest.fixture
def other(tmp_path: Path) -> str:
    path = tmp_path / "other.json"
    path.write_text(document.render(RUN._replace(command=("./other",))))
    return str(path)


@pytest.mark.parametrize("name", [name for name in FORMATS if name != "github-output"])
def test_every_format_of_a_saved_run(name: str, saved: str) -> None:
    run = document.parse(Path(saved).read_text())
    assert report("-f", name, saved) == render([Measurement("./myapp --flag", (run,))], name)


def test_every_format_of_a_run_that_was_made(cmemrun: Cmemrun, tmp_path: Path) -> None:
    path = tmp_path / "run.jsonl"
    cmemrun("--quiet", "--max-peak", "1Gi", "--record", str(path), "sh", "-c", "echo '|`%'")
    for name in FORMATS:
        assert report("--format", name, str(path))


def test_outputs_are_appended_to_what_others_wrote(saved: str, tmp_path: Path) -> None:
    path = tmp_path / "output"
    path.write_text("before=1\n")
    with path.open("a") as file:
        for _ in range(2):
            command = [CMEMRUN, "report", "-f", "github-output", saved]
            subprocess.run(command, stdout=file, check=True)
    assert path.read_text().startswith("before=1\npassed=false\n")
    assert {name for name, one in FORMATS.items() if one.is_appended} == {
        "github-summary", "github-output",
    }  # fmt: skip


def test_several_files(saved: str, other: str) -> None:
    text = report(saved, other)
    assert "./myapp --flag" in text and "./other" in text
    told = json.loads(report("-f", "json", saved, other))
    assert [one["name"] for one in told["measurements"]] == ["./myapp --flag", "./other"]
    assert list(json.loads(report("-f", "bencher", saved, other))) == ["./myapp --flag", "./other"]


def test_files_of_one_command_are_taken_together(saved: str) -> None:
    metric = json.loads(report("-f", "bencher", saved, saved))["./myapp --flag"]["peak_bytes"]
    assert list(metric) == ["value", "lower_value", "upper_value"]
    assert report(saved, saved).count("./myapp --flag") == 1


def test_groups_that_were_watched_are_not(tmp_path: Path) -> None:
    paths = [tmp_path / "1.json", tmp_path / "2.json"]
    for number, path in enumerate(paths):
        method = RUN.method._replace(attached=True, group=f"/group/{number}")
        path.write_text(document.render(RUN._replace(command=(), method=method)))
    told = json.loads(report("-f", "bencher", *map(str, paths)))
    assert list(told) == ["/group/0", "/group/1"]


def in_terminal(columns: int, *arguments: str) -> str:
    """What a command shows in a terminal of so many columns, without colours."""
    terminal = pexpect.spawn(
        CMEMRUN,
        list(arguments),
        dimensions=(24, columns),
        env={**os.environ, "NO_COLOR": "1"},
        encoding="utf-8",
        timeout=PATIENCE_SECONDS,
    )
    terminal.expect(pexpect.EOF)
    terminal.close()
    assert terminal.exitstatus == 0, terminal.before
    return str(terminal.before).replace("\r\n", "\n")


PEAK = "the kernel's high-water mark, at most 512.0 KiB too high\n"


def test_lines_are_broken_where_a_terminal_wants_it(saved: str, tmp_path: Path) -> None:
    told = in_terminal(60, "report", saved)
    assert max(map(len, told.split("\n"))) <= 60
    assert "high-water mark, at\n             most 512.0 KiB too high\n" in told
    # Those of CI jobs often have no size, and a log has lines of any length.
    assert in_terminal(0, "report", saved) == report(saved) and PEAK in report(saved)
    # Of several runs, too.
    path = tmp_path / "runs.json"
    path.write_text(measurements.render([Measurement("./myapp --flag", (RUN, WITH_BUDGET))]))
    assert in_terminal(0, "report", str(path)) == report(str(path))
    assert in_terminal(80, "report", str(path)) != report(str(path))


def test_a_file_is_not_as_wide_as_the_terminal(tmp_path: Path) -> None:
    note = "high-water mark, at most"
    assert note not in in_terminal(60, "--", "true")
    assert not in_terminal(60, "-o", str(tmp_path / "one"), "--", "true")
    assert note in (tmp_path / "one").read_text()
    in_terminal(60, "--quiet", "--runs", "2", "-o", str(tmp_path / "two"), "--", "true")
    assert note in (tmp_path / "two").read_text()


def test_several_runs_in_one_file(tmp_path: Path) -> None:
    path = tmp_path / "runs.json"
    path.write_text(measurements.render([Measurement("./myapp --flag", (RUN, WITH_BUDGET))]))
    assert "runs         2" in report(str(path))
    assert "has the samples of one run, and these are 2" in report(
        "-f", "csv", str(path), status=125
    )


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--job", "x"], "--job is for --push"),
        (["--push", "http://127.0.0.1:1", "--job", ""], "--job names nothing"),
        (["--format", "yaml"], "--format: 'yaml' is not one of"),
    ],
)
def test_refused(arguments: list[str], message: str, saved: str) -> None:
    assert message in report(*arguments, saved, status=125)


def test_a_search_is_no_run(tmp_path: Path) -> None:
    path = tmp_path / "fit.json"
    path.write_text('{"schema": 1, "command": ["x"], "runs": []}')
    assert fit_document.is_fit(json.loads(path.read_text()))
    assert "fit.json" in report("-f", "junit", str(path), status=125)


@contextmanager
def served(program: str, *options: str) -> Iterator[str]:
    """The address at which one of Prometheus' own programs answers."""
    found = shutil.which(program)
    if not found:
        pytest.skip(f"there is no {program}: apt-get install {program}")
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = f"127.0.0.1:{server.getsockname()[1]}"
    process = subprocess.Popen(
        [found, f"--web.listen-address={address}", *options], stderr=subprocess.DEVNULL
    )
    try:
        until("it answers", lambda: answers(process, f"http://{address}/metrics"))
        yield f"http://{address}"
    finally:
        process.terminate()
        process.wait()


def answers(process: subprocess.Popen[bytes], address: str) -> bool:
    assert process.poll() is None, "it has ended"
    try:
        return bool(asked(address))
    except urllib.error.URLError:
        return False


def asked(address: str) -> str:
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(address, timeout=PATIENCE_SECONDS) as answer:
        text: str = answer.read().decode()
    return text


def values(text: str) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
    """Ours among all there are, without what who passes them on has added."""
    found = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            if sample.name.startswith("cmemrun_"):
                labels = {name: value for name, value in sample.labels.items() if name not in ADDED}
                found[sample.name, frozenset(labels.items())] = sample.value
    return found


def hostile(tmp_path: Path) -> str:
    """A saved run of a command of nothing but nasty words, several lines of them."""
    many = [Measurement(word, (WITH_BUDGET,)) for word in NASTY]
    path = tmp_path / "hostile.json"
    path.write_text(measurements.render(many))
    return str(path)


def test_pushed_to_a_real_pushgateway(tmp_path: Path, saved: str, other: str) -> None:
    # Debian's keeps what it was sent for the next one.
    with served("prometheus-pushgateway", "--persistence.file=") as address:
        path = hostile(tmp_path)
        assert report("--push", address, path) == ""
        expected = values(report("-f", "openmetrics", path))
        assert values(asked(f"{address}/metrics")) == expected and len(expected) > 500
        # A job is replaced by what comes later, and no other one.
        assert "cmemrun_peak_bytes" in report("--push", address, "-f", "openmetrics", saved)
        report("--push", address, "--job", "night/ly", other)
        text = asked(f"{address}/metrics")
        assert values(text) == values(report("-f", "openmetrics", saved, other))
        assert 'job="cmemrun"' in text and 'job="night/ly"' in text
        assert "cannot push to" in report("--push", f"{address}/nowhere", saved, status=125)


@pytest.mark.parametrize(
    "address", ["http://127.0.0.1:1", "127.0.0.1:1", "http://[", "http://a b/", "x:y"]
)
def test_where_nobody_listens(address: str, saved: str) -> None:
    text = report("--push", address, saved, status=125)
    assert f"--push: cannot push to {address!r}" in text and "name a Pushgateway" in text


def test_read_by_the_real_textfile_collector(tmp_path: Path) -> None:
    path, directory = hostile(tmp_path), tmp_path / "textfile"
    directory.mkdir()
    text = report("-f", "openmetrics", path)
    (directory / "cmemrun.prom").write_text(text)
    options = ("--collector.disable-defaults", "--collector.textfile")
    with served(
        "prometheus-node-exporter", *options, f"--collector.textfile.directory={directory}"
    ) as address:
        told = asked(f"{address}/metrics")
    assert "node_textfile_scrape_error 0" in told
    assert values(told) == values(text)
