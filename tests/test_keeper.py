"""The keeper stands before there is anything to keep, and ends what it was told of."""

import fcntl
import os
import signal
import subprocess
import sys
import termios
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from cmemrun import keeper as keeping
from cmemrun.backends import tree
from cmemrun.keeper import Keeper
from cmemrun.kernel.process import identify
from cmemrun.model import Identity
from tests.clock import Slow
from tests.dispositions import usual  # noqa: F401 (a fixture)
from tests.waiting import PATIENCE_SECONDS, until

pytestmark = pytest.mark.usefixtures("usual")

NO_PROCESS = 2**22  # above every PID (PID_MAX_LIMIT, include/linux/threads.h)


@pytest.fixture
def process() -> Iterator[subprocess.Popen[bytes]]:
    """Somebody to be ended."""
    with subprocess.Popen(["sleep", "1000"]) as found:
        yield found
        found.kill()


def end(keeper: Keeper) -> int:
    """Dismiss it and wait for its end, also where the launcher would not any more; its status."""
    os.close(keeper._pipe)
    statuses: list[int] = []

    def ended() -> bool:
        pid, status = os.waitpid(keeper.pid, os.WNOHANG)
        statuses.append(status)
        return pid != 0

    until("its end", ended)
    return os.waitstatus_to_exitcode(statuses[-1])


