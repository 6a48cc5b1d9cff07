"""Many runs, one after the other and all at once: nothing grows, and none is in another's way."""

import json
import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

import cmemrun
from cmemrun import Limits
from tests.api.conftest import groups_of
from tests.conftest import CMEMRUN, groups, hierarchy_of_memory, processes
from tests.waiting import PATIENCE_SECONDS, until

pytestmark = pytest.mark.slow

LONG = bool(os.environ.get("CMEMRUN_TEST_LONG"))
COUNT = 10_000 if LONG else 100
MIB = 2**20


def held_by_the_machine() -> dict[str, int]:
    """What a run that does not clean up would have more of each time."""
    table = (line.split() for line in Path("/proc/cgroups").read_text().splitlines()[1:])
    _, own = hierarchy_of_memory()
    return {
        # Those that are gone and still charged for something, too.
        **{f"groups of {name}": int(count) for name, _, count, _ in table},
        "groups below ours": sum(len(names) for _, names, _ in os.walk(own)),
        # By the hundreds even where nobody does anything: they tell of many runs only.
        **({"files": int(Path("/proc/sys/fs/file-nr").read_text().split()[0])} if LONG else {}),
        "processes": sum(name.isdigit() for name in os.listdir("/proc")),
    }


def test_runs_in_a_row(record_property: Callable[[str, object], None]) -> None:
    def run() -> None:
        assert cmemrun.measure(["true"], limits=Limits(max="64Mi")).exit.status == 0

    run()
    before = held_by_the_machine()
    for _ in range(COUNT):
        run()
    me = psutil.Process()
    until("nothing of them is left", lambda: not groups_of(me.pid) and not me.children())

    def grown() -> dict[str, int]:
        now = held_by_the_machine().items()
        more = {name: count - before.get(name, 0) for name, count in now}
        # What others on this machine do meanwhile comes and goes.
        return {name: one for name, one in more.items() if one >= (500 if name == "files" else 50)}

    # The kernel takes groups apart a moment after they are removed.
    until("nothing of them is held", lambda: not grown(), every=0.1)
    record_property("faults", COUNT)


def test_fifty_at_once(
    mark: str, tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    before = groups()
    script = "dd if=/dev/zero of=/dev/null bs=$1M count=1 status=none; sleep 0.2; exit $1"
    runs = [
        subprocess.Popen(
            [CMEMRUN, "-q", "--json", f"{size}.json", "--", "sh", "-c", script, "sh", str(size)],
            cwd=tmp_path,
            stdin=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        for size in range(1, 51)
    ]
    for size, run in enumerate(runs, 1):
        _, said = run.communicate(timeout=PATIENCE_SECONDS)
        assert (run.returncode, said) == (size, "")
        measured = json.loads((tmp_path / f"{size}.json").read_text())
        peak, resolution = measured["peak_bytes"], measured["method"]["resolution_bytes"]
        assert not measured["method"]["lower_bound"]
        assert size * MIB <= peak <= size * MIB + 3 * MIB + resolution, size
    until("nothing of them is left", lambda: (groups() - before, processes(mark)) == (set(), {}))
    record_property("faults", len(runs))
