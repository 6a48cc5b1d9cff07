"""What is written for a limit: nothing but what says so is none."""

from typing import Any

import pytest

from cmemrun.backends.directory import DirectoryGroup
from cmemrun.backends.v1 import V1Group
from cmemrun.backends.v2 import V2Group
from cmemrun.model import UNLIMITED, Limits


@pytest.mark.parametrize(("kind", "none"), [(V2Group, "max"), (V1Group, "-1")])
def test_only_no_limit_is_written_as_none(
    kind: Any, none: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    written: list[str] = []
    monkeypatch.setattr(DirectoryGroup, "_set", lambda *words, option: written.append(words[2]))
    group = kind.__new__(kind)
    for value in (UNLIMITED, 4096, 4096.5):
        group._set_limit("max_bytes", value, "--limit", Limits())
    assert written == [none, "4096", "4096.5"]
