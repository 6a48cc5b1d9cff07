"""Run as somebody else, by root: that one's rights, groups, home and files, and no more."""

import ctypes
import errno
import json
import os
import pwd
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import prometheus_client
import pytest

from cmemrun import identity
from cmemrun.errors import BadInput
from cmemrun.identity import User, environment_of, find_user
from tests.conftest import CMEMRUN, Cmemrun

pytestmark = pytest.mark.slow

NOBODY = pwd.getpwnam("nobody")


@pytest.fixture
def home(open_path: Path) -> Path:
    """A directory of nobody's that nobody else may write to."""
    path = open_path / "home"
    path.mkdir(mode=0o755)
    os.chown(path, NOBODY.pw_uid, NOBODY.pw_gid)
    return path


def as_nobody(*command: str, before: tuple[str, ...] = (), **more: Any) -> tuple[int, str, str]:
    done = subprocess.run(
        [*before, CMEMRUN, "-q", "--user", "nobody", *command],
        capture_output=True,
        text=True,
        check=False,
        **more,
    )
    return done.returncode, done.stdout, done.stderr


def test_no_right_of_roots_is_left() -> None:
    _, told, _ = as_nobody("cat", "/proc/self/status")
    status = dict(line.split(":\t", 1) for line in told.splitlines())
    assert status["Uid"].split() == [str(NOBODY.pw_uid)] * 4
    assert status["Gid"].split() == [str(NOBODY.pw_gid)] * 4
    expected = subprocess.run(["id", "-G", "nobody"], capture_output=True, text=True, check=True)
    assert status["Groups"].split() == expected.stdout.split()
    for name in ("CapInh", "CapPrm", "CapEff", "CapAmb"):
        assert int(status[name], 16) == 0, name


def test_not_even_one_that_could_be_inherited() -> None:
    rights = ("setpriv", "--inh-caps=+sys_admin,+dac_override", "--ambient-caps=+sys_admin")
    _, told, _ = as_nobody("grep", "Cap[IPEA]", "/proc/self/status", before=rights)
    assert {line.split()[1] for line in told.splitlines()} == {"0" * 16}


def test_a_keyring_of_roots_is_left_behind() -> None:
    add_key, keyctl = {"x86_64": (248, 250), "aarch64": (217, 219)}[os.uname().machine]
    script = (
        "import ctypes, os, sys\n"
        "call = ctypes.CDLL(None, use_errno=True).syscall\n"
        f"assert call({keyctl}, 1, None) > 0\n"  # a session of its own
        f"assert call({add_key}, b'user', b'cmemrun-secret', b'x', 1, -3) > 0\n"
        "os.execv(sys.argv[1], sys.argv[1:])\n"
    )
    before = (sys.executable, "-c", script)
    as_root = subprocess.run(
        [*before, CMEMRUN, "-q", "cat", "/proc/keys"], capture_output=True, text=True, check=True
    )
    assert "cmemrun-secret" in as_root.stdout
    status, told, _ = as_nobody("cat", "/proc/keys", before=before)
    assert status == 0 and "cmemrun-secret" not in told


def test_its_environment() -> None:
    _, told, _ = as_nobody("env", env=os.environ | {"XDG_RUNTIME_DIR": "/run/user/0"})
    environment = dict(line.split("=", 1) for line in told.splitlines() if "=" in line)
    assert environment["HOME"] == NOBODY.pw_dir
    assert environment["USER"] == environment["LOGNAME"] == "nobody"
    assert environment["PATH"] == os.environ["PATH"]
    assert environment.get("XDG_RUNTIME_DIR") != "/run/user/0"


def test_its_runtime_directory_only_where_it_is_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    user = User("x", os.geteuid(), 0, (), "/home/x", "/bin/sh")
    real = os.stat

    def stat(path: str, **more: Any) -> os.stat_result:
        return real("/proc/self" if str(path).startswith("/run/user/") else path, **more)

    monkeypatch.setattr(os, "stat", stat)
    assert environment_of(user, {})["XDG_RUNTIME_DIR"] == f"/run/user/{os.geteuid()}"
    assert "XDG_RUNTIME_DIR" not in environment_of(user._replace(uid=12345), {})


