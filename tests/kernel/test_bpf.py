"""What is said of an eBPF map by the kernels that say it, and by what only looks like one."""

import pytest

from cmemrun.kernel.bpf import parse

HEAD = "pos:\t0\nflags:\t02000002\nmnt_id:\t15\nino:\t1055\n"
# As Linux 5.10, 6.1 and 6.12 print it for an array of 4096 values of 1 KiB.
ARRAYS = [
    HEAD + "map_type:\t2\nkey_size:\t4\nvalue_size:\t1024\nmax_entries:\t4096\n"
    "map_flags:\t0x0\nmemlock:\t4198400\nmap_id:\t7\nfrozen:\t0\n",
    HEAD + "map_type:\t2\nkey_size:\t4\nvalue_size:\t1024\nmax_entries:\t4096\n"
    "map_flags:\t0x0\nmap_extra:\t0x0\nmemlock:\t4227072\nmap_id:\t7\nfrozen:\t0\n",
    HEAD + "map_type:\t2\nkey_size:\t4\nvalue_size:\t1024\nmax_entries:\t4096\n"
    "map_flags:\t0x0\nmap_extra:\t0x0\nmemlock:\t4194568\nmap_id:\t7\nfrozen:\t0\n"
    "owner_prog_type:\t5\nowner_jited:\t1\n",
]


@pytest.mark.parametrize("text", ARRAYS)
def test_an_array(text: str) -> None:
    found = parse(text, cpus=2)
    assert found is not None
    assert (found.id, found.type, found.per_cpu_bytes) == (7, "array", 0)
    assert found.memlock_bytes in (4198400, 4227072, 4194568)


def test_values_for_each_cpu_take_whole_words() -> None:
    text = ARRAYS[2].replace("map_type:\t2", "map_type:\t6").replace(":\t1024", ":\t1021")
    found = parse(text, cpus=3)
    assert found is not None
    assert (found.type, found.per_cpu_bytes) == ("percpu_array", 1024 * 4096 * 3)


def test_a_type_that_is_newer_than_we() -> None:
    found = parse(ARRAYS[2].replace("map_type:\t2", "map_type:\t777"), cpus=2)
    assert found is not None and found.type == "777"


@pytest.mark.parametrize("text", ["", HEAD, ARRAYS[0].replace("map_id", "link_id"), "map_id:\t\n"])
def test_what_is_no_map(text: str) -> None:
    assert parse(text, cpus=2) is None
