"""One machine with systemd, four places to be in: each gets the best way there is, and says so."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

PLACE = os.environ["CMEMRUN_TEST_PLACE"]
MIB = 2**20
ALLOCATE = [sys.executable, "examples/allocate.py", "64MiB", "1s"]
BUS = "--system" if PLACE == "root" else "--user"
with_scope = pytest.mark.places("service", "login", "root")


def measure(*arguments: str, prefix: tuple[str, ...] = (), **more: Any) -> dict[str, Any]:
    done = subprocess.run(
        [*prefix, "cmemrun", "--json", "-", "-q", *arguments],
        capture_output=True,
        text=True,
        check=False,
        **more,
    )
    assert "{" in done.stdout, done.stderr
    return json.loads(done.stdout[done.stdout.index("{") :]) | {"stderr": done.stderr}


def units() -> str:
    done = subprocess.run(
        ["systemctl", BUS, "list-units", "--all", "--no-legend", "cmemrun-*"],
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout


def test_a_number_with_its_way_named() -> None:
    measure("--", *ALLOCATE)
    run = measure("--", *ALLOCATE)
    assert run["exit"]["status"] == 0
    if PLACE == "nobus":
        assert run["method"]["backend"] == "proc"
        assert run["method"]["lower_bound"] is True
        assert any("connect to bus" in note for note in run["method"]["notes"])
        assert 64 * MIB <= run["peak_bytes"] <= 85 * MIB
        return
    assert run["method"]["backend"] == "systemd-scope"
    assert (run["method"]["peak_source"], run["method"]["lower_bound"]) == ("kernel", False)
    prefix = () if PLACE == "root" else ("sudo", "-n", "--preserve-env=PYTHONPATH,PATH", "env")
    as_root = measure("--", *ALLOCATE, prefix=prefix)
    assert as_root["method"]["backend"] == "systemd-scope"
    assert abs(run["at_peak"]["anon_bytes"] - as_root["at_peak"]["anon_bytes"]) <= MIB


@pytest.mark.places("nobus")
def test_the_remedy_works_when_followed() -> None:
    refused = subprocess.run(
        ["cmemrun", "--require", "cgroup", "true"], capture_output=True, text=True, check=False
    )
    assert refused.returncode == 125
    assert "sudo loginctl enable-linger $USER" in refused.stderr
    subprocess.run(["sudo", "loginctl", "enable-linger", "nobus"], check=True)
    deadline = time.monotonic() + 60
    # Its directory is there, and not ours, a moment before the bus is.
    while not os.path.exists(f"/run/user/{os.getuid()}/bus"):
        assert time.monotonic() < deadline
        time.sleep(0.2)
    run = measure("--require", "exact", "--", *ALLOCATE)
    assert run["method"]["backend"] == "systemd-scope"
    subprocess.run(["sudo", "loginctl", "disable-linger", "nobus"], check=True)


@with_scope
def test_a_limit_and_its_kill_leave_no_failed_unit() -> None:
    run = measure("--limit", "32Mi", "--", *ALLOCATE)
    assert run["exit"]["signal"] == signal.SIGKILL
    assert run["events"]["oom_kill"] >= 1
    assert run["limits"]["max_bytes"] == 32 * MIB
    deadline = time.monotonic() + 2
    while units():
        assert time.monotonic() < deadline, units()
        time.sleep(0.1)


@with_scope
def test_after_kill_9_the_scope_is_gone(mark: str) -> None:
    for _ in range(3):
        run = subprocess.Popen(["cmemrun", "-q", "--linger", "wait", "sleep", "1000"])
        deadline = time.monotonic() + 60
        while not units():
            assert time.monotonic() < deadline
            time.sleep(0.1)
        time.sleep(1)
        run.kill()
        run.wait()
        deadline = time.monotonic() + 2
        while units():
            assert time.monotonic() < deadline, units()
            time.sleep(0.1)


@pytest.mark.places("service", "login")
def test_a_bus_that_hangs(tmp_path: Path) -> None:
    silent = socket.socket(socket.AF_UNIX)
    silent.bind(str(tmp_path / "bus"))
    silent.listen()
    started = time.monotonic()
    environment = os.environ | {"DBUS_SESSION_BUS_ADDRESS": f"unix:path={tmp_path}/bus"}
    run = measure("true", env=environment)
    assert time.monotonic() - started < 30
    assert run["method"]["backend"] == "proc"
    assert "bus" in run["method"]["notes"][0] or "timed out" in run["method"]["notes"][0]
    silent.close()


@pytest.mark.places("service", "login", "nobus")
def test_no_directory_behind_the_managers_back() -> None:
    run = measure("true")
    assert run["method"]["backend"] in ("systemd-scope", "proc")
