"""What a program may do to us and with what is ours: root's, and another user's below root."""

import errno
import json
import os
import pwd
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from cmemrun.backends import tree
from cmemrun.commands import output
from cmemrun.errors import OutputError
from tests import warm
from tests.conftest import CMEMRUN, Cmemrun

pytestmark = pytest.mark.slow

NOBODY = pwd.getpwnam("nobody")

# Everything a program can try on whoever started it, and on its own group: what comes of it.
PROBE = r"""
import ctypes, errno, fcntl, glob, json, os, resource, signal, sys, time
libc = ctypes.CDLL(None, use_errno=True)
told = {}
def attempt(name, action):
    try:
        told[name] = repr(action())
    except OSError as error:
        told[name] = errno.errorcode[error.errno]
def call(*arguments):
    if libc.ptrace(*arguments) < 0:
        raise OSError(ctypes.get_errno(), "ptrace")
def write(path, text):
    with open(path, "w") as file:
        file.write(text)
launcher = os.getppid()
keepers = []
for entry in glob.glob("/proc/[0-9]*/stat"):
    try:
        name, _, rest = open(entry).read().partition("(")[2].rpartition(")")
    except OSError:
        continue
    if name == "memkeeper" and int(rest.split()[1]) == launcher:
        keepers.append(int(entry.split("/")[2]))
assert keepers, "no keeper is seen"
for who, pid in (("launcher", launcher), ("keeper", keepers[0])):
    attempt(f"{who} signalled", lambda: os.kill(pid, 0))
    attempt(f"{who} traced", lambda: (call(0x4206, pid, 0, 0), call(17, pid, 0, 0)))
    attempt(f"{who} memory", lambda: open(f"/proc/{pid}/mem", "rb+").close())
    attempt(f"{who} environment", lambda: open(f"/proc/{pid}/environ", "rb").close())
    attempt(f"{who} descriptors", lambda: os.listdir(f"/proc/{pid}/fd"))
    attempt(f"{who} score", lambda: write(f"/proc/{pid}/oom_score_adj", "0"))
    attempt(f"{who} limits", lambda: resource.prlimit(pid, resource.RLIMIT_CORE, (0, 0)))
for group in sys.argv[1:]:
    for name in ("memory.limit_in_bytes", "memory.max", "cgroup.procs", "tasks", "cgroup.kill",
                 "pids.max", "memory.force_empty", "memory.soft_limit_in_bytes"):
        path = f"{group}/{name}"
        if os.path.exists(path):
            attempt(f"group {path}", lambda: os.close(os.open(path, os.O_WRONLY)))
    below, above = f"{group}/below", f"{group}/../cgroup.procs"
    attempt(f"group {below}", lambda: os.rmdir(os.mkdir(below) or below))
    attempt(f"group {above}", lambda: os.close(os.open(above, os.O_WRONLY)))
print(json.dumps({
    "told": told,
    "descriptors": {fd: os.readlink(f"/proc/self/fd/{fd}")
                    for fd in os.listdir("/proc/self/fd") if os.path.exists(f"/proc/self/fd/{fd}")},
    "environment": dict(os.environ),
    "groups": open("/proc/self/cgroup").read(),
    "cwd": os.getcwd(),
    "umask": os.umask(0),
    "dumpable": libc.prctl(3, 0, 0, 0, 0),
    "secure bits": libc.prctl(27, 0, 0, 0, 0),
    "limits": [resource.getrlimit(n) for n in range(16)],
    "status": open("/proc/self/status").read(),
}))
"""


def probe(*options: str, document: Path | None = None, **more: Any) -> dict[str, Any]:
    """What the probe says, run as a program of ours; the group is where it finds itself."""
    find = (
        "set --; for line in $(cat /proc/self/cgroup); do"
        " path=${line#*:}; path=${path#*:};"
        ' for top in /sys/fs/cgroup /sys/fs/cgroup/*; do [ ! -d "$top$path" ] || [ "$path" = / ]'
        ' || case "$path" in *cmemrun-*) set -- "$@" "$top$path";; esac; done; done;'
        ' exec "$python" -S -c "$probe" "$@"'
    )
    outputs = ["--json", str(document)] if document else []
    python = os.path.realpath("/usr/bin/python3")
    done = warm.run(
        [CMEMRUN, "-q", "--limit", "256Mi", *outputs, *options, "--", "sh", "-c", find],
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | {"probe": PROBE, "python": python},
        **more,
    )
    assert done.returncode == 0, done.stderr
    told: dict[str, Any] = json.loads(done.stdout)
    assert any(name.startswith("group ") for name in told["told"]), told
    return told


def test_a_users_program_can_do_nothing_to_us_or_its_group() -> None:
    refused = probe("--user", "nobody")["told"]
    assert set(refused.values()) <= {"EPERM", "EACCES"}, refused


def test_the_same_could_be_done_by_root() -> None:
    """Or the test above could not fail: the most of it is not refused to root's program."""
    done = probe()["told"]
    allowed = [name for name, told in done.items() if told not in ("EPERM", "EACCES")]
    for name in ("launcher signalled", "keeper signalled", "launcher memory", "keeper limits"):
        assert name in allowed, done
    assert any("memory.limit_in_bytes" in name or "memory.max" in name for name in allowed), done


