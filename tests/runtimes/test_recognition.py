"""Runtimes told by files: real ones, everything else, and files made to deceive or to hang us."""

import os
import struct
import subprocess
import sys
import tempfile
import threading
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cmemrun.model import Runtime
from cmemrun.runtimes.recognition import find, recognize
from tests.runtimes import real

ENVIRONMENT = {"PATH": os.environ["PATH"]}


def told(*command: object, **environment: str) -> Runtime | None:
    environment = ENVIRONMENT | environment
    program = find([str(word) for word in command], environment)
    return program and recognize(program, environment)


def executable(path: Path, content: bytes) -> Path:
    path.write_bytes(content)
    path.chmod(0o755)
    return path


@pytest.mark.slow
def test_go_also_stripped_and_wherever_it_is_loaded(tmp_path: Path) -> None:
    stripped = real.go_program(tmp_path, "stripped", "-ldflags=-s -w")
    programs = [stripped, real.go_program(tmp_path, "pie", "-buildmode=pie")]
    for program in programs:
        found = told(program, GOGC="50", GOMEMLIMIT="1GiB")
        assert found and (found.name, found.file) == ("go", program)
        assert found.version and found.version.split(".")[0] == "1"
        assert found.settings == ("GOMEMLIMIT=1GiB", "GOGC=50")
    # A name tells nothing.
    os.rename(stripped, tmp_path / "node")
    renamed = told(tmp_path / "node")
    assert renamed and renamed.name == "go"


def test_node_and_scripts_of_it(tmp_path: Path) -> None:
    node = real.node()
    said = subprocess.run([node, "--version"], capture_output=True, text=True, check=True).stdout
    found = told(node, "app.js", "--max-old-space-size=1")
    assert found == Runtime("node", said.strip().removeprefix("v"), node)
    link = tmp_path / "node"
    link.symlink_to(node)
    path = f"{tmp_path}:{os.environ['PATH']}"
    for line in (f"#!{node}", "#!/usr/bin/env node", "#! /usr/bin/env  -S  node --trace-gc"):
        script = executable(tmp_path / "app", f"{line}\n".encode())
        found = told(script, PATH=path, NODE_OPTIONS="-r x --max_old_space_size=77")
        assert found and (found.name, found.file) == ("node", node)
        assert found.settings == ("--max_old_space_size=77 (NODE_OPTIONS)",)
    script = executable(tmp_path / "app", f"#!{node} --max-old-space-size=9\n".encode())
    found = told(script, "x", PATH=path)
    assert found and found.settings == ("--max-old-space-size=9 (command line)",)
    outer = executable(tmp_path / "outer", f"#!{script}\n".encode())
    assert told(outer) is not None


def test_a_jvm_and_its_options(tmp_path: Path) -> None:
    java = real.java()
    found = told(
        java, "-cp", "-Xmx1m", "-Xmx2g", "-jar", "app.jar", "-Xmx3m", _JAVA_OPTIONS="-Xmx4g"
    )
    assert found and (found.name, found.file) == ("jvm", java)
    assert found.version and found.version in Path(java).parents[1].joinpath("release").read_text()
    assert found.settings == ("-Xmx2g (command line)", "-Xmx4g (_JAVA_OPTIONS)")
    # Its tools are the same launcher; OpenJ9, of which nothing is known here, has it, too.
    tool = told(Path(java).with_name("keytool"))
    assert tool and tool.name == "jvm"
    (tmp_path / "bin").mkdir()
    copy = executable(tmp_path / "bin" / "java", Path(java).read_bytes())
    bare = told(copy)
    assert bare and bare.version is None
    (tmp_path / "release").write_text('JAVA_VERSION="1.8.0_372"\nJVM_VARIANT="Hotspot"\n')
    old = told(copy)
    assert old and old.version == "8.0.372"
    (tmp_path / "release").write_text('JAVA_VERSION="21.0.1"\nJVM_VARIANT="Openj9"\n')
    assert told(copy) is None


