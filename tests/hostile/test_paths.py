"""Where all can write, nothing that somebody has laid there leads root elsewhere."""

import json
import os
import pwd
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from cmemrun.commands.output import open_appended, open_output, open_stream
from cmemrun.commands.paths import find_place
from cmemrun.errors import BadInput, OutputError
from tests import warm
from tests.conftest import CMEMRUN, Cmemrun
from tests.hostile.fuzz import IS_LONG

NOBODY = pwd.getpwnam("nobody")

Lay = Callable[[Path, Path], None]


def own(path: Path) -> None:
    os.lchown(path, NOBODY.pw_uid, NOBODY.pw_gid)


def lay_link(path: Path, victim: Path) -> None:
    path.symlink_to(victim)
    own(path)


def lay_name(path: Path, victim: Path) -> None:
    path.hardlink_to(victim)


def lay_fifo(path: Path, victim: Path) -> None:
    os.mkfifo(path, 0o666)
    own(path)


def lay_file(path: Path, victim: Path) -> None:
    path.write_text("")
    path.chmod(0o666)
    own(path)


LAYS = [lay_link, lay_name, lay_fifo, lay_file]


@pytest.fixture(params=[0o1777, 0o777], ids=["sticky", "not sticky"])
def shared(open_path: Path, request: pytest.FixtureRequest) -> Path:
    path = open_path / "shared"
    path.mkdir()
    path.chmod(request.param)
    return path


@pytest.fixture
def victim(tmp_path: Path) -> Iterator[Path]:
    """A file of root's, which is as it was in the end, and nothing new beside it."""
    path = tmp_path / "private" / "victim"
    path.parent.mkdir(mode=0o700)
    path.write_text("precious")
    path.chmod(0o600)
    yield path
    assert path.read_text() == "precious" and os.listdir(path.parent) == ["victim"]
    assert path.stat().st_mode & 0o777 == 0o600 and path.stat().st_uid == 0


@pytest.mark.parametrize("lay", LAYS)
@pytest.mark.parametrize("opened", [open_output, open_stream, open_appended])
def test_what_somebody_laid_is_refused(
    opened: Callable[[str, str], object], lay: Lay, shared: Path, victim: Path
) -> None:
    lay(shared / "run.json", victim)
    with pytest.raises(BadInput, match=r"--json: .* in a directory that all can write to"):
        opened("--json", str(shared / "run.json"))


@pytest.mark.parametrize("opened", [open_output, open_stream])
def test_a_directory_that_is_somebody_elses_link_is_refused(
    opened: Callable[[str, str], object], shared: Path, victim: Path
) -> None:
    lay_link(shared / "reports", victim.parent)
    for path in ("reports/new.json", "reports/victim", "reports/../private/victim"):
        with pytest.raises(BadInput, match="somebody else's link"):
            opened("--json", f"{shared}/{path}")


