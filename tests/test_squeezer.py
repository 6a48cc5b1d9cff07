"""The squeezer writes what makes the kernel reclaim, and leaves no mark behind."""

import errno
from collections.abc import Callable
from pathlib import Path

import pytest

from cmemrun import squeezer as squeezing
from cmemrun.errors import NotOffered
from cmemrun.model import Pressure, Run, Sample
from cmemrun.squeezer import Squeezer
from tests.made_up import RUN

MIB = 2**20


class Steering:
    """Asks for one MiB of each sample of more than one."""

    def __init__(self) -> None:
        self.looked: list[int] = []

    def look(self, sample: Sample) -> int:
        self.looked.append(sample.usage_bytes)
        return MIB if sample.usage_bytes > MIB else 0


def of(group: Path) -> Run:
    return RUN._replace(method=RUN.method._replace(group=str(group)))


def used(mib: int) -> Sample:
    return Sample(0.0, mib * MIB, anon_bytes=0, pressure=Pressure(0.0, 0.0))


Written = list[tuple[str, str]]


def written_to(
    monkeypatch: pytest.MonkeyPatch, refuse: Callable[[str], OSError | None] = lambda _: None
) -> Written:
    """What is written to which file from now on; ``refuse`` says what the kernel refuses."""
    found: Written = []

    def write(path: str, text: str) -> None:
        found.append((Path(path).name, text))
        error = refuse(text)
        if error is not None:
            raise error

    monkeypatch.setattr(squeezing, "write_text", write)
    return found


def by(way: str, group: Path) -> Squeezer:
    """A squeezer that has not begun, of a group in a given way."""
    squeezer = Squeezer()
    squeezer._group, squeezer.way = str(group), way
    return squeezer


def test_memory_reclaim_is_told_how_much(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    written = written_to(monkeypatch)
    squeezer = by("memory.reclaim", tmp_path)
    squeezer._reclaim(MIB)
    assert written == [("memory.reclaim", str(MIB))]


def test_before_linux_5_19_a_mark_is_set_and_taken_away(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "memory.current").write_text(f"{9 * MIB}\n")
    written = written_to(monkeypatch)
    squeezer = by("memory.high", tmp_path)
    squeezer._reclaim(MIB)
    assert written == [("memory.high", str(8 * MIB)), ("memory.high", "max")]
    written.clear()
    squeezer._reclaim(99 * MIB)
    assert written[0] == ("memory.high", "0")


def test_mark_is_taken_away_also_where_it_was_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "memory.current").write_text(f"{9 * MIB}\n")
    busy = OSError(errno.EINTR, "Interrupted system call")
    written = written_to(monkeypatch, refuse=lambda text: None if text == "max" else busy)
    squeezer = by("memory.high", tmp_path)
    with pytest.raises(OSError, match="Interrupted"):
        squeezer._reclaim(MIB)
    assert written[-1] == ("memory.high", "max")


@pytest.mark.parametrize(
    ("number", "goes_on"), [(errno.EAGAIN, True), (errno.EINTR, True), (errno.ENODEV, False)]
)
def test_less_than_was_asked_for_is_no_end(
    number: int, goes_on: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    error = OSError(number, "refused")
    written_to(monkeypatch, refuse=lambda _: error)
    squeezer = by("memory.reclaim", tmp_path)
    if goes_on:
        squeezer._reclaim(MIB)
    else:
        with pytest.raises(OSError, match="refused"):
            squeezer._reclaim(MIB)


@pytest.mark.parametrize(
    ("files", "way"),
    [
        (("memory.reclaim", "memory.high"), "memory.reclaim"),
        (("memory.high",), "memory.high"),
    ],
)
def test_every_sample_is_looked_at_until_the_end(
    files: tuple[str, ...], way: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in files:
        (tmp_path / name).touch()
    (tmp_path / "memory.current").write_text(f"{9 * MIB}\n")
    squeezer = Squeezer()
    steering = Steering()
    monkeypatch.setattr(squeezer, "steering", steering)
    squeezer.begin(of(tmp_path))
    assert squeezer.way == way
    for mib in (1, 1, 9):
        squeezer.sample(used(mib))
    squeezer.close()
    assert steering.looked == [MIB, MIB, 9 * MIB]
    assert not squeezer._thread.is_alive()
    squeezer.close()


def test_group_of_v1_cannot_be_squeezed(tmp_path: Path) -> None:
    squeezer = Squeezer()
    with pytest.raises(NotOffered, match="only a group of cgroup v2"):
        squeezer.begin(of(tmp_path))
    squeezer.close()


def test_sample_is_acted_on_only_where_no_newer_one_waits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written = written_to(monkeypatch)
    squeezer, steering = by("memory.reclaim", tmp_path), Steering()
    monkeypatch.setattr(squeezer, "steering", steering)

    def reclaim(size: int) -> None:
        written.append(("reclaim", str(size)))
        squeezer.sample(used(1))
        squeezer._samples.put(None)

    monkeypatch.setattr(squeezer, "_reclaim", reclaim)
    for mib in (9, 8, 7):
        squeezer.sample(used(mib))
    squeezer._work()
    assert steering.looked == [9 * MIB, 8 * MIB, 7 * MIB, MIB]
    assert written == [("reclaim", str(MIB))]


def test_group_that_has_gone_ends_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    gone = OSError(errno.ENODEV, "No such device")
    written_to(monkeypatch, refuse=lambda _: gone)
    squeezer = by("memory.reclaim", tmp_path)
    monkeypatch.setattr(squeezer, "steering", Steering())
    squeezer.sample(used(9))
    squeezer._work()  # and waits for no more samples
