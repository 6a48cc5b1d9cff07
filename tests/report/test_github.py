"""Annotations and outputs as GitHub's runner takes them, by its documentation."""

import json
import re

from hypothesis import example, given

from cmemrun.model import Budget, Exit, Measurement
from cmemrun.report import github, github_output, markdown, words
from cmemrun.report.findings import decimal, find
from cmemrun.report.text import printable
from tests.made_up import MIB, RUN, runs
from tests.report.hostile import EVERYTHING, measurements

OVER = Budget("peak", 64 * MIB, 101 * MIB, "exact")
DOUBTED = Budget("anon", 90 * MIB, 80 * MIB, "sampled")
FAILED = RUN._replace(exit=Exit(3), budgets=(OVER, DOUBTED))


def unescaped(text: str, more: dict[str, str]) -> str:
    for written, char in ({"%0D": "\r", "%0A": "\n"} | more | {"%25": "%"}).items():
        text = text.replace(written, char)
    return text


def commands(text: str) -> list[tuple[str, dict[str, str], str]]:
    """Each line's command, parameters and value: ``::command name=value,…::value``."""
    found = []
    for line in re.split(r"[\r\n]", text.removesuffix("\n")):
        assert line.startswith("::")
        head, _, value = line[2:].partition("::")
        command, _, parameters = head.partition(" ")
        pairs = [part.partition("=") for part in parameters.split(",")]
        told = {name: unescaped(text, {"%3A": ":", "%2C": ","}) for name, _, text in pairs}
        found.append((command, told, unescaped(value, {})))
    return found


def outputs(text: str) -> dict[str, str]:
    """``name=value`` lines, and ``name<<delimiter`` with all lines up to that."""
    found: dict[str, str] = {}
    lines = iter(text.split("\n"))
    for line in lines:
        equals, heredoc = line.find("="), line.find("<<")
        if not line:
            continue
        if equals >= 0 and (heredoc < 0 or equals < heredoc):
            name, _, value = line.partition("=")
        else:
            name, _, delimiter = line.partition("<<")
            assert delimiter
            value = "\n".join(iter(lambda: next(lines), delimiter))
        assert name not in found
        found[name] = value
    return found


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


@given(measurements)
@example(EVERYTHING)
def test_hostile_words_make_no_command(many: list[Measurement]) -> None:
    found = commands(github.render(many))
    names = {f"cmemrun: {one.name}" for one in find(many)}
    assert [command for command, _, _ in found if command == "error"] == ["error"] * sum(
        len(one.failures) + 1 for one in find(many)
    )
    for command, parameters, _ in found:
        assert command in ("error", "warning", "notice")
        assert list(parameters) == ["title"] and parameters["title"] in names
    values = [value for _, _, value in found]
    for one in find(many):
        for text in (*one.failures, *one.remarks, words.budget(one.budgets[0])):
            assert printable(text) in values


def test_outputs_of_one_measurement() -> None:
    found = outputs(github_output.render([Measurement("x", tuple(runs(100, 101, 103)))]))
    assert found["passed"] == "true" and found["peak_bytes"] == str(101 * MIB)
    assert found["wall_seconds"] == "2.5"
    (told,) = json.loads(found["measurements"])
    assert told["name"] == "x" and told["peak_bytes"] == 101 * MIB
    assert found["markdown"].startswith("### Memory\n")
    failed = outputs(github_output.render([Measurement("x", (FAILED,))]))
    assert failed["passed"] == "false"


@given(measurements)
@example(EVERYTHING)
def test_hostile_words_make_no_output(many: list[Measurement]) -> None:
    found = outputs(github_output.render(many))
    figures = list(find(many)[0].figures) if len(many) == 1 else []
    assert list(found) == ["passed", *figures, "measurements", "markdown"]
    assert found["markdown"] + "\n" == markdown.render(many)
    for told, one in zip(json.loads(found["measurements"]), find(many), strict=True):
        assert (told["name"], told["passed"]) == (one.name, False)
        assert told.get("peak_bytes") == (
            decimal(one.figures["peak_bytes"].median) if one.figures else None
        )


def test_a_delimiter_is_no_other_one_s() -> None:
    many = [Measurement("x", (RUN,))]
    found = {text for _ in range(8) for text in re.findall("<<(.*)", github_output.render(many))}
    assert len(found) == 8 and all(len(one) >= 32 for one in found)
