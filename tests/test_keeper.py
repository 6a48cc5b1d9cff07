"""The keeper stands before there is anything to keep."""

import os
import signal
import time
from pathlib import Path

import pytest

from cmemrun.keeper import Keeper


def test_what_ends_us_by_name_does_not_end_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    setsid = os.setsid

    def slowly() -> None:
        time.sleep(0.3)
        setsid()

    monkeypatch.setattr(os, "setsid", slowly)
    with Keeper() as keeper:
        keeper.adopt(str(tmp_path / "group"))
        assert Path(f"/proc/{keeper.pid}/comm").read_text() == "memkeeper\n"
        assert os.getsid(keeper.pid) == keeper.pid


def test_one_that_never_begins_holds_nothing_up(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(os, "setsid", lambda: os.kill(os.getpid(), signal.SIGKILL))
    before = os.listdir("/proc/self/fd")
    started = time.monotonic()
    with Keeper() as keeper:
        keeper.adopt(str(tmp_path / "group"))
    assert time.monotonic() - started < 10
    assert os.listdir("/proc/self/fd") == before