def test_dotnet_and_what_its_program_asks_for(tmp_path: Path) -> None:
    dotnet = real.dotnet()
    found = told(dotnet, "--info", DOTNET_GCHeapHardLimit="100")
    assert found == Runtime("dotnet", "3.1.23", dotnet, ("DOTNET_GCHeapHardLimit=100",))
    configuration = (
        b'\xef\xbb\xbf{"runtimeOptions": {"framework": {"version": "8.0.1"},'
        b' "configProperties": {"System.GC.HeapHardLimitPercent": 50, "x": 1}}}'
    )
    (tmp_path / "app.runtimeconfig.json").write_bytes(configuration)
    found = told(dotnet, "exec", tmp_path / "app.dll", "other.dll")
    assert found and found.version == "8.0.1"
    assert found.settings == ("System.GC.HeapHardLimitPercent=50 (runtimeconfig.json)",)
    # A host of the program's own, as `dotnet build` makes it, has the same beside it.
    host = executable(tmp_path / "app", Path(dotnet).read_bytes())
    assert (own := told(host)) and (own.name, own.version) == ("dotnet", "8.0.1")
    settings = b'{"System.GC.HeapHardLimit": "' + b"x" * 100_000 + b'"}'
    (tmp_path / "app.runtimeconfig.json").write_bytes(
        b'{"runtimeOptions": {"frameworks": 5, "configProperties": ' + settings + b"}}"
    )
    assert (own := told(host)) and own.version is None
    assert [len(one) for one in own.settings] == [1001]
    for wrong in (b"{", b"[]", b'{"runtimeOptions": 1}', b"[" * 100_000):
        (tmp_path / "app.runtimeconfig.json").write_bytes(wrong)
        assert (own := told(host)) and own.version is None


def test_a_bundle_is_told_by_its_mark(tmp_path: Path) -> None:
    mark = bytes.fromhex("8b1202b96a612038727b930214d7a03213f5b9e6efae3318ee3b2dce24b36aae")
    bundle = executable(tmp_path / "bundle", elf({b".data": b"\0" * 8 + mark}))
    assert (found := told(bundle)) and (found.name, found.version) == ("dotnet", None)
    other = executable(tmp_path / "other", elf({b".data": mark[:-1]}))
    assert told(other) is None


def elf(sections: dict[bytes, bytes], *, bits: int = 64, order: str = "<") -> bytes:
    """An ELF file of nothing but such sections."""
    names = b"\0" + b"".join(name + b"\0" for name in sections) + b".shstrtab\0"
    contents = [*sections.items(), (b".shstrtab", names)]
    header, entry = {64: ("HHIQQQIHHHHHH", "IIQQQQIIQQ"), 32: ("HHIIIIIHHHHHH", "I" * 10)}[bits]
    entry_bytes, at = struct.calcsize(order + entry), 16 + struct.calcsize(order + header)
    table, body = struct.pack(order + entry, *(0,) * 10), b""
    for name, content in contents:
        place = (names.index(name), 1, 0, 0, at + len(body), len(content), 0, 0, 0, 0)
        table += struct.pack(order + entry, *place)
        body += content
    fields = (2, 62, 1, 0, 0, at + len(body), 0, 64, 0, 0, entry_bytes)
    head = struct.pack(order + header, *fields, len(contents) + 1, len(contents))
    kind = bytes([{64: 2, 32: 1}[bits], {"<": 1, ">": 2}[order], 1])
    return b"\x7fELF" + kind + b"\0" * 9 + head + body + table


BUILD_INFORMATION = b"\xff Go buildinf:\x08\x02" + b"\0" * 16 + b"\x08go1.24.3\0"


@pytest.mark.parametrize("bits", [32, 64])
@pytest.mark.parametrize("order", ["<", ">"])
def test_every_kind_of_machine(tmp_path: Path, bits: int, order: str) -> None:
    content = elf({b".go.buildinfo": BUILD_INFORMATION}, bits=bits, order=order)
    found = told(executable(tmp_path / "prog", content))
    assert found and (found.name, found.version) == ("go", "1.24.3")


def test_versions_of_go(tmp_path: Path) -> None:
    for written, version in (
        (b"\x08\x02" + b"\0" * 16 + b"\x13devel go1.23-abcdef", "1.23"),
        (b"\x08\x02" + b"\0" * 16 + b"\x09go1.26rc2", "1.26rc2"),
        (b"\x08\x02" + b"\0" * 16 + b"\x03go1.24", None),
        (b"\x08\x00" + b"\0" * 100, None),
        (b"", None),
    ):
        content = elf({b".go.buildinfo": b"\xff Go buildinf:" + written})
        found = told(executable(tmp_path / "prog", content))
        assert found and (found.name, found.version) == ("go", version)