def test_outputs_are_its_own(cmemrun: Cmemrun, home: Path) -> None:
    document, report = home / "run.json", home / "report.txt"
    options = ["--json", str(document), "-o", str(report), "--user", "nobody"]
    done = cmemrun(*options, "true", document=False)
    assert done.status == 0, done.stderr
    for path in (document, report):
        found = path.stat()
        assert (found.st_uid, found.st_gid) == (NOBODY.pw_uid, NOBODY.pw_gid)
        assert found.st_size


def test_a_link_does_not_lead_root_elsewhere(cmemrun: Cmemrun, home: Path, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("untouched")
    secret.chmod(0o600)
    for name, target in (("a.json", secret), ("b.json", tmp_path / "new")):
        (home / name).symlink_to(target)
        done = cmemrun("--json", str(home / name), "--user", "nobody", "true", document=False)
        assert done.status == 125 and "Permission denied" in done.stderr
    assert secret.read_text() == "untouched" and not (tmp_path / "new").exists()


def test_what_it_may_not_execute_is_not_executed(tmp_path: Path) -> None:
    program = tmp_path / "program"
    program.write_text("#!/bin/sh\n")
    program.chmod(0o700)
    status, _, told = as_nobody(str(program))
    assert status == 126 and "Permission denied" in told


def test_by_number_and_nobody_there(cmemrun: Cmemrun) -> None:
    run = json.loads(as_nobody("--json", "-", "--user", str(NOBODY.pw_uid), "true")[1])
    assert run["user"] == "nobody"
    status, _, told = as_nobody("--user", "no-such-user", "true")
    assert status == 125 and "--user: there is no user 'no-such-user'" in told
    for name in ("", "-1", "99999999999999999999", "4294967294"):
        with pytest.raises(BadInput):
            find_user(name)


def test_only_root_can() -> None:
    other = ("setpriv", "--reuid=1234", "--regid=1234", "--clear-groups")
    status, _, told = as_nobody("true", before=other)
    assert status == 125
    assert "only root can" in told and "sudo" in told


def test_root_without_the_right_to(home: Path) -> None:
    for right in ("setuid", "setgid"):
        less = ("setpriv", f"--bounding-set=-{right}", f"--inh-caps=-{right}")
        for options in ([], ["--json", f"{home}/run.json"]):
            status, _, told = as_nobody(*options, "true", before=less)
            assert status == 125
            assert "cannot become nobody" in told
    assert not list(home.iterdir())


def test_a_keyring_that_cannot_be_left_is_not_kept() -> None:
    class NoKeysLeft:
        """A kernel whose quota of keys is used up."""

        def syscall(self, *_: object) -> int:
            ctypes.set_errno(errno.EDQUOT)
            return -1

    with pytest.raises(OSError, match="quota"):
        identity._leave_keyring(NoKeysLeft())  # type: ignore[arg-type]


def test_root_whose_rights_stay_with_it(home: Path, tmp_path: Path) -> None:
    """With securebits a change of user changes no rights, and they would follow a link."""
    keeping = ("setpriv", "--securebits=+no_setuid_fixup")
    _, told, _ = as_nobody("grep", "Cap[IPEA]", "/proc/self/status", before=keeping)
    assert {line.split()[1] for line in told.splitlines()} == {"0" * 16}
    (home / "file").symlink_to(tmp_path / "new")
    for option in ("--record", "--json", "--output"):
        status, _, told = as_nobody(option, str(home / "file"), "true", before=keeping)
        assert status == 125 and "cannot become nobody" in told
    assert not (tmp_path / "new").exists()


def test_where_only_root_can_read_the_package(home: Path, tmp_path: Path) -> None:
    private = tmp_path / "private"
    shutil.copytree(Path(identity.__file__).parent, private / "cmemrun")
    library = Path(prometheus_client.__file__).parent
    shutil.copytree(library, private / library.name)
    private.chmod(0o700)
    outputs = ["--json", f"{home}/run.json", "-o", f"{home}/report"]
    outputs += ["--export", f"openmetrics={home}/metrics"]
    done = subprocess.run(
        [sys.executable, "-m", "cmemrun", "-q", "--user", "nobody", *outputs, "true"],
        cwd=private,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert len(list(home.iterdir())) == 3
