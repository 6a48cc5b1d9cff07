"""``doctor`` tells what is the case, and its status is one that CI can gate on."""

import json
import os
import subprocess
import time
from typing import Any

import pytest
from pytest_subprocess import FakeProcess

from cmemrun import backends, diagnosis
from cmemrun.commands import doctor as command
from cmemrun.diagnosis import Diagnosis, Machine, Place, Proof, Way, _Holder
from cmemrun.errors import NoGroup
from cmemrun.model import Sample
from cmemrun.sampler import Sampler
from tests.conftest import CMEMRUN, ORDINARY, hierarchy_of_memory

pytestmark = pytest.mark.slow

MIB = 2**20


def doctor(*options: str, prefix: tuple[str, ...] = ()) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*prefix, CMEMRUN, "doctor", *options], capture_output=True, text=True, check=False
    )


def test_as_root() -> None:
    done = doctor("--json")
    found = json.loads(done.stdout)
    assert (done.returncode, done.stderr, found["group_possible"]) == (0, "", True)
    mount, own = hierarchy_of_memory()
    directory = f"v{mount.version}"
    assert found["chosen"] == directory and found["place"]["group"] == own
    ways = {way["name"]: way for way in found["ways"]}
    assert set(ways) == {f"delegated-{directory}", "systemd", "v2", "v1", "proc"}
    assert ways[directory]["usable"] and ways[directory]["group"].startswith("/sys/fs/cgroup/")
    for way in ways.values():
        assert way["usable"] or way["reason"]
    assert found["proof"]["passed"] and abs(found["proof"]["anon_bytes"] - 16 * MIB) <= MIB
    assert found["proof"]["backend"] == f"cgroup-{directory}"
    # What it says of the kernel is what a group of ours has.
    for name, offered in found["offers"].items():
        if name.startswith("memory.") and " " not in name and name != "memory.pressure":
            assert offered == os.path.exists(f"{own}/{name}"), name
    assert found["machine"]["kernel"] == os.uname().release


def test_without_the_right_to_a_group() -> None:
    done = doctor("--json", prefix=ORDINARY)
    found = json.loads(done.stdout)
    assert (done.returncode, found["chosen"], found["group_possible"]) == (1, "proc", False)
    assert found["proof"]["passed"] and found["proof"]["backend"] == "proc"
    refused = [way for way in found["ways"] if not way["usable"]]
    assert any("Permission denied" in way["reason"] for way in refused)
    assert any("sudo" in (way["remedy"] or "") for way in refused)