def test_what_ends_us_by_name_does_not_end_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Not even where it begins only after we have told it something."""
    setsid = os.setsid
    reading, writing = os.pipe()

    def late() -> None:
        os.read(reading, 1)
        setsid()

    monkeypatch.setattr(os, "setsid", late)
    with Keeper() as keeper:
        # What is told waits for it: a moment later it may begin.
        threading.Timer(0.05, os.write, (writing, b"!")).start()
        keeper.adopt(str(tmp_path / "group"))
        assert Path(f"/proc/{keeper.pid}/comm").read_text() == "memkeeper\n"
        assert os.getsid(keeper.pid) == keeper.pid
    os.close(reading)
    os.close(writing)


def test_one_that_never_begins_holds_nothing_up(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    readable = keeping._readable

    def bounded(fds: tuple[int, ...], seconds: float | None = None) -> set[int]:
        assert seconds is not None, "it would wait for ever"
        return readable(fds, 0.001)

    monkeypatch.setattr(os, "setsid", lambda: os.kill(os.getpid(), signal.SIGKILL))
    monkeypatch.setattr(keeping, "_readable", bounded)
    before = os.listdir("/proc/self/fd")
    with Keeper() as keeper:
        keeper.adopt(str(tmp_path / "group"))
        os.waitid(os.P_PID, keeper.pid, os.WEXITED | os.WNOWAIT)
    assert os.listdir("/proc/self/fd") == before


class Brief:
    """Time that passes only by sleeping, and not without end."""

    def __init__(self) -> None:
        self.sleeps = 0
        self._now = 0.0

    def monotonic(self) -> float:
        return self._now

    def sleep(self, seconds: float) -> None:
        self.sleeps += 1
        assert self.sleeps < 1000, "it would wait for ever"
        self._now += seconds


def test_one_that_is_stopped_is_not_waited_for(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    keeper = Keeper()
    (tmp_path / "group").mkdir()
    keeper.adopt(str(tmp_path / "group"))
    os.kill(keeper.pid, signal.SIGSTOP)
    os.waitid(os.P_PID, keeper.pid, os.WSTOPPED | os.WNOWAIT)
    time = Brief()
    monkeypatch.setattr(keeping, "time", time)
    try:
        keeper.dismiss()
        # A second, which is long for a process that has nothing left to do.
        assert 1.0 <= time.monotonic() < 1.1
    finally:
        os.kill(keeper.pid, signal.SIGCONT)
        os.waitpid(keeper.pid, 0)
    assert not (tmp_path / "group").exists()


def unread(keeper: Keeper) -> int:
    """How many bytes of what it was told it has not read yet."""
    told = fcntl.ioctl(keeper._pipe, termios.FIONREAD, bytes(4))
    return int.from_bytes(told, sys.byteorder)


def test_it_holds_nothing_of_the_launchers() -> None:
    """With a standard output it would keep ``$(cmemrun …)`` waiting."""
    reading, writing = os.pipe()
    keeper = Keeper()
    keeper.watch(set())
    os.close(writing)
    # When it has read what it was told it has done all else.
    until("it listens", lambda: not unread(keeper))
    held = set(os.listdir(f"/proc/{keeper.pid}/fd"))
    assert len(held) <= 2 and not {"0", "1", "2"} & held
    assert os.readlink(f"/proc/{keeper.pid}/cwd") == "/"
    assert os.read(reading, 1) == b""
    os.close(reading)
    assert end(keeper) == 0


def test_launcher_that_ends_without_a_word_leaves_nothing(
    tmp_path: Path, process: subprocess.Popen[bytes]
) -> None:
    known = identify(process.pid)
    assert known is not None
    keeper = Keeper()
    for name in ("a", "b"):
        (tmp_path / name / "inner").mkdir(parents=True)
        keeper.adopt(str(tmp_path / name))
    keeper.watch({known})
    assert end(keeper) == 0
    assert list(tmp_path.iterdir()) == []
    assert process.wait(PATIENCE_SECONDS) == -signal.SIGKILL


@pytest.mark.parametrize(
    "signum", [signal.SIGINT, signal.SIGHUP, signal.SIGTERM, signal.SIGQUIT], ids=str
)
def test_signal_does_not_end_it(signum: signal.Signals, tmp_path: Path) -> None:
    keeper = Keeper()
    (tmp_path / "group").mkdir()
    keeper.adopt(str(tmp_path / "group"))
    os.kill(keeper.pid, signum)
    assert end(keeper) == 0
    assert not (tmp_path / "group").exists()


@pytest.fixture
def busy(tmp_path: Path) -> Path:
    """What keeps a group from being removed for as long as it is there."""
    path = tmp_path / "group" / "busy"
    path.parent.mkdir()
    path.touch()
    return path


def test_process_that_cannot_die_for_minutes_is_waited_for(
    monkeypatch: pytest.MonkeyPatch, busy: Path
) -> None:
    """It hangs in a slow device; meanwhile its group is busy."""
    monkeypatch.setattr(tree, "time", Slow(busy, 5))
    keeper = Keeper()
    keeper.adopt(str(busy.parent))
    assert end(keeper) == 0
    assert not busy.parent.exists()


def test_group_that_cannot_be_removed_is_given_up_at_last(
    monkeypatch: pytest.MonkeyPatch, busy: Path
) -> None:
    monkeypatch.setattr(tree, "time", Slow(busy, 1000))
    keeper = Keeper()
    keeper.adopt(str(busy.parent))
    assert end(keeper) == 1
    assert busy.exists()


def test_message_that_is_read_in_parts_is_understood_whole(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    take = os.read
    monkeypatch.setattr(os, "read", lambda fd, size: take(fd, min(size, 7)))
    keeper = Keeper()
    for name in ("one", "another", "a third"):
        (tmp_path / name).mkdir()
        keeper.adopt(str(tmp_path / name))
    assert end(keeper) == 0
    assert list(tmp_path.iterdir()) == []


def test_message_longer_than_a_pipe_is_understood_whole(
    process: subprocess.Popen[bytes],
) -> None:
    known = identify(process.pid)
    assert known is not None
    many = {Identity(NO_PROCESS + number, 1) for number in range(10_000)}
    keeper = Keeper()
    keeper.watch({known, *many})
    assert end(keeper) == 0
    assert process.wait(PATIENCE_SECONDS) == -signal.SIGKILL


def test_another_process_with_the_number_lives(process: subprocess.Popen[bytes]) -> None:
    known = identify(process.pid)
    assert known is not None
    keeper = Keeper()
    keeper.watch({known._replace(start_ticks=known.start_ticks + 1)})
    assert end(keeper) == 0
    assert identify(process.pid) == known
    assert process.poll() is None


def test_only_those_told_last_are_ended(process: subprocess.Popen[bytes]) -> None:
    """Whoever has ended meanwhile may be another by now."""
    known = identify(process.pid)
    assert known is not None
    keeper = Keeper()
    keeper.watch({known})
    keeper.watch({Identity(NO_PROCESS, 1)})
    assert end(keeper) == 0
    assert process.poll() is None


def test_keeper_that_was_killed_is_no_error(tmp_path: Path) -> None:
    with Keeper() as keeper:
        keeper.adopt(str(tmp_path))
        os.kill(keeper.pid, signal.SIGKILL)
        os.waitid(os.P_PID, keeper.pid, os.WEXITED | os.WNOWAIT)
        keeper.adopt(str(tmp_path))
