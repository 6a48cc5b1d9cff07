"""What the kernel, a manifest or a user says, in any shape: never a wrong value or a crash."""

import json
import os
import random
import shlex
from typing import Any

import pytest
from hypothesis import example
from hypothesis import strategies as st

from cmemrun.analysis.budget import parse_assertion
from cmemrun.analysis.metrics import METRICS, Kind
from cmemrun.commands.budget_file import read_budgets
from cmemrun.commands.manifests import read_pods
from cmemrun.commands.options import values
from cmemrun.commands.options.run import RunOptions
from cmemrun.docker import docker_settings, podman_settings
from cmemrun.docker import parse_size as docker_size
from cmemrun.errors import BadInput, CmemrunError, KernelTextError
from cmemrun.kernel import bpf, oomlog, process
from cmemrun.kernel.files import parse_keyed, parse_limit, parse_pressure, parse_scalar
from cmemrun.kernel.hierarchy import parse_memberships, parse_mounts
from cmemrun.kubernetes.quantity import parse_bytes
from cmemrun.units import parse_duration, parse_size
from tests.hostile.fuzz import fuzz, torn
from tests.kernel.logs import LINUX_4_19, LINUX_6_12, MACHINE, TOGETHER
from tests.kubernetes.pods import POD

pytestmark = pytest.mark.slow

# Whatever the kernel lets stand in a name: all but the end of a line, and NUL.
NAMES = st.binary(min_size=1, max_size=40).map(
    lambda raw: raw.replace(b"\n", b"\r").replace(b"\0", b" ").replace(b"/", b"|")
)
COUNTS = st.integers(0, 2**64 - 1)


def escaped(name: bytes) -> bytes:
    """As ``mangle`` of fs/proc_namespace.c writes it."""
    return b"".join(b"\\%03o" % byte if byte in b" \t\n\\#" else bytes([byte]) for byte in name)


def mount_line(number: int, name: bytes, kind: str) -> bytes:
    options = {"cgroup": b"rw,memory", "cgroup2": b"rw,nsdelegate"}.get(kind, b"rw")
    return b"%d 1 0:%d / /%s rw,relatime shared:1 - %s x %s\n" % (
        number, number, escaped(name), kind.encode(), options,
    )  # fmt: skip


@fuzz(
    st.lists(st.tuples(NAMES, st.sampled_from(["cgroup", "cgroup2", "tmpfs", "fuse.x"]))),
    st.integers(0),
)
def test_mounts_are_read_as_the_kernel_writes_them(told: list[tuple[bytes, str]], at: int) -> None:
    text = b"".join(mount_line(number, *one) for number, one in enumerate(told))
    found = {mount.point: mount.version for mount in parse_mounts(text)}
    expected = {}
    for name, kind in told:  # a later one hides what it covers
        expected["/" + os.fsdecode(name)] = {"cgroup": 1, "cgroup2": 2}.get(kind)
    assert found == {name: version for name, version in expected.items() if version}
    end = at % (len(text) + 1)
    if end and text[end - 1 : end] != b"\n":
        with pytest.raises(KernelTextError):
            parse_mounts(text[:end])


@fuzz(st.dictionaries(st.sampled_from(["", "memory", "cpu", "pids", "name=systemd"]), NAMES))
def test_memberships_are_read_as_the_kernel_writes_them(told: dict[str, bytes]) -> None:
    lines = [b"%d:%s:/%s\n" % (n, key.encode(), told[key]) for n, key in enumerate(told)]
    expected = {key: "/" + os.fsdecode(name) for key, name in told.items()}
    assert parse_memberships(b"".join(lines)) == expected
    assert parse_memberships(b"".join(reversed(lines))) == expected
    for end in range(1, len(b"".join(lines))):
        try:
            found = parse_memberships(b"".join(lines)[:end])
        except KernelTextError:
            continue
        assert found.items() <= expected.items()


@fuzz(st.dictionaries(st.from_regex(rb"[a-z_0-9]{1,20}", fullmatch=True), COUNTS), st.data())
def test_a_torn_file_of_counts_gives_true_ones_or_none(
    told: dict[bytes, int], data: st.DataObject
) -> None:
    lines = [b"%s %d\n" % item for item in told.items()]
    text = b"".join(lines)
    random.Random(len(text)).shuffle(lines)
    assert parse_keyed(b"".join(lines)) == told
    try:
        found = parse_keyed(text[: data.draw(st.integers(0, len(text)))])
    except KernelTextError:
        return
    assert found.items() <= told.items()


@fuzz(COUNTS, COUNTS)
def test_a_torn_number_is_none(first: int, second: int) -> None:
    assert parse_scalar(b"%d\n" % first) == parse_limit(b"%d\n" % first) == first
    pressure = b"some avg10=0.00 avg60=0.00 avg300=0.00 total=%d\nfull avg10=0.00 total=%d\n"
    text = pressure % (first, second)
    assert parse_pressure(text) == (first, second)
    for parse, whole in ((parse_scalar, b"%d\n" % first), (parse_pressure, text)):
        for end in range(len(whole)):
            try:
                found = parse(whole[:end])
            except KernelTextError:
                continue
            # Whole up to the line about all tasks, which there may be none of.
            assert found == (first, None)


