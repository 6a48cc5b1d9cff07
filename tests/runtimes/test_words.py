"""What is said of versions that are not at hand, and of what callers have told them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cmemrun.model import Limits, Runtime
from cmemrun.runtimes import Bounds, bounds_of, title, to_set, under

MIB = 2**20
V1, V2 = Bounds(512 * MIB, unified=False), Bounds(512 * MIB)


def does(name: str, version: str | None, bounds: Bounds, *settings: str) -> str:
    return under(Runtime(name, version, "/prog", settings), bounds).does


@pytest.mark.parametrize(
    ("name", "version", "bounds", "reads"),
    [
        ("jvm", "8.0.181", V1, False),
        ("jvm", "8.0.191", V1, True),
        ("jvm", "17.0.1", V1._replace(whole=False), False),
        ("jvm", "17.0.1", V2._replace(whole=False), True),
        ("jvm", "8.0.362", V2, False),
        ("jvm", "8.0.372", V2, True),
        ("jvm", "9.0.4", V1, False),
        ("jvm", "11.0.15", V1, True),
        ("jvm", "11.0.15", V2, False),
        ("jvm", "11.0.16", V2, True),
        ("jvm", "14.0.2", V2, False),
        ("jvm", "15", V2, True),
        ("jvm", None, V2, True),
        ("node", "18.20.4", V1, False),
        ("node", "20.2.0", V2, False),
        ("node", "20.3.0", V2, True),
        ("node", "20", V2, True),
        ("dotnet", "3.1.32", V1, True),
        ("dotnet", "3.1.32", V2, False),
        ("dotnet", "5.0.0", V2, True),
        ("go", "1.27.3", V2, False),
    ],
)
def test_who_reads_the_limit(name: str, version: str | None, bounds: Bounds, reads: bool) -> None:
    assert ("reads no" in does(name, version, bounds)) is not reads
    if not reads and name in ("jvm", "dotnet"):  # a share of what is not read would be none
        told = to_set(Runtime(name, version, "/prog"), {}, bounds)
        assert told in (
            {"JAVA_TOOL_OPTIONS": "-Xmx384m"},
            {"COMPlus_GCHeapHardLimit": f"{384 * MIB:X}"},
        )


@pytest.mark.parametrize(
    ("version", "mebibytes", "heap"),
    # heap_size_limit as it was measured of 20.20.2, 22.20.0 and 24.19.0.
    [
        ("20.20.2", 64, "259.0 MiB"),
        ("20.20.2", 600, "312.0 MiB"),
        ("22.20.0", 1024, "524.0 MiB"),
        ("22.20.0", 1536, "792.0 MiB"),
        ("24.19.0", 512, "259.0 MiB"),
        ("24.19.0", 600, "348.0 MiB"),
        ("24.19.0", 1536, "864.0 MiB"),
        ("24.19.0", 3000, "1.7 GiB"),
        ("22.20.0", 8192, "2.0 GiB"),
        ("22.20.0", 16384, "4.0 GiB"),
        ("24.19.0", 16384, "4.2 GiB"),
    ],
)
def test_heaps_of_node(version: str, mebibytes: int, heap: str) -> None:
    assert f"at most {heap} " in does("node", version, Bounds(mebibytes * MIB))


@pytest.mark.parametrize(
    ("mebibytes", "heap"),
    [(100, 50), (249, 126), (250, 126), (400, 126), (512, 128), (600, 150), (1000, 250)],
)
def test_heaps_of_a_jvm(mebibytes: int, heap: int) -> None:
    # MaxHeapSize as it was measured of 17.0.15 and 25.0.2.
    assert f"at most {heap}.0 MiB " in does("jvm", "17.0.15", Bounds(mebibytes * MIB))


def test_what_callers_have_told_goes_first() -> None:
    told = (
        ("go", "GOMEMLIMIT=100MiB"),
        ("jvm", "-Xmx100m (command line)"),
        ("jvm", "-XX:MaxRAMPercentage=50.0 (JAVA_TOOL_OPTIONS)"),
        ("node", "--max-old-space-size=100 (NODE_OPTIONS)"),
        ("node", "--max-heap-size=100 (command line)"),
        ("dotnet", "DOTNET_GCHeapHardLimitPercent=0x32"),
        ("dotnet", "System.GC.HeapHardLimit=1000000 (runtimeconfig.json)"),
    )
    for name, setting in told:
        runtime = Runtime(name, "99", "/prog", (setting,))
        assert setting in under(runtime, V2).does
        assert to_set(runtime, {}, V2) == {}
    assert "256.0 MiB" in does("jvm", "17", V2, told[2][1])
    assert "may have" in does("jvm", "17", V2, "@options (command line)")
    assert "256.0 MiB" in does("dotnet", "8.0", V2, told[5][1])
    assert "MORE than the limit" in does("node", "22.1", V2, "--max-old-space-size=999 (x)")
    assert "MORE than the limit" in does("dotnet", "8.0", V2, "DOTNET_GCHeapHardLimit=FFFFFFFF")
    # What does not say how much is no reason to leave it, and what the version does not read.
    assert to_set(Runtime("go", "1.22", "/prog", ("GOGC=50",)), {}, V2) == {"GOMEMLIMIT": "476MiB"}
    assert "GOGC=50" in does("go", "1.22", V2, "GOGC=50")
    old = Runtime("dotnet", "3.1.0", "/prog", ("DOTNET_GCHeapHardLimit=64",))
    assert to_set(old, {}, V1) == {"COMPlus_GCHeapHardLimitPercent": "4B"}


def test_other_options_of_the_caller_stay() -> None:
    for name, variable, ours in (
        ("jvm", "JAVA_TOOL_OPTIONS", "-XX:MaxRAMPercentage=75"),
        ("node", "NODE_OPTIONS", "--max-old-space-size=384"),
    ):
        runtime = Runtime(name, None, "/prog")
        assert to_set(runtime, {variable: "-a -b"}, V2) == {variable: f"-a -b {ours}"}


def test_a_go_that_cannot_be_told() -> None:
    assert to_set(Runtime("go", "1.18.1", "/prog"), {}, V2) == {}
    assert to_set(Runtime("go", None, "/prog"), {}, V2) == {}
    assert "1.19's" in does("go", "1.18.1", V2)


def test_without_a_limit_nothing_is_said() -> None:
    runtime = Runtime("go", "1.22", "/prog")
    assert bounds_of(Limits(), unified=True, memory_bytes=99) is None
    assert under(runtime, None).does == ""
    # One that a later version knows, of a saved run.
    assert under(Runtime("beam", "27", "/prog"), V2).does == ""
    limits = Limits(max_bytes=9, high_bytes=5, low_bytes=0)
    assert bounds_of(limits, unified=True, memory_bytes=99) == Bounds(9, True, 5)
    assert bounds_of(limits, unified=False, memory_bytes=10) == Bounds(9, False, None)
    assert bounds_of(limits, unified=False, memory_bytes=9) is None


WORDS = st.sampled_from(
    (
        *("GOMEMLIMIT=", "GOGC=", "off", "MiB", "-Xmx", "-XX:MaxRAMPercentage=", ".5", "75", "-"),
        *("--max-old-space-size=", "DOTNET_", "COMPlus_", "GCHeapHardLimit", "Percent", "=", "0x"),
        *("9", "ff", "System.GC.HeapHardLimit", " (NODE_OPTIONS)", "\ud800"),
    )
)


@given(
    st.sampled_from(["go", "jvm", "node", "dotnet"]),
    st.text("0123456789._-\u0663", max_size=30),
    st.lists(st.lists(WORDS | st.just("9" * 5000)).map("".join), max_size=3),
    st.integers(1, 2**63),
    st.booleans(),
)
def test_nothing_that_is_told_is_an_error(
    name: str, version: str, told: list[str], limit_bytes: int, unified: bool
) -> None:
    runtime = Runtime(name, version, "/prog", tuple(told))
    bounds = Bounds(limit_bytes, unified, 4096)
    assert under(runtime, bounds).does.startswith(title(runtime))
    for value in to_set(runtime, {}, bounds).values():
        assert value and "\0" not in value


def test_node_goes_by_the_lower_of_both_limits() -> None:
    soft = Bounds(900 * MIB, soft_bytes=600 * MIB)
    assert "at most 348.0 MiB " in does("node", "24.19.0", soft)
    assert "soft limit of 600.0 MiB" in does("node", "24.19.0", soft)
    above = Bounds(600 * MIB, soft_bytes=900 * MIB)
    assert does("node", "24.19.0", above) == does("node", "24.19.0", Bounds(600 * MIB))


def test_dotnet_takes_20_mib_of_any_limit() -> None:
    # Three quarters are more from 27 MiB on.
    assert "within 20.0 MiB of 16.0 MiB" in does("dotnet", "8.0.1", Bounds(16 * MIB))
    assert "within 24.0 MiB of 32.0 MiB" in does("dotnet", "8.0.1", Bounds(32 * MIB))


@pytest.mark.parametrize(
    ("version", "bounds", "name"),
    [
        ("3.1.0", V1, "COMPlus_GCHeapHardLimitPercent"),
        ("3.1.0", V2, "COMPlus_GCHeapHardLimit"),
        ("5.0.0", V2, "COMPlus_GCHeapHardLimitPercent"),
        ("6.0.0", V2, "DOTNET_GCHeapHardLimitPercent"),
    ],
)
def test_variable_of_dotnet_by_version(version: str, bounds: Bounds, name: str) -> None:
    [found] = to_set(Runtime("dotnet", version, "/prog"), {}, bounds)
    assert found == name


@pytest.mark.parametrize(
    ("told", "above"),
    [("513MiB", True), ("512MiB", False), ("536870913", True), ("536870912B", False)],
)
def test_go_told_more_than_the_limit(told: str, above: bool) -> None:
    words = does("go", "1.22", V2, f"GOMEMLIMIT={told}")
    assert ("which is above the limit of 512.0 MiB" in words) is above