@pytest.mark.parametrize(
    ("where", "status", "words"),
    [("> /dev/full", 125, "No space left"), (">&-", 125, "is closed"), ("| head -c 9", 0, "")],
)
def test_an_output_that_cannot_be_written_is_no_verdict(
    where: str, status: int, words: str
) -> None:
    done = subprocess.run(
        ["bash", "-c", f"set -o pipefail; {CMEMRUN} doctor --json {where}"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == status and words in done.stderr


def test_as_a_person_reads_it() -> None:
    done = doctor()
    assert done.returncode == 0 and "\x1b" not in done.stdout
    for words in ("taken", "kernel ", "overcommit", "the exact peak", "proved with cgroup-v"):
        assert words in done.stdout
    assert max(map(len, done.stdout.splitlines())) <= 80


@pytest.mark.parametrize(
    ("told", "expected"),
    [("podman\n", "podman"), ("none\n", None), ("", None), (None, None)],
)
def test_the_kind_of_container(fp: FakeProcess, told: str | None, expected: str | None) -> None:
    def fail(_: object) -> None:
        raise FileNotFoundError(2, "No such file or directory", "systemd-detect-virt")

    fp.register(
        ["systemd-detect-virt", "--container"],
        stdout=told or "",
        returncode=0 if expected else 1,
        callback=fail if told is None else None,
    )
    assert diagnosis._machine().container == expected


def test_a_container_nobody_can_tell(fp: FakeProcess) -> None:
    def hang(_: object) -> None:
        raise subprocess.TimeoutExpired("systemd-detect-virt", 2)

    fp.register(["systemd-detect-virt", "--container"], callback=hang)
    assert diagnosis._machine().container is None


MACHINE = Machine("6.1", "x86_64", 2, 2**30, 0, None, None, None, None)
PLACE = Place(0, "unified", 2, None, "/evil\x1b]0;x\x07", None)


@pytest.mark.parametrize(
    ("chosen", "anon", "status", "words"),
    [
        ("v2", 16 * MIB + 1000, 0, "proved with"),
        ("v2", 12 * MIB, 1, "NOT RIGHT"),
        ("v2", None, 1, "not proved: no luck"),
        ("proc", 16 * MIB, 1, "as a lower bound only"),
    ],
)
def test_the_verdict(
    monkeypatch: pytest.MonkeyPatch,
    capfd: Any,
    chosen: str,
    anon: int | None,
    status: int,
    words: str,
) -> None:
    proof = Proof(16 * MIB, anon, anon, backend="cgroup-v2", error="no luck")
    ways = (Way("v2", True, group="/x"), Way("proc", True), Way("v1", False, reason="[bold]no"))
    found = Diagnosis("0", MACHINE, PLACE, ways, chosen, (), proof)
    monkeypatch.setattr(command, "examine", lambda: found)
    assert command.doctor(as_json=False) == status
    printed = capfd.readouterr().out
    assert words in printed
    # What somebody else chose neither drives the terminal nor is taken for markup.
    assert "\x1b" not in printed and "[bold]no" in printed
    assert command.doctor(as_json=True) == status
    assert json.loads(capfd.readouterr().out)["chosen"] == chosen


def test_a_proof_that_fails_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise NoGroup("nothing goes")

    monkeypatch.setattr(diagnosis, "measure", refuse)
    proof = diagnosis._prove("v2")
    assert (proof.error, proof.passed) == ("nothing goes", False)


@pytest.mark.parametrize("chosen", ["best", "proc"])
def test_proof_passes_when_the_sampler_comes_late(
    chosen: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on a machine with so much to do that our thread has to wait for a processor."""
    in_time = Sampler._run

    def late(self: Sampler) -> None:
        time.sleep(0.6)
        in_time(self)

    monkeypatch.setattr(Sampler, "_run", late)
    if chosen == "proc":
        monkeypatch.setattr(backends, "ways", lambda *_: ["proc"])
    proof = diagnosis._prove(chosen)
    assert proof.passed, proof
    assert proof.backend is not None and proof.backend.startswith("cgroup") == (chosen == "best")


def test_proof_holds_its_load_longer_when_counters_lag(monkeypatch: pytest.MonkeyPatch) -> None:
    """As those of a kernel that has yet to sum up what many CPUs have counted."""
    true, held = _Holder.sample, []

    def lagging(self: _Holder, sample: Sample) -> None:
        held.append(self._hold_seconds)
        lag = 5 * MIB if self._hold_seconds == 0 and self._load_bytes else 0
        true(self, sample._replace(anon_bytes=(sample.anon_bytes or 0) + lag))

    monkeypatch.setattr(_Holder, "sample", lagging)
    monkeypatch.setattr(diagnosis, "_FLUSH_SECONDS", 0.2)
    proof = diagnosis._prove("best")
    assert proof.passed and set(held) == {0, 0.2}, proof


def test_proof_fails_when_the_load_is_never_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    true = _Holder.sample

    def wrong(self: _Holder, sample: Sample) -> None:
        true(self, sample._replace(anon_bytes=min(sample.anon_bytes or 0, 3 * MIB)))

    monkeypatch.setattr(_Holder, "sample", wrong)
    monkeypatch.setattr(diagnosis, "_LONGEST_HOLD_SECONDS", 0.3)
    monkeypatch.setattr(diagnosis, "_FLUSH_SECONDS", 0.0)
    proof = diagnosis._prove("best")
    assert not proof.passed and proof.anon_bytes is not None and proof.error is None
