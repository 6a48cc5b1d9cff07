"""Several runs, their parameters, and what they were before."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.commands.running import LOAD, anon, cmemrun, measured
from tests.conftest import CMEMRUN

pytestmark = pytest.mark.slow

MIB = 2**20


def test_several_runs_are_one_document_with_what_is_typical(tmp_path: Path) -> None:
    found = measured(tmp_path / "runs.json", "--runs", "3", "--warmup", "1", "--", *anon(20))
    assert [run["exit"]["status"] for run in found["runs"]] == [0, 0, 0]
    assert found["command"] == anon(20)
    peak = found["statistics"]["metrics"]["peak_bytes"]
    assert peak["runs"] == 3 and 20 * MIB <= peak["minimum"] <= peak["maximum"] <= 28 * MIB
    assert peak["spread"] <= peak["resolution"] and not peak["is_beyond_resolution"]
    assert "warmup" in found["stderr"] and "run 3 of 3" in found["stderr"]


def test_a_big_run_does_not_make_the_next_one_big(tmp_path: Path) -> None:
    # A maximum over all children so far, as rusage has it, never goes down again.
    found = measured(
        tmp_path / "runs.json", "--runs", "2", "-L", "mib", "80,10", "--",
        *LOAD, "anon", "{mib}", "0.05",
    )  # fmt: skip
    big, small = (one["statistics"]["metrics"]["peak_bytes"] for one in found["measurements"])
    assert big["minimum"] >= 80 * MIB and small["maximum"] <= 18 * MIB


def test_before_and_after(tmp_path: Path) -> None:
    trace = tmp_path / "trace"
    code = f"open({str(trace)!r}, 'a').write"
    command = [sys.executable, "-c", f"{code}('r')"]
    prepare, cleanup = (f"{sys.executable} -c \"{code}('{word}')\"" for word in "pc")
    cmemrun(
        "--runs", "2", "--warmup", "1", "--prepare", prepare, "--cleanup", cleanup,
        "--quiet", "--", *command,
    )  # fmt: skip
    assert trace.read_text() == "prprprc"


def test_a_prepare_that_fails_loses_nothing(tmp_path: Path) -> None:
    once = tmp_path / "once"
    prepare = f"{sys.executable} -c \"import os; os.mkdir('{once}')\""
    found = measured(
        tmp_path / "runs.json", "--runs", "3", "--prepare", prepare, "--", "true", status=125
    )
    assert found["exit"]["status"] == 0
    assert "--prepare" in found["stderr"] and "ended with 1" in found["stderr"]
    failed = cmemrun("--runs", "3", "--prepare", "false", "--", "true", status=125)
    assert "ended with 1" in failed.stderr


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["-L", "a", "1,2", "--", "true"], "{a} is nowhere in the command"),
        (["-L", "a", "1", "-P", "a", "1", "2", "--", "echo", "{a}"], "given twice"),
        (["-P", "a", "2", "1", "--", "echo", "{a}"], "nothing from 2 to 1"),
        (["-P", "a", "1", "x", "--", "echo", "{a}"], "'x' is no number"),
        (["-P", "a", "1", "2", "-D", "0", "--", "echo", "{a}"], "nothing from 1 to 2"),
        (["-P", "a", "1", "99999", "--", "echo", "{a}"], "more than"),
        (["-D", "1", "--", "true"], "no --parameter-scan"),
        (["--fail-on", "5%", "--", "true"], "nothing to compare with"),
        (["--fail-on", "5", "--against", "x", "--", "true"], "no percentage"),
        (["--fail-on", "x=5%", "--against", "x", "--", "true"], "nothing we measure"),
        (["--against", "nowhere", "--", "true"], "neither a baseline nor a file"),
        (["--save-baseline", "../x", "--", "true"], "no name"),
        (["--runs", "0", "--", "true"], "no number of times"),
        (["--runs", "2", "--export", "csv=x", "--", "true"], "samples of one run"),
        (["--memory-qos", "--", "true"], "somebody's rules"),
        (["--runs", "2", "--record", "r.jsonl", "--", "true"], "of one run"),
        (["--export", "nothing=x", "--", "true"], "names no format"),
        (["--export", "junit", "--", "true"], "names no format"),
    ],
)
def test_what_cannot_be_done_is_said_before_the_start(
    tmp_path: Path, arguments: list[str], told: str
) -> None:
    done = cmemrun(*arguments, status=125, at=tmp_path)
    assert told in done.stderr
    assert "Traceback" not in done.stderr and os.listdir(tmp_path) == []


def test_every_combination_of_parameters(tmp_path: Path) -> None:
    found = measured(
        tmp_path / "runs.json", "-q", "-L", "word", "a,{number}", "-P", "number", "0.1", "0.3",
        "-D", "0.1", "--", "true", "{word}", "{number}", "{other}",
    )  # fmt: skip
    # What a value looks like is never replaced again.
    assert [one["command"][1:] for one in found["measurements"]] == [
        [word, number, "{other}"] for word in ("a", "{number}") for number in ("0.1", "0.2", "0.3")
    ]


def test_the_status_is_that_of_the_first_that_failed(tmp_path: Path) -> None:
    path = tmp_path / "runs.json"

    def ended(values: str, *options: str, status: int) -> tuple[list[int], str]:
        """What the runs of these values ended with, and what is said of them."""
        script = ("--", "sh", "-c", "exit {status}")
        found = measured(path, "-q", "-L", "status", values, *options, *script, status=status)
        many = found.get("measurements", [found])
        ends = [run["exit"]["status"] for one in many for run in one.get("runs", [one])]
        return ends, found["stderr"]

    # All are run, whichever fails.
    assert ended("0,3,4", status=3) == ([0, 3, 4], "")
    over = ("--max-peak", "1")
    # Our 123 is for a program that succeeds; where it does not its own status comes first.
    for values, options, status in (
        ("0", over, 123), ("0,5", over, 5), ("0", (*over, "--report-only"), 0),
    ):  # fmt: skip
        ends, told = ended(values, *options, status=status)
        assert ends == [int(value) for value in values.split(",")]
        assert told.count("is over the allowed 1 B") == len(ends), told


def test_a_budget_is_judged_on_the_worst_run(tmp_path: Path) -> None:
    once = tmp_path / "once"
    code = (
        f"import os; first = not os.path.exists({str(once)!r}); open({str(once)!r}, 'w');"
        f" x = b'x' * ({40 * MIB} if first else 1)"
    )
    found = measured(
        tmp_path / "runs.json", "--runs", "3", "--max-peak", "40MiB", "--",
        sys.executable, "-S", "-E", "-c", code, status=123,
    )  # fmt: skip
    (budget,) = found["budgets"]
    assert budget["measured"] == found["statistics"]["metrics"]["peak_bytes"]["maximum"]
    assert found["stderr"].count("is over the allowed 40.0 MiB") == 2  # in the report, and of ours


def test_against_a_baseline(tmp_path: Path) -> None:
    keep = ("-q", "--runs", "3", "--save-baseline", "main")
    cmemrun(*keep, "--", *anon(20), at=tmp_path)
    assert os.listdir(tmp_path / ".cmemrun") == ["main.json"]
    against = ("--runs", "3", "--against", "main", "--fail-on", "10%")
    same = cmemrun(*against, "--", *anon(20), at=tmp_path)
    assert "same" in same.stderr
    worse = measured(tmp_path / "new.json", *against, "--", *anon(26), status=123, at=tmp_path)
    assert "worse" in worse["stderr"]
    (growth,) = worse["budgets"]
    assert (growth["metric"], growth["passed"]) == ("peak", False)
    # A file will do, and a single run.
    path = str(tmp_path / ".cmemrun/main.json")
    single = measured(
        tmp_path / "new.json", "--against", path, "--fail-on", "10%", "--", *anon(26), status=123
    )
    assert single["budgets"][0]["metric"] == "peak" and "too few runs" in single["stderr"]


def test_against_a_file_in_git(tmp_path: Path) -> None:
    def git(*arguments: str) -> None:
        who = ["-c", "user.name=n", "-c", "user.email=e@example.org"]
        subprocess.run(["git", *who, *arguments], cwd=tmp_path, check=True, capture_output=True)

    git("init")
    inner = tmp_path / "bench"
    inner.mkdir()
    measured(inner / "base.json", "-q", "--", *anon(20))
    git("add", ".")
    git("commit", "-m", "base")
    (inner / "base.json").write_text("changed since")
    done = cmemrun("--against", "HEAD:base.json", "--", *anon(20), at=inner)
    assert "same" in done.stderr
    refused = cmemrun("--against", "HEAD:none.json", "--", "true", status=125, at=inner)
    assert "git:" in refused.stderr and "Traceback" not in refused.stderr
    cmemrun("--against", "--output=x:base.json", "--", "true", status=125, at=inner)
    assert sorted(os.listdir(inner)) == ["base.json"]


def test_values_are_exact(tmp_path: Path) -> None:
    scan = ["-P", "x", "1000000", "1000000.001", "-D", "0.0005"]
    found = measured(tmp_path / "a.json", "-q", *scan, "--", "true", "{x}")
    values = [one["command"][1] for one in found["measurements"]]
    assert values == ["1000000", "1000000.0005", "1000000.001"]
    tiny = ["-P", "x", "0.00001", "0.00001"]
    assert (
        measured(tmp_path / "b.json", "-q", *tiny, "--", "true", "{x}")["command"][1] == "0.00001"
    )


def test_long_commands_that_begin_alike_are_told_apart(tmp_path: Path) -> None:
    script = ": " + "x" * 300 + "; exit {n}"
    path = tmp_path / "runs.json"
    found = measured(path, "-q", "-L", "n", "0,1", "--", "sh", "-c", script, status=1)
    assert [one["runs"][0]["exit"]["status"] for one in found["measurements"]] == [0, 1]
    again = json.loads(cmemrun("report", "--format", "json", str(path), str(path)).stdout)
    assert [len(one["runs"]) for one in again["measurements"]] == [2, 2]


def test_a_later_command_that_fails_loses_no_earlier_one(tmp_path: Path) -> None:
    path = tmp_path / "runs.json"
    found = measured(path, "-q", "-L", "p", "true,/no/such", "--", "{p}", status=127)
    assert found["command"] == ["true"]


def test_a_baseline_is_what_there_is_to_compare_with(tmp_path: Path) -> None:
    kept = tmp_path / ".cmemrun/x.json"
    cmemrun("-q", "--save-baseline", "x", "--", "true", at=tmp_path)
    good = kept.read_bytes()
    failed = cmemrun("-q", "--save-baseline", "x", "--", "false", status=1, at=tmp_path)
    assert "stays as it was: a run failed" in failed.stderr
    cmemrun("-q", "--save-baseline", "x", "--max-peak", "1", "--", "true", status=123, at=tmp_path)
    assert kept.read_bytes() == good
    # Where it cannot be written, nothing else is lost.
    gone = ["--", "rm", "-rf", ".cmemrun"]
    found = measured(
        tmp_path / "o.json", "-q", "--save-baseline", "x", *gone, status=125, at=tmp_path
    )
    assert found["exit"]["status"] == 0 and "--save-baseline" in found["stderr"]


def test_a_baseline_is_the_user_s(open_path: Path) -> None:
    home, private = open_path / "home", open_path / "private"
    home.mkdir()
    os.chown(home, 65534, 65534)
    as_nobody = ("-q", "--user", "nobody", "--save-baseline", "x", "--", "true")
    cmemrun(*as_nobody, at=home)
    assert {path.stat().st_uid for path in (home / ".cmemrun", home / ".cmemrun/x.json")} == {65534}
    # A link that is laid out for us leads nowhere that user could not go.
    private.mkdir(mode=0o700)
    shutil.rmtree(home / ".cmemrun")
    (home / ".cmemrun").symlink_to(private)
    cmemrun(*as_nobody, status=125, at=home)
    assert list(private.iterdir()) == []


def test_interrupted_while_it_prepares_it_keeps_what_it_has(tmp_path: Path) -> None:
    once, path = tmp_path / "once", tmp_path / "runs.json"
    code = (
        f"import os, signal, time; first = not os.path.exists({str(once)!r});"
        f" open({str(once)!r}, 'w'); first or os.kill(os.getppid(), signal.SIGTERM);"
        " first or time.sleep(1000)"
    )
    prepare = f'{sys.executable} -c "{code}"'
    found = measured(path, "--runs", "3", "--prepare", prepare, "--", "true", status=130)
    assert found["exit"]["status"] == 0


def test_asked_to_end_a_single_run_ends_as_it_does(tmp_path: Path) -> None:
    has_heard = "grep -q '^ShdPnd:.0*$' /proc/$PPID/status"
    script = f"kill -TERM $PPID; until {has_heard}; do :; done; exit 7"
    cmemrun("-q", "--runs", "1", "--", "sh", "-c", script, status=7)


def test_what_is_added_to_a_file_is_not_replaced(tmp_path: Path) -> None:
    path = tmp_path / "summary"
    shared = ["--export", f"github-summary={path}", "--export", f"github-output={path}"]
    cmemrun("-q", *shared, "--", "true")
    cmemrun("-q", "--export", f"github-summary={path}", "--", "true")
    assert path.read_text().count("| command") >= 1 and "passed=" in path.read_text()
    refused = cmemrun("-q", "--json", str(path), *shared, "--", "true", status=125)
    assert "both name" in refused.stderr
    new = tmp_path / "new"
    both = ["--json", str(new), "--export", f"github-summary={new}"]
    assert "both name" in cmemrun("-q", *both, "--", "true", status=125).stderr
    assert not new.exists()


def test_a_status_is_seen_where_nobody_waits_for_children(tmp_path: Path) -> None:
    script = 'trap "" CHLD; exec "$@"'
    command = ["bash", "-c", script, "-", CMEMRUN, "--prepare", "false", "--", "true"]
    assert subprocess.run(command, check=False, capture_output=True).returncode == 125


def test_interrupted_it_keeps_what_it_has(tmp_path: Path) -> None:
    # The third run asks cmemrun to end, and ends once that has heard of it.
    code = (
        "import os, signal, sys; n = len(os.listdir(sys.argv[1]));"
        " open(f'{sys.argv[1]}/{n}', 'w'); n == 2 and os.kill(os.getppid(), signal.SIGTERM)\n"
        "while 'ShdPnd:\\t' + 16 * '0' not in open(f'/proc/{os.getppid()}/status').read(): pass"
    )
    counted = tmp_path / "counted"
    counted.mkdir()
    found = measured(
        tmp_path / "runs.json", "--runs", "5", "--", sys.executable, "-c", code, str(counted),
        status=130,
    )  # fmt: skip
    assert len(found["runs"]) == 2 and len(list(counted.iterdir())) == 3
