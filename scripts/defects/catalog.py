"""The list of defects in ``tests/defects/*.toml``."""

import re
import tomllib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path

__all__ = ["BadList", "Defect", "has", "read_defects", "select"]


class BadList(Exception):
    """The list, or what was asked of it, is wrong."""


@dataclass(frozen=True)
class Defect:
    """One small edit that changes what the package does."""

    name: str
    """Unique; starts with the module."""
    file: str
    """Relative to the checkout."""
    old: str
    """Occurs exactly once in the file."""
    new: str
    tests: tuple[str, ...]
    """The quick tests that claim the module: paths or node IDs."""
    equivalent: str | None = None
    """Why no test can tell the difference, if none can."""
    kernel: str | None = None
    """The guest whose acceptance tests see it, if only they do."""

    def apply(self, source: str) -> str:
        """The broken source; ``BadList`` if the edit does not fit it."""
        if (found := source.count(self.old)) != 1:
            raise BadList(f"{self.name}: what it replaces occurs {found} times in {self.file}")
        broken = source.replace(self.old, self.new)
        if broken == source:
            raise BadList(f"{self.name}: it changes nothing")
        try:
            compile(broken, self.file, "exec")
        except SyntaxError as error:
            raise BadList(f"{self.name}: it does not compile: {error}") from error
        return broken


def read_defects(directory: Path) -> list[Defect]:
    """Every defect of the files in a directory; ``BadList`` if one is incomplete or a duplicate."""
    defects: dict[str, Defect] = {}
    for path in sorted(directory.glob("*.toml")):
        try:
            document = tomllib.loads(path.read_text())
            claimed = document.pop("tests", [])
            for entry in document.pop("defect"):
                defect = Defect(**{**entry, "tests": tuple(entry.get("tests", claimed))})
                if defect.name in defects:
                    raise BadList(f"{path.name}: there are two {defect.name}")
                defects[defect.name] = defect
        except (tomllib.TOMLDecodeError, KeyError, TypeError) as error:
            raise BadList(f"{path.name}: {error}") from error
        if document:
            raise BadList(f"{path.name}: unknown: {', '.join(document)}")
    return list(defects.values())


def has(root: Path, test: str) -> bool:
    """Whether a checkout has a test, given by its path or node ID."""
    file, *names = test.partition("[")[0].split("::")
    path = root / file
    return path.exists() and all(
        re.search(rf"^\s*(?:def|class) {re.escape(name)}\b", path.read_text(), re.MULTILINE)
        for name in names
    )


def select(defects: Iterable[Defect], patterns: Sequence[str]) -> list[Defect]:
    """Those that one of the names or globs matches, all without any; ``BadList`` for a typo."""
    listed = list(defects)
    for pattern in patterns:
        if not any(fnmatchcase(one.name, pattern) for one in listed):
            raise BadList(f"no defect is called {pattern}")
    return [
        one
        for one in listed
        if not patterns or any(fnmatchcase(one.name, pattern) for pattern in patterns)
    ]
