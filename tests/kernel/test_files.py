import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cmemrun.errors import KernelTextError
from cmemrun.kernel.files import (
    ControlFile,
    parse_keyed,
    parse_limit,
    parse_pressure,
    parse_scalar,
    read_text,
    write_text,
)
from cmemrun.model import UNLIMITED


def test_scalars() -> None:
    assert parse_scalar(b"4096\n") == 4096
    assert parse_limit(b"max\n") is UNLIMITED
    assert parse_limit(b"9223372036854771712\n") == 9223372036854771712


@pytest.mark.parametrize("text", [b"", b"\n", b"max\n", b"-1\n", b"1 2\n", b"1_0\n", b"9" * 30])
def test_no_scalars(text: bytes) -> None:
    with pytest.raises(KernelTextError):
        parse_scalar(text)


def test_keyed_keeps_what_it_does_not_know() -> None:
    assert parse_keyed(b"anon 1\nnews_of_7_2 2\n") == {b"anon": 1, b"news_of_7_2": 2}
    assert parse_keyed(b"") == {}


@pytest.mark.parametrize(
    "text", [b"anon\n", b"anon 1 2\n", b"anon -1\n", b"anon 1", b"anon  1\n", b"\n", b"a x\n"]
)
def test_another_shape_is_an_error(text: bytes) -> None:
    with pytest.raises(KernelTextError):
        parse_keyed(text)


@given(st.binary(max_size=300))
def test_hostile_bytes(text: bytes) -> None:
    for parse in (parse_scalar, parse_limit, parse_keyed):
        try:
            parse(text)
        except KernelTextError:
            continue


@given(
    st.dictionaries(
        st.from_regex(rb"[a-z_][a-z_0-9]{0,20}", fullmatch=True), st.integers(0, 2**64 - 1)
    )
)
def test_what_the_kernel_writes_is_read_back(values: dict[bytes, int]) -> None:
    text = b"".join(b"%s %d\n" % item for item in values.items())
    assert parse_keyed(text) == values


def test_a_file_is_opened_once_and_read_anew(tmp_path: Path) -> None:
    path = tmp_path / "memory.current"
    path.write_text("1\n")
    file = ControlFile(str(path))
    assert file.scalar() == 1
    path.write_text("22\n")
    assert file.scalar() == 22
    file.close()
    assert ControlFile.offered(str(tmp_path / "memory.peak")) is None
    assert read_text(str(tmp_path / "memory.peak")) is None


def test_an_empty_value_never_gets_out(tmp_path: Path) -> None:
    path = tmp_path / "memory.max"
    path.write_text("max\n")
    for empty in ("", "\n", " "):
        with pytest.raises(ValueError, match="empty"):
            write_text(str(path), empty)
    assert path.read_text() == "max\n"
    write_text(str(path), "4096")
    assert os.path.getsize(path) == 4


def test_pressure() -> None:
    text = (
        b"some avg10=0.00 avg60=1.20 avg300=0.00 total=1234\n"
        b"full avg10=0.00 avg60=0.00 avg300=0.00 total=34\n"
    )
    assert parse_pressure(text) == (1234, 34)
    assert parse_pressure(text.splitlines()[0] + b"\n") == (1234, None)
    for strange in (b"", b"full avg10=0 total=1\n", b"some total=x\n"):
        with pytest.raises(KernelTextError):
            parse_pressure(strange)


@pytest.mark.parametrize("text", [b"4096", b"409", b"4096\n4"])
def test_number_that_was_cut_off_is_an_error(text: bytes) -> None:
    with pytest.raises(KernelTextError):
        parse_scalar(text)


def test_file_that_may_not_be_read_is_not_offered(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = os.open

    def refuse(path: str, flags: int) -> int:
        if path.endswith("memory.peak"):
            raise PermissionError(13, "Permission denied", path)
        return real(path, flags)

    monkeypatch.setattr(os, "open", refuse)
    (tmp_path / "memory.peak").write_text("1\n")
    (tmp_path / "memory.max").write_text("1\n")
    assert ControlFile.offered(str(tmp_path / "memory.peak")) is None
    offered = ControlFile.offered(str(tmp_path / "memory.max"))
    assert offered is not None and offered.scalar() == 1
    offered.close()
    with pytest.raises(NotADirectoryError):
        ControlFile.offered(str(tmp_path / "memory.max/x"))
