"""What walks the steps ends what it has stopped, whatever goes wrong with it.

That nothing is left is seen to by the watch in ``tests/conftest.py``. Of a keeper that is
killed with its launcher the groups are left, and that watch ends them.
"""

from pathlib import Path

import pytest

from tests.conftest import needs_strace
from tests.faults import tracing
from tests.faults.tracing import Tracer

pytestmark = [
    pytest.mark.slow,
    needs_strace,
]


@pytest.mark.parametrize("part", ["launcher", "program", "sampler"])
def test_a_strace_that_does_not_attach(
    part: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    aids = tmp_path / "aids"
    aids.mkdir()
    (aids / "strace").write_text("#!/bin/sh\necho no rights >&2\nexit 1\n")
    (aids / "strace").chmod(0o755)
    monkeypatch.setenv("PATH", str(aids), prepend=":")
    with Tracer() as tracer, pytest.raises(AssertionError, match="no rights"):
        tracer.trace(part, ["-q", "true"], tmp_path)


def test_a_launcher_that_hangs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with Tracer() as tracer:
        assert tracer.trace("program", ["-q", "true"], tmp_path).status == 0
        monkeypatch.setattr(tracing, "_HANGS_SECONDS", 2)
        done = tracer.trace("program", ["-q", "sh", "-c", "kill -STOP $PPID"], tmp_path)
    assert done.status is None
