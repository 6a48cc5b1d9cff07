"""Where the kernel log can be had: the device, else a tool, else nobody tells."""

import errno
import os
import subprocess
from typing import Any

import pytest
from pytest_subprocess import FakeProcess

from cmemrun.kernel.kmsg import KernelLog


@pytest.fixture
def no_device(monkeypatch: pytest.MonkeyPatch) -> None:
    real = os.open

    def refuse(path: Any, *rest: Any, **more: Any) -> int:
        if path == "/dev/kmsg":
            raise PermissionError(errno.EPERM, "Operation not permitted", path)
        return real(path, *rest, **more)

    monkeypatch.setattr(os, "open", refuse)


def test_only_the_kernel_is_heard_and_only_from_now_on() -> None:
    log = KernelLog()
    assert log.source == "/dev/kmsg"
    with open("/dev/kmsg", "w") as device:
        device.write("python invoked oom-killer: as a program says\n")
    assert not any("as a program says" in line for line in log.lines())
    log.close()


def test_records(monkeypatch: pytest.MonkeyPatch) -> None:
    records: list[Any] = [
        b"6,1,1,-;from the kernel\\x1b[31m caf\\xc3\\xa9\\x5cx2d\n SUBSYSTEM=x\n",
        BrokenPipeError(errno.EPIPE, "overwritten"),
        b"14,2,2,-;from a program\n",
        b"nonsense",
        b"3,3,3,-;\\xff\n",
        BlockingIOError(errno.EAGAIN, "no more"),
    ]

    def read(_: int, __: int) -> bytes:
        record = records.pop(0)
        if isinstance(record, Exception):
            raise record
        return bytes(record)

    log = KernelLog()
    monkeypatch.setattr(os, "read", read)
    # As it was said, before the device wrote all but printable ASCII in hexadecimal.
    assert log.lines() == ["from the kernel\x1b[31m caf\u00e9\\x2d", "\\xff"]
    assert not log.is_whole
    log.close()


@pytest.mark.parametrize("other", ["/dev/null", "/etc/hostname"])
def test_something_else_in_its_place(
    monkeypatch: pytest.MonkeyPatch, fp: FakeProcess, other: str
) -> None:
    real = os.open
    monkeypatch.setattr(os, "open", lambda path, flags: real(other, flags))
    log = KernelLog()
    assert (log.source, log.refusal) == (None, "/dev/kmsg: it is not the kernel log")
    fp.register(["dmesg", "--kernel"], stdout="[   12.345] a\n")
    assert log.lines() == ["a"] and log.source == "dmesg"


def test_a_tool_is_asked_before_where_what_was_before_would_be_taken_for_ours(
    no_device: None, fp: FakeProcess
) -> None:
    old = "[ 1.000001] a\n[ 1.000002] x\n"
    fp.register(["dmesg", "--kernel"], stdout=old)
    log = KernelLog(without_earlier=True)
    fp.register(["dmesg", "--kernel"], stdout=old + "[ 1.000003] x\n")
    assert log.lines() == ["x"]
    # The buffer was overwritten meanwhile, and all is new.
    fp.register(["dmesg", "--kernel"], stdout="[ 2.000000] y\n[ 2.000001] z\n")
    assert log.lines() == ["y", "z"]


def test_dmesg_then_the_journal(no_device: None, fp: FakeProcess) -> None:
    log = KernelLog()
    assert log.source is None and "Operation not permitted" in log.refusal
    fp.register(["dmesg", "--kernel"], stdout="[   12.345] a\n[99999.000001] [  1]  b\n")
    assert log.lines() == ["a", "[  1]  b"]
    assert log.source == "dmesg"
    fp.register(["dmesg", "--kernel"], stderr="Operation not permitted", returncode=1)
    journal = "[    1.000000] host kernel: a\n[    1.000001] host kernel: b\n"
    fp.register(["journalctl", fp.any()], stdout=journal)
    assert log.lines() == ["a", "b"]
    assert log.source == "journalctl"


def test_nobody_tells(no_device: None, fp: FakeProcess) -> None:
    def hang(_: object) -> None:
        raise subprocess.TimeoutExpired("dmesg", 5)

    def missing(_: object) -> None:
        raise FileNotFoundError(errno.ENOENT, "No such file or directory")

    fp.register(["dmesg", fp.any()], callback=hang)
    fp.register(["journalctl", fp.any()], callback=missing)
    log = KernelLog()
    assert log.lines() == [] and log.source is None


def test_what_the_kernel_said_before_is_not_told() -> None:
    everything = KernelLog()
    assert everything._fd is not None
    os.lseek(everything._fd, 0, os.SEEK_SET)
    said = everything.lines()
    everything.close()
    log = KernelLog()
    assert len(log.lines()) < len(said)
    log.close()


def test_tool_that_failed_is_not_believed(no_device: None, fp: FakeProcess) -> None:
    fp.register(["dmesg", "--kernel"], stdout="[ 1.000000] half\n", returncode=1)
    fp.register(["journalctl", fp.any()], stdout="[ 1.000000] host kernel: whole\n")
    assert KernelLog().lines() == ["whole"]
