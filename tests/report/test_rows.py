"""What the tables of a report hold: each number from its own moment."""

from cmemrun.model import Composition, Peaks, Sample, Setting
from cmemrun.report import rows
from tests.made_up import MIB, RUN


def test_each_size_at_the_peak_at_exit_and_at_its_own_highest() -> None:
    run = RUN._replace(
        peak_bytes=10 * MIB,
        at_peak=Sample(1.0, 9 * MIB, anon_bytes=4 * MIB, inactive_file_bytes=2 * MIB),
        at_exit=Sample(3.0, 5 * MIB, anon_bytes=MIB),
        peaks=Peaks(working_set_bytes=8 * MIB, anon_bytes=6 * MIB),
        at_peak_working_set=Sample(2.0, 8 * MIB),
        at_peak_anon=None,
    )
    found = {label: row for label, *row in rows.sizes(run)}
    assert found["usage"] == ["9.0 MiB", "5.0 MiB", "10.0 MiB", "1.00 s"]
    assert found["working set"] == ["7.0 MiB", "n/a", "8.0 MiB", "2.00 s"]
    assert found["anon"] == ["4.0 MiB", "1.0 MiB", "6.0 MiB", ""]
    assert found["swap"] == ["n/a", "n/a", "n/a", ""]


def test_inside_names_what_is_a_hundredth_of_the_peak() -> None:
    composition = Composition(file_mapped_bytes=MIB, file_dirty_bytes=MIB - 1)
    at_peak = Sample(1.0, 100 * MIB, shmem_bytes=2 * MIB, sock_bytes=0, composition=composition)
    run = RUN._replace(peak_bytes=100 * MIB, at_peak=at_peak)
    assert rows.inside(run) == "shared memory 2.0 MiB, mapped files 1.0 MiB"


def test_method_says_how_often_usage_was_read() -> None:
    def told(count: int | None, every: float | None) -> str:
        return rows.method(
            RUN._replace(method=RUN.method._replace(probe_count=count, probe_seconds=every))
        )

    assert told(99, 0.004).endswith("refresh 500 ms, usage looked at 99 times in between")
    assert told(0, None).endswith("refresh 500 ms, nothing in between")
    assert told(None, None).endswith("refresh 500 ms")


def test_other_tools_are_shown_for_a_container() -> None:
    assert rows.shown_by(RUN) == ""
    shown = rows.shown_by(RUN._replace(rules=(Setting("memory.max", "1", "a rule", "a source"),)))
    assert "kubectl top 90.0 MiB" in shown and "n/a" not in shown