def test_what_is_in_somebody_elses_directory_there_is_no_better(
    shared: Path, victim: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    theirs = shared / "theirs"
    theirs.mkdir(mode=0o755)
    own(theirs)
    lay_link(theirs / "link", victim)
    lay_link(theirs / "up", victim.parent)
    monkeypatch.chdir(shared)
    for path in (f"{theirs}/link", f"{theirs}/up/new", "theirs/link", "theirs/./../theirs/link"):
        with pytest.raises(BadInput, match="somebody else's link"):
            open_output("--json", path)
    # From inside it, too, where no name leads through what all can write to.
    (theirs / "mine").mkdir()
    for inside, path in ((theirs, "link"), (theirs, "./up/new"), (theirs / "mine", "../link")):
        monkeypatch.chdir(inside)
        for way in (path, f"/proc/self/cwd/{path}"):
            with pytest.raises(BadInput, match="somebody else's link"):
                open_output("--json", way)
    # A new file there does no harm.
    open_output("--json", f"{theirs}/new.json").write("new")
    assert (theirs / "new.json").read_text() == "new"


def test_a_second_name_of_a_link_or_fifo_of_roots_is_no_better(
    shared: Path, victim: Path, tmp_path: Path
) -> None:
    (tmp_path / "link").symlink_to(victim)
    os.link(tmp_path / "link", shared / "link", follow_symlinks=False)
    os.mkfifo(tmp_path / "fifo")
    os.link(tmp_path / "fifo", shared / "fifo")
    for name in ("link", "fifo"):
        with pytest.raises(BadInput, match="second name"):
            open_output("--json", f"{shared}/{name}")


def test_a_chain_of_links_is_looked_at_link_by_link(shared: Path, victim: Path) -> None:
    lay_link(shared / "theirs", victim)
    mine = victim.parent.parent / "mine"
    mine.symlink_to(shared / "theirs")
    with pytest.raises(BadInput, match="'theirs' is somebody else's link"):
        open_output("--json", str(mine))
    mine.unlink()
    mine.symlink_to("mine")
    with pytest.raises(OutputError, match="Too many levels"):
        open_output("--json", str(mine))


def test_ones_own_links_are_followed_everywhere(
    shared: Path, open_path: Path, tmp_path: Path
) -> None:
    (open_path / "real").mkdir()
    (shared / "latest").symlink_to("../real")
    (open_path / "real/run.json").symlink_to("./5.json")
    open_output("--json", f"{shared}/latest/run.json").write("5")
    assert (open_path / "real/5.json").read_text() == "5"
    # Outside of shared directories those of others, too: a home has its owner's.
    home = tmp_path / "home"
    home.mkdir()
    own(home)
    lay_link(home / "run.json", open_path / "real/6.json")
    open_output("--json", str(home / "run.json")).write("6")
    assert (open_path / "real/6.json").read_text() == "6"


def test_links_of_proc_lead_where_no_path_does(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "inner").mkdir()
    monkeypatch.chdir(tmp_path / "inner")
    open_output("--json", f"/proc/self/root{tmp_path}/a").write("a")
    open_output("--json", f"/proc/{os.getpid()}/cwd/../b").write("b")
    assert sorted(os.listdir(tmp_path)) == ["a", "b", "inner"]


@pytest.mark.parametrize("lay", LAYS)
def test_what_is_laid_between_the_look_and_the_writing(
    lay: Lay, shared: Path, victim: Path
) -> None:
    path = shared / "run.json"
    for before in (False, True):
        if before:
            path.write_text("old")
            path.chmod(0o640)
        output = open_output("--json", str(path))
        if before:
            path.unlink()
        lay(path, victim)
        try:
            output.write("new")
        except BadInput as error:
            assert "in a directory that all can write to" in error.message
            assert before
        else:
            # It is ours now, and nothing of it has been taken over.
            assert path.read_text() == "new" and not path.is_symlink()
            assert path.stat().st_uid == os.geteuid() and not path.stat().st_mode & 0o022
        path.unlink()


@pytest.mark.parametrize("option", ["--json", "--record", "-o", "--export=github-summary"])
def test_a_race_of_links_is_not_won(
    option: str, cmemrun: Cmemrun, shared: Path, victim: Path
) -> None:
    """Somebody swaps the name for a link and back, as fast as it goes."""
    path, over = shared / "out", threading.Event()
    made = shared.parent / "made"

    def swap() -> None:
        while not over.is_set():
            for lay in (lay_link, lay_file, lay_fifo):
                lay(made, victim)
                os.rename(made, path)
            path.unlink(missing_ok=True)

    swapping = threading.Thread(target=swap)
    swapping.start()
    try:
        given = [f"{option}={path}"] if "=" in option else [option, str(path)]
        for _ in range(500 if IS_LONG else 4):
            run = cmemrun("-q", *given, "true", document=False, seconds=20)
            assert run.status in (0, 125) and run.stderr.count("\n") == (run.status == 125)
    finally:
        over.set()
        swapping.join()


def test_a_baseline_in_a_shared_directory(shared: Path, victim: Path) -> None:
    lay_link(shared / ".cmemrun", victim.parent)
    done = warm.run(
        [CMEMRUN, "-q", "--save-baseline", "main", "true"],
        cwd=shared,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 125 and "somebody else's link" in done.stderr


def test_the_user_of_a_run_is_whom_it_is_judged_by(cmemrun: Cmemrun, shared: Path) -> None:
    lay_file(shared / "out", shared)
    run = cmemrun("-q", "--json", str(shared / "out"), "--user", "nobody", "true", document=False)
    assert run.status == 0, run.stderr
    assert (shared / "out").stat().st_uid == NOBODY.pw_uid
    assert json.loads((shared / "out").read_text())["user"] == "nobody"


def test_no_descriptor_is_left_where_a_path_leads_nowhere(tmp_path: Path) -> None:
    before = len(os.listdir("/proc/self/fd"))
    for path in (f"{tmp_path}/a/b/c", "/no/such", f"{tmp_path}/../../../../../etc/passwd/x"):
        with pytest.raises(OSError, match=r"No such|Not a directory"):
            find_place(path)
    assert len(os.listdir("/proc/self/fd")) == before
