"""Outputs: tried before the program, complete or as before, and never over what is not ours."""

import contextlib
import json
import os
import socket
import stat
import subprocess
import threading
from pathlib import Path
from typing import Any

import pytest

from cmemrun.commands.output import open_appended, open_output
from cmemrun.errors import BadInput, OutputError
from tests.conftest import CMEMRUN
from tests.running import call_cmemrun
from tests.waiting import PATIENCE_SECONDS, until


def names(directory: Path) -> list[str]:
    return sorted(entry.name for entry in directory.iterdir())


@pytest.fixture(params=["nameless", "named"])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """With a file that has no name until it is done, and as on file systems that have none."""
    if request.param == "named":
        real = os.open

        def refusing(path: Any, flags: int, *rest: Any, **more: Any) -> int:
            if flags & os.O_TMPFILE == os.O_TMPFILE:
                raise OSError(95, "Operation not supported")
            return real(path, flags, *rest, **more)

        monkeypatch.setattr(os, "open", refusing)
    return str(request.param)


def test_a_new_file_appears_whole(tmp_path: Path, way: str) -> None:
    path = tmp_path / "run.json"
    output = open_output("--json", str(path))
    assert names(tmp_path) == []
    output.write("x" * 100_000)
    assert path.read_text() == "x" * 100_000
    assert names(tmp_path) == ["run.json"]
    umask = os.umask(0)
    os.umask(umask)
    assert stat.S_IMODE(path.stat().st_mode) == 0o666 & ~umask


def test_an_old_file_is_replaced_and_keeps_its_mode(tmp_path: Path, way: str) -> None:
    path = tmp_path / "run.json"
    path.write_text("old")
    path.chmod(0o640)
    before = path.stat().st_ino
    output = open_output("--json", str(path))
    assert path.read_text() == "old"
    output.write("new")
    assert path.read_text() == "new"
    assert path.stat().st_ino != before
    assert stat.S_IMODE(path.stat().st_mode) == 0o640
    assert names(tmp_path) == ["run.json"]


def test_a_failure_leaves_the_old_file(
    tmp_path: Path, way: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "run.json"
    path.write_text("old")
    output = open_output("--json", str(path))

    def full(fd: int, data: Any) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "write", full)
    with pytest.raises(OutputError, match="No space left"):
        output.write("new")
    assert path.read_text() == "old"
    assert names(tmp_path) == ["run.json"]


def test_a_bad_path_costs_nothing(tmp_path: Path) -> None:
    listening = socket.socket(socket.AF_UNIX)
    listening.bind(str(tmp_path / "socket"))
    listening.close()
    for path in (
        "",
        f"{tmp_path}/new/",
        f"{tmp_path}/socket",
        f"{tmp_path}/{'é' * 200}",
        "/no/such/directory/x",
        str(tmp_path),
        "/proc/x",
        "/dev/fd/99",
        "/dev/null/x",
    ):
        with pytest.raises(OutputError, match="--json: cannot write"):
            open_output("--json", path)
    reading = os.open(os.devnull, os.O_RDONLY)
    with pytest.raises(OutputError, match="reading only"):
        open_output("--json", f"/dev/fd/{reading}")
    os.close(reading)


def test_a_fifo_a_device_and_a_descriptor(tmp_path: Path) -> None:
    open_output("--json", "/dev/null").write("gone")
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    output = open_output("--json", str(fifo))
    got: list[str] = []
    reader = threading.Thread(target=lambda: got.append(fifo.read_text()))
    reader.start()
    output.write("through")
    reader.join()
    assert got == ["through"]
    reading, writing = os.pipe()
    open_output("--json", f"/dev/fd/{writing}").write("piped")
    assert os.read(reading, 99) == b"piped"
    os.close(reading)
    os.close(writing)