@fuzz(NAMES.map(lambda name: name[:15]), COUNTS, st.integers(0, 2**40))
def test_a_name_is_no_line_of_status(name: bytes, rss: int, threads: int) -> None:
    shown = name.replace(b"\\", b"\\\\").replace(b"\n", b"\\n")  # fs/proc/array.c
    text = b"Name:\t%s\nVmRSS:\t%8d kB\nThreads:\t%d\n" % (shown, rss, threads)
    fd = os.memfd_create("status")
    try:
        for end in (len(text), len(text) - len(b"Threads:\t%d\n" % threads), len(text) - 1):
            os.ftruncate(fd, 0)
            os.pwrite(fd, text[:end], 0)
            os.lseek(fd, 0, os.SEEK_SET)
            found = process._kibibytes(f"/proc/self/fd/{fd}")
            whole = text[:end].count(b"\n")
            expected = {"VmRSS": rss, "Threads": threads}
            assert {key: found[key] for key in expected if key in found} == {
                key: expected[key] for key in list(expected)[: whole - 1]
            }
            assert found.keys() - {"Name"} <= expected.keys()
    finally:
        os.close(fd)


LOGS = "\n".join((LINUX_6_12, LINUX_4_19, TOGETHER, MACHINE))


@fuzz(st.lists(st.text(max_size=60)), st.randoms(use_true_random=False))
def test_lines_of_others_do_not_change_what_the_log_says(
    noise: list[str], random: random.Random
) -> None:
    lines = LINUX_6_12.splitlines()
    for text in noise:
        if "oom" not in text and "Killed" not in text:
            lines.insert(random.randrange(len(lines) + 1), text.replace("[", "("))
    assert oomlog.parse(lines) == oomlog.parse(LINUX_6_12.splitlines())


@fuzz(torn(LOGS.encode()), quick=500)
@example(LOGS.replace("        3            -7", "        x            -7").encode())
def test_a_torn_log_tells_of_nobody_who_is_not_in_it(text: bytes) -> None:
    known = {victim.pid for event in oomlog.parse(LOGS.splitlines()) for victim in event.victims}
    for event in oomlog.parse(text.decode("utf-8", "replace").split("\n")):
        for victim in event.victims:
            assert victim.pid in known or str(victim.pid).encode() in text


MAP = ["map_type", "value_size", "max_entries", "memlock", "map_id", "frozen", "map_new"]


@fuzz(st.dictionaries(st.sampled_from(MAP), COUNTS), st.integers(1, 512))
def test_maps_are_read_in_any_order(told: dict[str, int], cpus: int) -> None:
    lines = [f"{name}:\t{number}\n" for name, number in told.items()]
    found = bpf.parse("".join(lines), cpus)
    assert found == bpf.parse("".join(reversed(lines)), cpus)
    if found is None:
        assert not {"map_type", "memlock", "map_id"} <= told.keys()
    else:
        assert (found.id, found.memlock_bytes) == (told["map_id"], told["memlock"])


SIZES = [parse_size, parse_bytes, docker_size]


@fuzz(st.integers(0, 2**40), st.integers(0, 2**40), st.sampled_from(["", "Ki", "Mi", "k", "M"]))
def test_a_larger_size_is_larger(one: int, other: int, unit: str) -> None:
    for parse in SIZES[:2]:
        less, more = (parse(f"{number}{unit}") for number in sorted((one, other)))
        assert (less < more) == (one != other) and less <= more
        assert parse(f"{one}.5{unit}") >= parse(f"{one}{unit}")
    assert docker_size(str(one)) == parse_size(str(one)) == parse_bytes(str(one)) == one


@fuzz(st.integers(0, 10**6), st.integers(0, 10**6), st.sampled_from(["ms", "s", "m"]))
def test_durations_add_up(one: int, other: int, unit: str) -> None:
    both = parse_duration(f"{one}{unit}{other}ms")
    assert both == pytest.approx(parse_duration(f"{one}{unit}") + parse_duration(f"{other}ms"))
    assert (parse_duration(f"{one}{unit}") < parse_duration(f"{other}{unit}")) == (one < other)


@fuzz(st.lists(st.text(min_size=1)))
def test_words_are_split_as_they_were_joined(told: list[str]) -> None:
    try:
        assert values.words(shlex.join(told)) == tuple(told)
    except BadInput:
        assert not told


@fuzz(st.sampled_from(sorted(METRICS)), st.integers(0, 2**50))
def test_an_assertion_is_read_back(name: str, allowed: int) -> None:
    unit = "s" if METRICS[name].kind is Kind.SECONDS else ""
    try:
        found = parse_assertion(f" {name} <= {allowed}{unit} ")
    except BadInput:
        assert allowed >= 10**9 and METRICS[name].kind is not Kind.BYTES
    else:
        assert (found.metric, found.allowed) == (name, allowed)


