"""Budgets in a file, and runs that were saved against each other."""

import json
import os
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.commands.running import anon, cmemrun, measured

pytestmark = pytest.mark.slow

MIB = 2**20
TRUE = "command = 'true'\n"


def written(tmp_path: Path, text: str, name: str = "budgets.toml") -> Path:
    path = tmp_path / name
    path.write_text(text)
    return path


def checked(tmp_path: Path, *arguments: str, status: int = 0) -> Any:
    done = cmemrun("check", "--json", "out.json", *arguments, status=status, at=tmp_path)
    return json.loads((tmp_path / "out.json").read_text()) | {"stderr": done.stderr}


def test_all_commands_of_a_file_or_some(tmp_path: Path) -> None:
    written(
        tmp_path,
        f"""
        [commands.small]
        command = {json.dumps(anon(20))}
        max-peak = "30MiB"
        runs = 2
        [commands.large]
        command = {json.dumps(anon(40))}
        assert = ["anon<=30Mi", "oom_kill=0"]
        limit = "80Mi"
        """,
    )
    found = checked(tmp_path, status=123)
    small, large = found["measurements"]
    assert (small["name"], len(small["runs"]), len(large["runs"])) == ("small", 2, 1)
    assert [budget["passed"] for budget in small["budgets"]] == [True]
    assert [budget["passed"] for budget in large["budgets"]] == [False, True]
    assert large["runs"][0]["limits"]["max_bytes"] == 80 * MIB
    assert "large: anon" in found["stderr"]
    only = checked(tmp_path, "small")
    assert [run["budgets"][0]["passed"] for run in only["runs"]] == [True, True]
    checked(tmp_path, "--report-only")


def test_it_is_in_pyproject_as_well(tmp_path: Path) -> None:
    written(tmp_path, f"[tool.cmemrun.commands.x]\n{TRUE}wall='<'", "pyproject.toml")
    refused = cmemrun("check", status=125, at=tmp_path)
    assert "x: wall: there is no such option" in refused.stderr
    written(tmp_path, f"[tool.cmemrun.commands.x]\n{TRUE}max_peak='1Gi'", "pyproject.toml")
    assert checked(tmp_path)["budgets"][0]["passed"]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "has no commands"),
        ("[commands]", "has no commands"),
        ("commands = 3", "is no table"),
        ("[commands.x]", "command is missing"),
        ("[commands.x]\ncommand = []", "command is missing"),
        ("[commands.x]\ncommand = [1]", "command is missing"),
        ("[commands.x]\ncommand = '\"'", "close the quotes"),
        (f"[commands.x]\n{TRUE}runs = 0", "runs: '0'"),
        (f"[commands.x]\n{TRUE}runs = true", "runs: True is no text"),
        (f"[commands.x]\n{TRUE}max-peak = ['1Gi']", "is no text"),
        (f"[commands.x]\n{TRUE}max-peak = '512m'", "ambiguous"),
        (f"[commands.x]\n{TRUE}assert = 'peak'", "asserts nothing"),
        (f"[commands.x]\n{TRUE}cold = 'yes'", "neither true nor false"),
        (f"[commands.x]\n{TRUE}linger = 'never'", "none of end, wait"),
        (f"[commands.x]\n{TRUE}json = 'x'", "for the command line"),
        (f"[commands.x]\n{TRUE}user = 'root'", "for the command line"),
        (f"[commands.x]\n{TRUE}baseline = 'a'\nagainst = 'b'", "two names"),
        (f"[commands.x]\n{TRUE}parameter-list = 'a'", "no such option"),
        (f"[commands.x]\n{TRUE}max-peak='1Gi'\nmax_peak='1'", "two names"),
        (f"[commands.x]\n{TRUE}report-only = true", "for the command line"),
        (f'[commands.x]\n{TRUE}baseline = "main:\\u0000"', "NUL"),
        (f'[commands.x]\n{TRUE}prepare = "a\\u0000"', "NUL"),
        (f"[commands.x]\n{TRUE}runs = {'9' * 5000}", "is no TOML"),
        (f"[commands.x]\n{TRUE}runs = 0x{'f' * 5000}", "is no text"),
        ("[commands.x", "is no TOML"),
        ("x = " + "[" * 5000, "is no TOML"),
        ("\x00", "is no TOML"),
    ],
)
def test_a_file_that_cannot_be_understood_runs_nothing(
    tmp_path: Path, text: str, told: str
) -> None:
    path = written(tmp_path, text)
    refused = cmemrun("check", "--budget", str(path), status=125)
    assert told in refused.stderr and "Traceback" not in refused.stderr


def test_there_is_no_file_or_no_such_command(tmp_path: Path) -> None:
    assert "neither budgets.toml nor" in cmemrun("check", status=125, at=tmp_path).stderr
    written(tmp_path, f"[commands.x]\n{TRUE}")
    refused = cmemrun("check", "y", status=125, at=tmp_path)
    assert "no command y" in refused.stderr and "there are x" in refused.stderr


def test_what_fails_first_does_not_lose_the_others(tmp_path: Path) -> None:
    text = f"[commands.a]\n{TRUE}[commands.b]\ncommand='/no/such'\n[commands.c]\n{TRUE}"
    written(tmp_path, text)
    found = checked(tmp_path, status=127)
    assert found["command"] == ["true"] and "/no/such" in found["stderr"]


@pytest.mark.parametrize(("signal", "status"), [("TERM", 130), ("INT", -2)])
def test_between_two_commands_it_ends_with_what_it_has(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, signal: str, status: int
) -> None:
    git = tmp_path / "git"
    git.write_text(f"#!/bin/sh\nkill -{signal} $PPID\n")
    git.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    written(
        tmp_path,
        f"[commands.first]\n{TRUE}[commands.second]\n{TRUE}against='HEAD:base.json'\n"
        f"[commands.third]\n{TRUE}",
    )
    found = checked(tmp_path, status=status)
    assert found["command"] == ["true"] and found["exit"]["status"] == 0