def test_links(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    link = tmp_path / "latest.json"
    link.symlink_to("real/5.json")
    open_output("--json", str(link)).write("5")
    assert link.is_symlink() and (tmp_path / "real/5.json").read_text() == "5"


@pytest.mark.parametrize(
    ("path", "meant"),
    [
        ("../x", "a/x"),
        ("../../x", "x"),
        ("../../../x", "../x"),
        ("../b/../x", "a/x"),
        ("./../../a/./x", "a/x"),
        ("up/x", "x"),
        ("/../{top}/x", "x"),
    ],
)
def test_relative_paths_mean_what_they_mean_to_the_kernel(
    path: str, meant: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    top = tmp_path / "top"
    (top / "a/b").mkdir(parents=True)
    (top / "a/b/up").symlink_to("../../")
    monkeypatch.chdir(top / "a/b")
    given = path.format(top=top)
    open_output("--json", given).write("here")
    assert (top / meant).read_text() == "here"
    assert Path(given).samefile(top / meant)


def test_no_descriptor_is_left_where_it_is_refused(tmp_path: Path) -> None:
    (tmp_path / "directory").mkdir()
    (tmp_path / "there").write_text("")
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(5):
        with pytest.raises(OutputError, match="directory"):
            open_output("--json", str(tmp_path / "directory"))
        for name in ("there", "new"):
            open_appended("--export", str(tmp_path / name)).close()
    assert len(os.listdir("/proc/self/fd")) == before


def test_no_links_that_somebody_else_laid_out(tmp_path: Path) -> None:
    shared = tmp_path / "tmp"
    shared.mkdir()
    shared.chmod(0o1777)
    victim = tmp_path / "victim"
    victim.write_text("precious")
    link = shared / "run.json"
    link.symlink_to(victim)
    os.lchown(link, 12345, 12345)
    with pytest.raises(BadInput, match="somebody else's link"):
        open_output("--json", str(link))
    assert victim.read_text() == "precious"


def test_a_file_swapped_for_a_link_meanwhile_is_not_followed(tmp_path: Path, way: str) -> None:
    victim = tmp_path / "victim"
    victim.write_text("precious")
    path = tmp_path / "run.json"
    path.write_text("old")
    output = open_output("--json", str(path))
    path.unlink()
    path.symlink_to(victim)
    output.write("new")
    assert victim.read_text() == "precious"
    assert not path.is_symlink() and path.read_text() == "new"


def test_a_mount_point_is_written_where_it_is(tmp_path: Path) -> None:
    backing, point = tmp_path / "backing", tmp_path / "point"
    backing.write_text("old, and longer")
    point.write_text("")
    subprocess.run(["mount", "--bind", str(backing), str(point)], check=True)
    try:
        open_output("--json", str(point)).write("new")
        assert backing.read_text() == "new"
    finally:
        subprocess.run(["umount", str(point)], check=True)
    assert names(tmp_path) == ["backing", "point"]


def test_process_substitution_and_redirection(tmp_path: Path) -> None:
    script = f"{CMEMRUN} -q --json >(cat > {tmp_path}/a) -- echo hi"
    subprocess.run(["bash", "-c", script], check=True, stdout=subprocess.DEVNULL)
    until("cat has ended", lambda: (tmp_path / "a").read_text().endswith("}\n"))
    assert json.loads((tmp_path / "a").read_text())["schema"] == 1
    script = f"{CMEMRUN} -q --json /dev/stdout -- echo hi > {tmp_path}/b"
    subprocess.run(["bash", "-c", script], check=True)
    first, rest = (tmp_path / "b").read_text().split("\n", 1)
    assert first == "hi" and json.loads(rest)["schema"] == 1


def test_the_longest_name_there_is(tmp_path: Path, way: str) -> None:
    path = tmp_path / ("é" * 127)
    open_output("--json", str(path)).write("new")
    open_output("--json", str(path)).write("newer")
    assert path.read_text() == "newer" and names(tmp_path) == [path.name]


def test_two_outputs_are_two(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("")
    (tmp_path / "b").symlink_to("a")

    def status(*arguments: str) -> int:
        done = call_cmemrun(*arguments, "true", cwd=tmp_path, text=False)
        return done.returncode

    assert status("--json", "a", "-o", "b") == 125
    assert status("--json", "c", "-o", "./c") == 125
    assert status("--json", "-", "-o", "/dev/stdout") == 125
    assert status("--json", "/dev/null", "-o", "/dev/null") == 0
    assert status("--json", "c", "-o", "d") == 0


def test_a_closed_output_is_refused_before_the_start(tmp_path: Path) -> None:
    script = f"{CMEMRUN} --json - touch {tmp_path}/ran >&-"
    done = subprocess.run(["sh", "-c", script], capture_output=True, text=True, check=False)
    assert done.returncode == 125 and "it is closed" in done.stderr
    assert names(tmp_path) == []


def test_a_pipe_that_does_not_wait(tmp_path: Path) -> None:
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    got: list[bytes] = []

    def read() -> None:
        while part := os.read(reading, 4096):
            got.append(part)

    reader = threading.Thread(target=read)
    reader.start()
    open_output("--json", f"/dev/fd/{writing}").write("x" * 1_000_000)
    # The output has a copy of its own, as every run in one process may have.
    os.close(writing)
    for fd in map(int, os.listdir("/proc/self/fd")):
        with contextlib.suppress(OSError):
            if fd != reading and os.path.sameopenfile(fd, reading):
                os.close(fd)
    reader.join(PATIENCE_SECONDS)
    assert sum(map(len, got)) == 1_000_000
    os.close(reading)


def test_a_full_disk_loses_neither_status_nor_report() -> None:
    for code, expected in ((0, 125), (3, 3)):
        done = call_cmemrun("--json", "/dev/full", "sh", "-c", f"exit {code}")
        assert done.returncode == expected
        assert "No space left" in done.stderr and "high-water mark" in done.stderr
    unread = subprocess.run(["bash", "-c", f"{CMEMRUN} sh -c 'exit 4' 2> /dev/full"], check=False)
    assert unread.returncode == 4