OPTIONS = {
    "-m": st.integers(0, 2**42).map(str) | st.sampled_from(["1g", "64m", "0", "x", "-1"]),
    "--memory-swap": st.integers(-2, 2**42).map(str) | st.sampled_from(["2g", "-1"]),
    "--memory-reservation": st.integers(0, 2**42).map(str),
    "--oom-score-adj": st.integers(-2000, 2000).map(str),
    "--pids-limit": st.integers(-2, 2**33).map(str) | st.just("9" * 5000),
}


@fuzz(st.fixed_dictionaries({}, optional=OPTIONS), st.randoms(use_true_random=False))
def test_options_of_docker_have_no_order(told: dict[str, str], random: random.Random) -> None:
    pairs = list(told.items())
    shuffled = random.sample(pairs, len(pairs))
    for parse in (docker_settings, podman_settings):
        found: list[object] = []
        for one in (pairs, shuffled):
            try:
                found.append(parse(shlex.join(word for pair in one for word in pair)))
            except BadInput:
                found.append(None)
        assert found[0] == found[1]


PARSERS = [
    *SIZES, parse_duration, parse_assertion, docker_settings, podman_settings, values.words,
    values.growth, values.release, values.factor, values.percent, values.export, values.cpu,
    values.score, values.count, values.probe, values.limit, values.assignment, values.times,
    values.pid, values.interval, values.positive_size,
]  # fmt: skip
PIECES = [
    *(
        "1",
        "0",
        "9" * 400,
        ".",
        "e",
        "E9",
        "-",
        "+",
        "Mi",
        "m",
        "%",
        "=",
        "<=",
        "peak",
        "wall",
        "s",
    ),
    *("max", " ", "'", '"', "\\", "\0", "\ud800", "\u0661", "v1", "--memory", "-m", "csv", "auto"),
]


@fuzz(st.lists(st.sampled_from(PIECES), max_size=8).map("".join) | st.text(max_size=20))
def test_whatever_is_written_is_a_value_or_refused_with_the_next_step(text: str) -> None:
    for parse in PARSERS:
        try:
            parse(text)
        except BadInput as error:
            assert error.message


KINDS: list[Any] = [
    None, True, 0, -1, 1.5, 10**30, "", "x", "1Mi", "10%", "\0", [], ["x"], [[]], {}, {"a": 1},
    ["peak<=1Mi", "x"], "a" * 5000,
]  # fmt: skip


NAMES_IN_A_FILE = [
    *(name.replace("_", "-") for name in RunOptions.__annotations__),
    *("command", "baseline", "tolerance", "no-such"),
]


@fuzz(
    st.dictionaries(st.sampled_from(NAMES_IN_A_FILE), st.sampled_from(KINDS), max_size=3), quick=200
)
def test_a_budget_file_is_understood_or_refused(told: dict[str, Any]) -> None:
    path = f"/proc/self/fd/{(fd := os.memfd_create('budgets'))}"
    lines = [f"{name} = {toml(value)}\n" for name, value in told.items() if value is not None]
    os.write(fd, ("[commands.a]\n" + "".join(lines)).encode())
    try:
        [named] = read_budgets(path)
        assert all(isinstance(word, str) for word in named.command)
    except BadInput as error:
        assert error.message
    finally:
        os.close(fd)


def toml(value: Any) -> str:
    if isinstance(value, dict):
        return "{" + ", ".join(f"{name} = {toml(one)}" for name, one in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(toml, value)) + "]"
    return json.dumps(value)


WORDS = [
    *("kind", "Pod", "List", "spec", "containers", "name", "resources", "limits", "memory", "64Mi"),
    *(": ", "- ", "\n", "\n  ", "\n    ", "{", "}", "[", "]", ", ", "&a ", "*a", "<<: ", "!!int "),
    *("!!binary ", "!!timestamp ", "!!set ", "!!python/name:os.system ", "? ", "|", ">", "'", '"'),
    *(
        "\t",
        "#",
        "%YAML 1.1\n---\n",
        "---\n",
        "...\n",
        "~",
        "0o17",
        "1e999",
        "\ufeff",
        "\x85",
        "\0",
    ),
]


@fuzz(
    st.lists(st.sampled_from(WORDS), max_size=25).map(lambda words: "".join(words).encode())
    | torn(POD.encode())
)
def test_a_manifest_is_understood_or_refused(text: bytes) -> None:
    try:
        for pod in read_pods("pod.yaml", text):
            for one in pod.containers:
                assert one.resources.memory_limit is None or one.resources.memory_limit >= 0
    except BadInput as error:
        assert error.message.startswith("'pod.yaml'")


@fuzz(st.binary(max_size=300))
def test_any_bytes_at_all(raw: bytes) -> None:
    text = os.fsdecode(raw)
    for parse in (parse_mounts, parse_memberships, parse_keyed, parse_scalar, parse_pressure):
        try:
            parse(raw)
        except CmemrunError as error:
            assert isinstance(error, KernelTextError)
    oomlog.parse(text.split("\n"))
    bpf.parse(text, 2)
