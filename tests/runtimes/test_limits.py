"""What is said of Go and .NET is what they do: asked of real ones under real limits."""

from pathlib import Path

import pytest

from tests.conftest import Cmemrun, hierarchy_of_memory
from tests.runtimes import real
from tests.runtimes.real import MIB

INVARIANT = {"DOTNET_SYSTEM_GLOBALIZATION_INVARIANT": "1"}


@pytest.mark.slow
def test_go(cmemrun: Cmemrun, tmp_path: Path) -> None:
    program = real.go_program(tmp_path, "prog")
    alone = cmemrun("--limit", "512Mi", program)
    assert int(alone.stdout) == 2**63 - 1  # it has not read it
    assert "GOMEMLIMIT=476MiB would" in alone["runtime"]["does"]
    assert alone["runtime"]["environment"] == {}
    told = cmemrun("--limit", "512Mi", "--runtime-env", program)
    assert int(told.stdout) == 476 * MIB
    assert 0.05 <= 1 - 476 / 512 <= 0.10
    assert told["runtime"]["environment"] == {"GOMEMLIMIT": "476MiB"}
    assert "runtime      Go 1." in told.stderr and "has set GOMEMLIMIT=476MiB" in told.stderr


@pytest.mark.slow
def test_go_that_has_been_told_already(
    cmemrun: Cmemrun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = real.go_program(tmp_path, "prog")
    monkeypatch.setenv("GOMEMLIMIT", "600MiB")
    told = cmemrun("--limit", "512Mi", "--runtime-env", program)
    assert int(told.stdout) == 600 * MIB
    assert "above the limit" in told["runtime"]["does"]
    assert told["runtime"]["environment"] == {}
    assert any("has set nothing" in note for note in told["method"]["notes"])


def test_dotnet(cmemrun: Cmemrun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = [real.dotnet(), real.dotnet_program(tmp_path)]
    for name, value in INVARIANT.items():
        monkeypatch.setenv(name, value)
    for limit, heap in (("64Mi", 48), ("512Mi", 384)):
        alone = cmemrun("--limit", limit, "--", *program)
        if hierarchy_of_memory()[0].version == 1:
            assert int(alone.stdout) == heap * MIB
            assert f" {heap}.0 MiB of" in alone["runtime"]["does"]
        else:  # .NET Core 3.1 knows nothing of it
            assert int(alone.stdout) > 512 * MIB
            assert "reads no limit of cgroup v2" in alone["runtime"]["does"]
        told = cmemrun("--limit", limit, "--runtime-env", "--", *program)
        assert int(told.stdout) == heap * MIB
        assert f" {heap}.0 MiB by COMPlus_" in told["runtime"]["does"]
    monkeypatch.setenv("COMPlus_GCHeapHardLimit", "0x2000000")
    told = cmemrun("--limit", "512Mi", "--", *program)
    assert int(told.stdout) == 32 * MIB and " 32.0 MiB by COMPlus_" in told["runtime"]["does"]
