"""The conversation with systemd, as fakes: refusal, silence, nonsense."""

import subprocess
from pathlib import Path

import pytest
from pytest_subprocess import FakeProcess

from cmemrun.backends import systemd
from cmemrun.errors import NoGroup
from cmemrun.kernel.hierarchy import Hierarchy, Mount

UNIFIED = Hierarchy((Mount("/sys/fs/cgroup", "/", 2, frozenset()),), {"": "/"})


@pytest.fixture(autouse=True)
def manager(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A machine with systemd, as far as asking it goes."""
    busctl = tmp_path / "busctl"
    busctl.write_text("")
    busctl.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(systemd, "is_manager", lambda: True)


def ask() -> None:
    # Processes that do not exist: systemd is said to have moved nobody.
    systemd.make(UNIFIED, 2**22 + 1, 2**22 + 2, lambda _: None)


def test_what_it_is_asked(fp: FakeProcess) -> None:
    fp.register([fp.any()], stdout='o "/org/freedesktop/systemd1/job/42"\n')
    with pytest.raises(NoGroup, match="has not started"):
        ask()
    [words] = [list(call) for call in fp.calls]
    assert words[0].endswith("busctl")
    assert words[1] in ("--system", "--user") and words[2] == "--timeout=2"
    assert "StartTransientUnit" in words
    unit = words[words.index("ssa(sv)a(sa(sv))") + 1]
    assert unit.startswith("cmemrun-") and unit.endswith(".scope")
    pids = words.index("PIDs")
    assert words[pids : pids + 5] == ["PIDs", "au", "2", str(2**22 + 1), str(2**22 + 2)]
    for name, value in (("Delegate", "true"), ("CollectMode", "inactive-or-failed")):
        assert words[words.index(name) + 2] == value


@pytest.mark.parametrize(
    ("stderr", "reason", "remedy"),
    [
        ("Failed to connect to bus: No medium found\n", "No medium found", "enable-linger"),
        ("Call failed: Unit cmemrun.scope already exists.\n", "already exists", None),
        ("Call failed: \x1b[31mAccess denied\n", "Access denied", None),
        ("", "status 1", None),
    ],
)
def test_a_refusal_is_the_reason(
    fp: FakeProcess, stderr: str, reason: str, remedy: str | None
) -> None:
    fp.register([fp.any()], stderr=stderr, returncode=1)
    with pytest.raises(NoGroup, match=reason) as refusal:
        ask()
    assert (remedy or "") in (refusal.value.hint or "")
    assert bool(refusal.value.hint) is bool(remedy)


@pytest.mark.parametrize(
    "answer", ["", 's "hello"\n', 'o "/org/freedesktop/systemd1/unit/x"\n', "\x00"]
)
def test_nonsense_is_not_taken_for_a_job(fp: FakeProcess, answer: str) -> None:
    fp.register([fp.any()], stdout=answer)
    with pytest.raises(NoGroup, match="something else than a job"):
        ask()


def test_a_bus_that_hangs(fp: FakeProcess) -> None:
    def hang(process: object) -> None:
        raise subprocess.TimeoutExpired("busctl", 2.5)

    fp.register([fp.any()], callback=hang)
    with pytest.raises(NoGroup, match="does not answer within 2 s"):
        ask()


def test_no_busctl_and_no_systemd(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(NoGroup, match="no busctl"):
        ask()
    monkeypatch.setattr(systemd, "is_manager", lambda: False)
    with pytest.raises(NoGroup, match="not the manager"):
        ask()


def test_the_bus_of_somebody_without_a_session(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("DBUS_SESSION_BUS_ADDRESS", raising=False)
    monkeypatch.setattr(systemd.os.path, "exists", lambda path: path.startswith("/run/user/"))
    assert systemd._environment()["DBUS_SESSION_BUS_ADDRESS"].startswith("unix:path=/run/user/")
    monkeypatch.setenv("DBUS_SESSION_BUS_ADDRESS", "unix:path=/mine")
    assert systemd._environment()["DBUS_SESSION_BUS_ADDRESS"] == "unix:path=/mine"
