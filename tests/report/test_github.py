"""Annotations and outputs as GitHub's runner takes them, by its documentation."""

import json
import re

from cmemrun.model import Budget, Exit, Measurement
from cmemrun.report import github, github_output, words
from tests.made_up import MIB, RUN, runs
from tests.report.readers import commands, outputs

OVER = Budget("peak", 64 * MIB, 101 * MIB, "exact")
DOUBTED = Budget("anon", 90 * MIB, 80 * MIB, "sampled")
FAILED = RUN._replace(exit=Exit(3), budgets=(OVER, DOUBTED))


def test_what_went_wrong_comes_first() -> None:
    found = commands(github.render([Measurement("x", (RUN,)), Measurement("a, b: c", (FAILED,))]))
    title = {"title": "cmemrun: a, b: c"}
    assert found == [
        ("error", title, "exit 3"),
        ("error", title, words.budget(OVER)),
        ("warning", title, words.budget(DOUBTED)),
        ("notice", {"title": "cmemrun: x"}, "peak 101.0 MiB, time 2.50 s"),
        ("notice", title, "peak 101.0 MiB, time 2.50 s"),
    ]


def test_escaping_as_documented() -> None:
    text = github.render([Measurement("50%, a:b", (RUN,))])
    assert text.startswith("::notice title=cmemrun%3A 50%25%2C a%3Ab::peak")


def test_outputs_of_one_measurement() -> None:
    found = outputs(github_output.render([Measurement("x", tuple(runs(100, 101, 103)))]))
    assert found["passed"] == "true" and found["peak_bytes"] == str(101 * MIB)
    assert found["wall_seconds"] == "2.5"
    (told,) = json.loads(found["measurements"])
    assert told["name"] == "x" and told["peak_bytes"] == 101 * MIB
    assert found["markdown"].startswith("### Memory\n")
    failed = outputs(github_output.render([Measurement("x", (FAILED,))]))
    assert failed["passed"] == "false"


def test_a_delimiter_is_no_other_one_s() -> None:
    many = [Measurement("x", (RUN,))]
    found = {text for _ in range(8) for text in re.findall("<<(.*)", github_output.render(many))}
    assert len(found) == 8 and all(len(one) >= 32 for one in found)
