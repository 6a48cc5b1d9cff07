"""What is concluded from the kernel's release, where no file tells."""

import io
import os
from typing import Any

import pytest

from cmemrun.kernel import bpf
from cmemrun.kernel.bpf import charges_maps
from cmemrun.kernel.release import is_older_than


def booted(monkeypatch: pytest.MonkeyPatch, release: str, cmdline: str = "quiet") -> None:
    """Have this be another kernel."""
    told = os.uname_result(("Linux", "host", release, "#1 SMP", "x86_64"))
    monkeypatch.setattr(os, "uname", lambda: told)

    def opened(path: str, **_: Any) -> io.StringIO:
        assert path == "/proc/cmdline"
        return io.StringIO(cmdline + "\n")

    monkeypatch.setattr(bpf, "open", opened, raising=False)


@pytest.mark.parametrize(
    ("release", "older"),
    [
        ("4.19.0-27-amd64", True),
        ("5.9.16", True),
        ("5.10.46", False),
        ("5.10", False),
        ("5.100.1", False),
        ("6.1.176", False),
        ("10.0", False),
        ("mainline", None),
        ("", None),
    ],
)
def test_release_is_compared_by_numbers(
    monkeypatch: pytest.MonkeyPatch, release: str, older: bool | None
) -> None:
    booted(monkeypatch, release)
    assert is_older_than(5, 10) is older


@pytest.mark.parametrize(
    ("release", "cmdline", "charges"),
    [
        ("5.10.46", "quiet", False),
        ("5.11.0", "quiet", True),
        ("6.12.0", "cgroup.memory=nosocket", True),
        ("6.12.0", "quiet cgroup.memory=nobpf", False),
        ("6.12.0", "cgroup.memory=nosocket,nokmem ro", False),
        ("mainline", "quiet", False),
    ],
)
def test_maps_are_charged_since_5_11_unless_booted_without(
    monkeypatch: pytest.MonkeyPatch, release: str, cmdline: str, charges: bool
) -> None:
    booted(monkeypatch, release, cmdline)
    assert charges_maps() is charges