@pytest.mark.parametrize("user", [(), ("--user", "nobody")], ids=["root", "nobody"])
def test_nothing_of_ours_is_in_the_program(user: tuple[str, ...], open_path: Path) -> None:
    open_path.chmod(0o777)
    reading, writing = os.pipe()
    options = ["--record", str(open_path / "record"), "-o", str(open_path / "report"), *user]
    told = probe(*options, document=open_path / "run.json", pass_fds=[writing])
    os.close(reading)
    os.close(writing)
    # The caller's, and the one that it lists them with, which is gone by then. What root has
    # opened is root's.
    passed = set() if user else {str(writing)}
    assert told["descriptors"].keys() == {"0", "1", "2"} | passed
    environment = told["environment"]
    mine = os.environ | {"probe": PROBE}
    own = {"HOME", "USER", "LOGNAME", "SHELL", "XDG_RUNTIME_DIR"} if user else set()
    for name in (environment.keys() | mine.keys()) - own - {"PWD", "OLDPWD", "_", "python"}:
        gone = user and name.startswith(("XDG_", "DBUS_", "XAUTH", "MAIL"))
        assert environment.get(name) == (None if gone else mine.get(name)), name
    assert not [name for name in environment if "CMEMRUN" in name and name not in os.environ]
    assert told["cwd"] == os.getcwd() and told["dumpable"] == 1 and told["secure bits"] == 0
    before = os.umask(0)
    os.umask(before)
    assert told["umask"] == before
    status = dict(line.split(":\t", 1) for line in told["status"].splitlines())
    if user:
        assert re.findall(r"Cap(?:Inh|Prm|Eff|Amb):\t(\w+)", told["status"]) == ["0" * 16] * 4
    assert status["NoNewPrivs"] == "0"  # sudo and ping work as they do for that user
    for name in ("SigBlk", "SigIgn"):
        assert (
            int(status[name], 16) & ~int(re.findall(rf"{name}:\t(\w+)", mine_status())[0], 16) == 0
        )


def mine_status() -> str:
    return Path("/proc/self/status").read_text()


def test_names_are_not_to_be_guessed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """48 bits at least, and what is there already is never taken."""
    assert all(re.fullmatch(r"cmemrun-\d+-[0-9a-f]{12}", tree.fresh_name()) for _ in range(9))
    assert all(re.fullmatch(r"\.cmemrun-[0-9a-f]{16}", output._fresh_name()) for _ in range(9))
    assert len({output._fresh_name() for _ in range(999)} | {tree.fresh_name()}) == 1000
    (tmp_path / "there").mkdir()
    with pytest.raises(FileExistsError):
        tree.create(str(tmp_path / "there"))
    (tmp_path / "victim").write_text("precious")
    (tmp_path / "link").symlink_to("victim")
    monkeypatch.setattr(output, "_fresh_name", lambda: "link")
    real = os.open

    def nameless_refused(path: Any, flags: int, *rest: Any, **more: Any) -> int:
        if flags & os.O_TMPFILE == os.O_TMPFILE:
            raise OSError(errno.EOPNOTSUPP, "as on many file systems")
        return real(path, flags, *rest, **more)

    monkeypatch.setattr(os, "open", nameless_refused)
    with pytest.raises(OutputError, match="File exists"):
        output.open_output("--json", str(tmp_path / "new"))
    assert (tmp_path / "victim").read_text() == "precious"


NAMES = ["typer", "cmemrun", "json", "psutil", "sitecustomize", "rich", "os", "jeepney"]


def test_a_hostile_directory_is_not_where_modules_come_from(tmp_path: Path) -> None:
    for name in NAMES:
        (tmp_path / f"{name}.py").write_text("import posix; posix.system('touch ran')\n")
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").write_text("import posix; posix.system('touch ran')\n")
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    for arguments in (["true"], ["--help"], ["report", "/no/such"], ["--runs", "2", "true"]):
        warm.run(
            [CMEMRUN, *arguments], cwd=tmp_path, env=environment, capture_output=True, check=False
        )
    assert not (tmp_path / "ran").exists()
    # matplotlib would wait for settings, for ever.
    warm.run([CMEMRUN, "-q", "--json", "run.json", "true"], cwd=tmp_path, check=True)
    os.mkfifo(tmp_path / "matplotlibrc")
    for name in ("run.svg", "run.html"):
        plot = [CMEMRUN, "plot", "run.json", "-o", name]
        subprocess.run(plot, cwd=tmp_path, check=True, timeout=60)
        assert (tmp_path / name).exists()
    # It is where python -m looks first: or the test could not fail.
    subprocess.run(
        [sys.executable, "-m", "cmemrun"], cwd=tmp_path, capture_output=True, check=False
    )
    assert (tmp_path / "ran").exists()