def test_everything_else(tmp_path: Path) -> None:
    assert told("sh", "-c", "node app.js") is None
    assert told(sys.executable, "app.py") is None
    assert told("no-such-program") is None
    assert told(tmp_path) is None
    assert told(executable(tmp_path / "empty", b"")) is None
    assert told(executable(tmp_path / "text", b"go1.22 JLI_Launch hostfxr_main")) is None
    assert told(executable(tmp_path / "magic", b"\xff Go buildinf:\x08\x02")) is None
    for line in (
        b"#!",
        b"#!/nowhere/node",
        b"#!/usr/bin/env",
        b"#!/usr/bin/env -S",
        b"#!\xff\n",
        b"#!a\0b",
    ):
        assert told(executable(tmp_path / "script", line)) is None
    loop = tmp_path / "loop"
    assert told(executable(loop, f"#!{loop}\n".encode())) is None


def test_nothing_is_waited_for(tmp_path: Path) -> None:
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo, 0o777)
    assert told(fifo) is None
    script = executable(tmp_path / "script", f"#!{fifo}\n".encode())
    assert told(script) is None
    # Whoever waits to write into it has not been woken.
    writer = threading.Thread(target=lambda: os.close(os.open(fifo, os.O_WRONLY)))
    writer.start()
    assert told(fifo) is None
    writer.join(0.1)
    assert writer.is_alive()
    os.close(os.open(fifo, os.O_RDONLY | os.O_NONBLOCK))
    writer.join()
    assert told("/dev/zero") is None


def test_an_unreadable_one() -> None:
    # Not in pytest's own directory, which only its owner may enter.
    with tempfile.TemporaryDirectory() as directory:
        Path(directory).chmod(0o711)
        prog = executable(Path(directory, "prog"), elf({b".go.buildinfo": BUILD_INFORMATION}))
        assert told(prog) is not None
        prog.chmod(0o111)
        if os.geteuid() == 0:
            os.seteuid(65534)
        try:
            assert told(prog) is None
        finally:
            os.seteuid(os.getuid())


def test_a_file_that_is_read_in_pieces(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pread = os.pread
    monkeypatch.setattr(os, "pread", lambda fd, size, offset: pread(fd, min(size, 7), offset))
    content = elf({b"filler": b"x" * 999, b".go.buildinfo": BUILD_INFORMATION})
    found = told(executable(tmp_path / "prog", content))
    assert found and (found.name, found.version) == ("go", "1.24.3")


def test_a_file_of_a_tebibyte_is_no_work(tmp_path: Path) -> None:
    strings = b"\0_ZN4node5StartEiPPc\0"
    whole = elf({b".dynstr": strings, b".rodata": b"x" * 40})
    at = whole.index(struct.pack("<QQ", whole.index(b"x" * 40), 40))
    lying = whole[: at + 8] + struct.pack("<Q", 2**40) + whole[at + 16 :]
    prog = executable(tmp_path / "prog", lying)
    os.truncate(prog, 2**40)
    found = told(prog)
    assert found and (found.name, found.version) == ("node", None)


@settings(max_examples=300)
@given(st.data())
def test_no_lie_in_a_file_is_an_error(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    whole = bytearray(elf({b".go.buildinfo": BUILD_INFORMATION, b".dynstr": b"\0JLI_Launch\0"}))
    for _ in range(data.draw(st.integers(1, 6))):
        place = data.draw(st.integers(0, len(whole) - 8))
        lie = data.draw(st.sampled_from([b"\xff" * 8, b"\0" * 8, b"\x7f" + b"\xff" * 7, b"\x01"]))
        whole[place : place + len(lie)] = lie
    cut = data.draw(st.integers(0, len(whole)))
    prog = executable(tmp_path_factory.getbasetemp() / "lie", bytes(whole[:cut]))
    found = told(prog)
    assert found is None or found.name in ("go", "jvm")
