"""Kubernetes' grammar of quantities, as its own tests have it (quantity_test.go)."""

import contextlib
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cmemrun.errors import BadInput
from cmemrun.kubernetes.quantity import format_bytes, parse_bytes, parse_quantity


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("0", 0),
        ("512Mi", 512 * 2**20),
        ("1.5Gi", 3 * 2**29),
        (".5Ki", 512),
        ("1.", 1),
        ("100k", 100_000),
        ("1E", 10**18),
        ("1E3", 1000),
        ("1e3", 1000),
        ("12e-1", Fraction(6, 5)),
        ("500m", Fraction(1, 2)),
        ("3u", Fraction(3, 10**6)),
        ("+7", 7),
        ("-1", -1),
    ],
)
def test_values(text: str, value: Fraction | int) -> None:
    assert parse_quantity(text) == value


@pytest.mark.parametrize(
    "text",
    [
        "",
        "K",
        "1K",
        "1mi",
        "1MI",
        "1B",
        "1MB",
        "1 Mi",
        "Mi",
        "1.2.3",
        "0x10",
        "1e",
        "\u0661Mi",
        "9" * 99,
    ],
)
def test_what_is_none(text: str) -> None:
    with pytest.raises(BadInput):
        parse_quantity(text)


def test_bytes_are_rounded_up() -> None:
    assert parse_bytes("512m") == 1  # what somebody meant as 512Mi
    assert parse_bytes("1.5") == 2
    assert parse_bytes("16Ei") == 2**63 - 1
    with pytest.raises(BadInput):
        parse_bytes("-1Mi")


@given(st.integers(0, 2**63 - 1))
def test_what_is_written_is_read_the_same(size: int) -> None:
    assert parse_bytes(format_bytes(size)) == size


@given(st.text(max_size=12))
def test_nothing_gives_a_traceback(text: str) -> None:
    with contextlib.suppress(BadInput):
        parse_bytes(text)


@pytest.mark.parametrize(
    ("size", "text"),
    [
        (0, "0"),
        (1, "1"),
        (1000, "1k"),
        (1023, "1023"),
        (1024, "1Ki"),
        (1536 * 2**20, "1536Mi"),
        (2**30, "1Gi"),
        (5 * 10**9, "5G"),
        (1024_000, "1000Ki"),
    ],
)
def test_shortest_exact_quantity_is_written(size: int, text: str) -> None:
    assert format_bytes(size) == text


def test_more_than_the_largest_is_the_largest() -> None:
    assert parse_bytes(str(2**63)) == parse_bytes("8Ei") == 2**63 - 1