EVIL = {
    "core.fsmonitor": "touch ran",
    "core.pager": "touch ran",
    "core.sshCommand": "touch ran",
    "core.hooksPath": "hooks",
    "diff.evil.textconv": "touch ran;:",
    "diff.evil.command": "touch ran;:",
    "filter.evil.smudge": "touch ran",
    "filter.evil.clean": "touch ran",
    "alias.cat-file": "!touch ran",
    "alias.rev-parse": "!touch ran",
    "pager.cat-file": "touch ran",
    "protocol.ext.allow": "always",
    "protocol.file.allow": "always",
}


def git(directory: Path, *arguments: str) -> str:
    who = ["-c", "user.name=x", "-c", "user.email=x@x"]
    done = subprocess.run(
        ["git", *who, *arguments], cwd=directory, check=True, capture_output=True, text=True
    )
    return done.stdout


@pytest.fixture
def repository(open_path: Path, cmemrun: Cmemrun) -> Path:
    """One with a baseline, whose settings run whatever they can."""
    path = open_path / "repository"
    path.mkdir()
    git(path, "init", "--quiet")
    (path / "base.json").write_text(json.dumps(cmemrun("true").document))
    (path / ".gitattributes").write_text("* diff=evil filter=none\n")
    git(path, "add", ".")
    git(path, "commit", "--quiet", "-m", "x")
    for name, value in EVIL.items():
        git(path, "config", name, value)
    return path


def against(repository: Path, name: str, *options: str) -> subprocess.CompletedProcess[str]:
    return warm.run(
        [CMEMRUN, "-q", "--against", name, *options, "true"],
        cwd=repository,
        capture_output=True,
        text=True,
        check=False,
    )


def test_a_repositorys_settings_are_not_carried_out(repository: Path) -> None:
    done = against(repository, "HEAD:base.json")
    assert done.returncode == 0, done.stderr
    assert against(repository, ":base.json").returncode == 0
    for name in ("HEAD:no", "--output=ran:x", "-x:base.json", "HEAD:.", ":base.json\n:x"):
        assert against(repository, name).returncode == 125
    assert not (repository / "ran").exists()


def test_what_is_missing_is_not_fetched(repository: Path) -> None:
    """A partial clone fetches on demand, by a command that its settings name."""
    found = git(repository, "rev-parse", "HEAD:base.json").strip()
    (repository / ".git/objects" / found[:2] / found[2:]).unlink()
    for name, value in {
        "core.repositoryFormatVersion": "1",
        "extensions.partialClone": "origin",
        "remote.origin.promisor": "true",
        "remote.origin.url": f"ext::sh -c touch% {repository}/ran",
    }.items():
        git(repository, "config", name, value)
    done = against(repository, "HEAD:base.json")
    assert done.returncode == 125 and not (repository / "ran").exists(), done.stderr
    # It would be: or the test could not fail.
    asked = ["git", "cat-file", "-s", found]
    subprocess.run(asked, cwd=repository, capture_output=True, check=False)
    assert (repository / "ran").exists()


def test_somebody_elses_repository_is_not_roots(repository: Path) -> None:
    for path in (repository, *repository.rglob("*")):
        os.chown(path, NOBODY.pw_uid, NOBODY.pw_gid)
    done = against(repository, "HEAD:base.json")
    assert done.returncode == 125 and "dubious ownership" in done.stderr
    # As that user it is: git then has that user's rights and home.
    done = against(repository, "HEAD:base.json", "--user", "nobody")
    assert done.returncode == 0, done.stderr


def test_a_large_blob_is_not_read(repository: Path) -> None:
    with open(repository / "large", "wb") as file:
        file.truncate(257 * 2**20)  # more than any document; git stores it compressed
    git(repository, "-c", "core.bigFileThreshold=1", "add", "large")
    git(repository, "commit", "--quiet", "-m", "large")
    done = against(repository, "HEAD:large")
    assert done.returncode == 125 and "larger than any document" in done.stderr


@pytest.mark.parametrize(
    "scheme", ["file:///etc/passwd", "ftp://localhost:1", "data:,x", "gopher://x"]
)
def test_pushing_is_http_and_nothing_else(scheme: str, cmemrun: Cmemrun, tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text(json.dumps(cmemrun("true").document))
    done = cmemrun("report", str(tmp_path / "a.json"), "--push", scheme, document=False)
    assert done.status == 125 and done.stderr.count("\n") == 1


def test_a_redirected_push_goes_nowhere(cmemrun: Cmemrun, tmp_path: Path) -> None:
    import http.server
    import threading

    asked: list[str] = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_PUT(self) -> None:
            asked.append(self.path)
            self.rfile.read(int(self.headers["Content-Length"]))
            self.send_response(307)
            self.send_header("Location", "/elsewhere")
            self.end_headers()

        def log_message(self, format: str, *_: object) -> None:
            pass

    (tmp_path / "a.json").write_text(json.dumps(cmemrun("true").document))
    with http.server.HTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{server.server_port}"
        done = cmemrun("report", str(tmp_path / "a.json"), "--push", url, document=False)
        server.shutdown()
    assert done.status == 125 and "307" in done.stderr
    assert asked == ["/metrics/job/cmemrun"]