def test_the_budgets_of_a_file_for_a_command(tmp_path: Path) -> None:
    command = anon(20)
    path = written(tmp_path, f"[commands.x]\ncommand={json.dumps(command)}\nmax-peak='10MiB'\n")
    cmemrun("-q", "--budget", str(path), "--", *command, status=123)
    # One on the command line that is stricter holds as well, and so does the file's.
    path.write_text(path.read_text().replace("10MiB", "1GiB"))
    cmemrun("-q", "--max-peak", "1", "--budget", str(path), "--", *command, status=123)
    refused = cmemrun("--budget", str(path), "--", "true", status=125)
    assert "no budget for this command" in refused.stderr


def test_growth_against_a_baseline(tmp_path: Path) -> None:
    measured(tmp_path / "base.json", "-q", "--", *anon(20))
    text = "[commands.x]\ncommand={}\nbaseline='base.json'\ntolerance='10%'\n"
    written(tmp_path, text.format(json.dumps(anon(20))))
    assert checked(tmp_path)["budgets"][0]["passed"]
    written(tmp_path, text.format(json.dumps(anon(30))))
    assert not checked(tmp_path, status=123)["budgets"][0]["passed"]


def compared(tmp_path: Path, *arguments: str, status: int = 0) -> Any:
    done = cmemrun("compare", *arguments, "--json", "-", status=status, at=tmp_path)
    return json.loads(done.stdout) | {"stderr": done.stderr}


def test_runs_that_were_saved(tmp_path: Path) -> None:
    for name, mib in (("a", 50), ("b", 50), ("c", 56)):
        measured(tmp_path / f"{name}.json", "-q", "--runs", "5", "--", *anon(mib))
    same = compared(tmp_path, "a.json", "b.json", "--fail-on", "5%")
    assert same["metrics"]["peak_bytes"]["verdict"] == "same"
    assert same["budgets"][0]["passed"]
    worse = compared(tmp_path, "a.json", "c.json", "--fail-on", "5%", status=123)
    peak = worse["metrics"]["peak_bytes"]
    assert peak["verdict"] == "worse" and "over the allowed" in worse["stderr"]
    assert 5 * MIB <= peak["interval"][0] <= peak["difference"] <= peak["interval"][1] <= 7 * MIB
    assert compared(tmp_path, "c.json", "a.json")["metrics"]["peak_bytes"]["verdict"] == "better"
    # Runs of the same command are one set, wherever they were made.
    together = compared(tmp_path, "a.json", "b.json", "a.json")
    assert together["new"]["statistics"]["metrics"]["peak_bytes"]["runs"] == 10
    text = cmemrun("compare", "a.json", "c.json", at=tmp_path).stdout
    assert "verdict" in text and "worse" in text


def test_a_program_that_fails_now_is_not_better(tmp_path: Path) -> None:
    script = "import sys; x = b'x' * int(sys.argv[1]); sys.exit(len(x) < 1000)"
    for name, size, status in (("a", 20 * MIB, 0), ("b", 1, 1)):
        command = [sys.executable, "-c", script, str(size)]
        measured(tmp_path / f"{name}.json", "-q", "--runs", "3", "--", *command, status=status)
    base = cmemrun("report", "--format", "json", "a.json", at=tmp_path).stdout
    new = json.loads((tmp_path / "b.json").read_text())
    (tmp_path / "b.json").write_text(json.dumps(new | {"name": json.loads(base)["command"][0]}))
    found = compared(tmp_path, "a.json", "b.json")
    assert "ends with 0, one with 1" in found["metrics"]["peak_bytes"]["reason"]
    cmemrun("compare", "a.json", "b.json", "--fail-on", "5%", status=125, at=tmp_path)


def test_a_single_command_keeps_its_name(tmp_path: Path) -> None:
    written(tmp_path, f"[commands.a]\n{TRUE}[commands.b]\n{TRUE}")
    assert [one["name"] for one in checked(tmp_path)["measurements"]] == ["a", "b"]
    (tmp_path / "out.json").rename(tmp_path / "both.json")
    assert checked(tmp_path, "b")["name"] == "b"
    assert compared(tmp_path, "both.json", "out.json")["base"]["name"] == "b"


def test_what_was_measured_differently_is_not_judged(tmp_path: Path) -> None:
    measured(tmp_path / "a.json", "-q", "--", *anon(20))
    measured(tmp_path / "b.json", "-q", "--backend", "proc", "--", *anon(20))
    found = compared(tmp_path, "a.json", "b.json")
    assert found["metrics"]["peak_bytes"]["reason"].startswith("not comparable")
    refused = cmemrun("compare", "a.json", "b.json", "--fail-on", "5%", status=125, at=tmp_path)
    assert "cannot be judged: not comparable" in refused.stderr


@pytest.mark.parametrize("text", ["", "{}", "[]", '{"statistics": {}, "runs": [3]}', "\xff"])
def test_a_stranger_s_file_is_refused(tmp_path: Path, text: str) -> None:
    measured(tmp_path / "a.json", "-q", "--", sys.executable, "-c", "")
    (tmp_path / "b.json").write_text(text, "latin-1")
    for pair in (("a.json", "b.json"), ("b.json", "a.json")):
        refused = cmemrun("compare", *pair, status=125, at=tmp_path)
        assert "b.json" in refused.stderr and "Traceback" not in refused.stderr
    assert "out.json" not in os.listdir(tmp_path)
