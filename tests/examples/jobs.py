"""What the jobs in examples/ would have a machine do, as their own tools read them."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from ruamel.yaml import YAML

EXAMPLES = Path(__file__).parents[2] / "examples"


def documents(name: str) -> list[Any]:
    """Everything in a YAML file."""
    return list(YAML(typ="safe", pure=True).load_all((EXAMPLES / name).read_text()))


def github(job: str) -> list[str]:
    """The scripts of a job; GitHub has each executed by ``bash -e``."""
    (workflow,) = documents("ci/github-actions.yml")
    return [step["run"] for step in workflow["jobs"][job]["steps"] if "run" in step]


def gitlab(job: str) -> list[str]:
    """The lines of a job, one script with ``set -e`` in a container."""
    (jobs,) = documents("ci/gitlab-ci.yml")
    merged = jobs[jobs[job]["extends"]] | jobs[job]
    return [*merged["before_script"], *merged["script"]]


def container(name: str) -> dict[str, Any]:
    """The only container of the only Job in a file of Kubernetes'."""
    (job,) = [one for one in documents(name) if one["kind"] == "Job"]
    (only,) = job["spec"]["template"]["spec"]["containers"]
    return dict(only)


class Statement(NamedTuple):
    """One of a Jenkinsfile: ``stage('Memory') { … }`` has a name, a text and what is inside."""

    name: str
    texts: tuple[str, ...]
    inside: "tuple[Statement, ...] | None"

    def all(self, name: str) -> Iterator["Statement"]:
        for one in self.inside or ():
            if one.name == name:
                yield one
            yield from one.all(name)


_TOKEN = re.compile(
    r"""(?P<space> [ \t]+ | //[^\n]* ) | (?P<end> [\n;] ) | (?P<open> \{ ) | (?P<close> \} )
    | (?P<word> \w+ ) | (?P<sign> [():,] )
    | \'{3} (?P<long> (?: [^\\] | \\. )*? ) \'{3} | ' (?P<short> (?: [^'\\\n] | \\. )* ) ' """,
    re.X | re.S,
)


def jenkinsfile() -> Statement:
    """The pipeline; ``ValueError`` where it is none, for there is no parser of Jenkins' here."""
    text = (EXAMPLES / "ci/Jenkinsfile").read_text()
    (pipeline,), at = _statements(text, 0, depth=0)
    if at != len(text) or pipeline.name != "pipeline":
        raise ValueError("something beside the pipeline")
    return pipeline


def _statements(text: str, at: int, *, depth: int) -> tuple[tuple[Statement, ...], int]:
    found: list[Statement] = []
    name, inside = "", None
    texts: list[str] = []
    while at < len(text):
        token = _TOKEN.match(text, at)
        if token is None:
            raise ValueError(f"at {text[at : at + 40]!r}")
        at = token.end()
        kind, value = token.lastgroup or "", token[token.lastgroup or 0]
        if kind == "word":
            name = name or value
        elif kind in ("long", "short"):
            texts.append(re.sub(r"\\(.)", r"\1", value, flags=re.S))
        elif kind == "open":
            inside, at = _statements(text, at, depth=depth + 1)
        elif kind in ("end", "close"):
            if name:
                found.append(Statement(name, tuple(texts), inside))
            name, texts, inside = "", [], None
            if kind == "close":
                if depth == 0:
                    raise ValueError("a brace too many")
                return tuple(found), at
    if depth:
        raise ValueError("a brace is left open")
    return tuple(found), at
