"""A saved run is read back as it was, and what is no saved run is refused in a sentence."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import strategies as st

from cmemrun.errors import BadInput
from cmemrun.report import document, terminal
from tests.conftest import Cmemrun
from tests.hostile.fuzz import fuzz
from tests.made_up import RUN
from tests.running import call_cmemrun

DOCUMENT = json.loads(document.render(RUN))


def test_there_and_back() -> None:
    assert document.parse(document.render(RUN)) == RUN


def test_a_real_one_there_and_back(cmemrun: Cmemrun, tmp_path: Path) -> None:
    script = "x = bytearray(30 << 20); import time; time.sleep(0.3); import os; os.kill(0, 0)"
    made = cmemrun("--limit", "1Gi", "--max-peak", "1Mi", "--", "python3", "-c", script)
    run = document.parse(json.dumps(made.document))
    assert document.to_document(run) == made.document
    path = tmp_path / "saved.json"
    path.write_text(json.dumps(made.document))
    told = call_cmemrun("report", str(path), check=True).stdout
    # All but what is said once the program has ended, of the budget.
    assert told == made.stderr.rpartition("cmemrun: ")[0]
    with path.open() as file:
        piped = call_cmemrun("report", "-", stdin=file, check=True)
    assert piped.stdout == told


def test_what_a_later_version_adds_is_passed_over() -> None:
    later = json.loads(json.dumps(DOCUMENT)) | {"new": 1}
    later["method"]["new"] = later["at_peak"]["new"] = later["events"]["new"] = {"x": 1}
    assert document.parse(json.dumps(later)) == RUN


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "no JSON"),
        ("[" * 100000, "no JSON"),
        ("[]", "no document"),
        ("{}", "no document"),
        ('{"schema": 2}', "schema 2"),
        (json.dumps(DOCUMENT | {"peak_bytes": "big"}), "no document"),
        (json.dumps(DOCUMENT | {"samples": [{}]}), "no document"),
    ],
)
def test_what_is_none_is_refused(text: str, words: str) -> None:
    with pytest.raises(BadInput, match=words):
        document.parse(text)


def paths(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The way to every value in a document."""
    found = [path] if path else []
    inner: Any = ()
    if isinstance(value, dict):
        inner = value.items()
    elif isinstance(value, list):
        inner = enumerate(value)
    for name, part in inner:
        found += paths(part, (*path, name))
    return found


@fuzz(
    st.sampled_from(paths(DOCUMENT)),
    st.sampled_from([None, "x\x1b[31m", -1, 1.5, [], {}, [None], True, "</script>"]),
    quick=80,
    long=5_000,
)
def test_no_damage_gives_a_traceback(path: tuple[Any, ...], value: Any) -> None:
    damaged = json.loads(json.dumps(DOCUMENT))
    place = damaged
    for name in path[:-1]:
        place = place[name]
    place[path[-1]] = value
    try:
        run = document.parse(json.dumps(damaged))
    except BadInput:
        return
    assert "\x1b" not in terminal.render(run, colour=False)


@pytest.mark.parametrize("name", ["missing.json", ".", "binary"])
def test_a_file_that_cannot_be_read(name: str, tmp_path: Path) -> None:
    (tmp_path / "binary").write_bytes(b"\xff\xfe")
    done = call_cmemrun("report", name, cwd=tmp_path)
    assert done.returncode == 125 and done.stderr.count("\n") == 1
    assert repr(name) in done.stderr


@pytest.mark.parametrize(
    "changed",
    [
        {"peak_bytes": True},
        {"peak_bytes": 1.5},
        {"peak_bytes": 2**64},
        {"wall_seconds": float("inf")},
        {"wall_seconds": float("nan")},
        {"wall_seconds": "2.5"},
        {"runtime": {"name": "go", "version": "1", "file": "/x", "environment": [["a", "b", "c"]]}},
    ],
    ids=str,
)
def test_value_of_another_kind_is_refused(changed: dict[str, Any]) -> None:
    with pytest.raises(BadInput, match="no document"):
        document.parse(json.dumps(DOCUMENT | changed))


def test_seconds_are_read_as_what_they_are() -> None:
    assert type(document.parse(json.dumps(DOCUMENT | {"wall_seconds": 2})).wall_seconds) is float
    assert document.parse(json.dumps(DOCUMENT | {"peak_bytes": 2**64 - 1})).peak_bytes == 2**64 - 1
