import math

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from cmemrun.errors import BadInput
from cmemrun.units import format_duration, format_size, parse_duration, parse_size


@pytest.mark.parametrize(
    ("text", "size_bytes"),
    [
        ("0", 0),
        ("4096", 4096),
        ("4096B", 4096),
        ("512Mi", 512 * 2**20),
        ("512MiB", 512 * 2**20),
        ("512MB", 512 * 10**6),
        ("512M", 512 * 10**6),
        ("1.5Gi", 3 * 2**29),
        ("0.1Ki", 102),
        (".5k", 500),
        ("512e6", 512 * 10**6),
        ("1E", 10**18),
        ("1E3", 1000),
        (" 2Ki ", 2048),
        ("8EiB", None),
        ("7EiB", 7 * 2**60),
    ],
)
def test_sizes(text: str, size_bytes: int | None) -> None:
    if size_bytes is None:
        with pytest.raises(BadInput, match="more than any kernel"):
            parse_size(text)
    else:
        assert parse_size(text) == size_bytes


@pytest.mark.parametrize("text", ["512m", "512K", "1g"])
def test_a_size_that_tools_read_differently_is_refused_with_its_readings(text: str) -> None:
    with pytest.raises(BadInput, match="Kubernetes"):
        parse_size(text)


@pytest.mark.parametrize(
    "text", ["", "Mi", "-1", "1 Mi", "1KB", "1mi", "0x10", "1e-3", "\u0661", "1_0"]
)
def test_no_sizes(text: str) -> None:
    with pytest.raises(BadInput) as refusal:
        parse_size(text)
    assert "512Mi" in (refusal.value.hint or "")


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("400ms", 0.4),
        ("1.5s", 1.5),
        ("1m30s", 90),
        ("1h1m1s", 3661),
        ("100us", 1e-4),
        ("100µs", 1e-4),
        ("100μs", 1e-4),
        ("5ns", 5e-9),
        (".5s", 0.5),
        ("0", 0),
    ],
)
def test_durations(text: str, seconds: float) -> None:
    assert parse_duration(text) == pytest.approx(seconds)


@pytest.mark.parametrize("text", ["", "1", "s", "1s ", "1 s", "-1s", "1d", "1s1", "x1s", "\u0663s"])
def test_no_durations(text: str) -> None:
    if text == "1s ":
        assert parse_duration(text) == 1
        return
    with pytest.raises(BadInput) as refusal:
        parse_duration(text)
    assert "400ms" in (refusal.value.hint or "")


@given(st.text())
@example("9" * 20 + "h" * 1)
@example("1e99")
def test_any_text_is_a_value_or_refused(text: str) -> None:
    for parse in (parse_size, parse_duration):
        try:
            value = parse(text)
        except BadInput:
            continue
        assert value >= 0 and math.isfinite(value)


@given(st.integers(0, 2**63 - 1))
def test_plain_bytes_are_exact(size_bytes: int) -> None:
    assert parse_size(str(size_bytes)) == size_bytes


def test_what_people_read() -> None:
    assert format_size(0) == "0 B"
    assert format_size(1) == "1 B"
    assert format_size(104 * 2**20) == "104.0 MiB"
    assert format_duration(0.0004) == "0.4 ms"
    assert format_duration(0.4) == "400 ms"
    assert format_duration(2.5) == "2.50 s"
    assert format_duration(90) == "1:30 min"
    assert format_duration(4000) == "1:06:40 h"


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0 ms"),
        (0.0099, "9.9 ms"),
        (0.01, "10 ms"),
        (0.011, "11 ms"),
        (0.0996, "100 ms"),
        (0.999, "999 ms"),
        (1, "1.00 s"),
        (59.99, "59.99 s"),
        (60, "1:00 min"),
        (3599, "59:59 min"),
        (3599.6, "1:00:00 h"),
        (3600, "1:00:00 h"),
    ],
)
def test_duration_goes_over_to_the_next_unit(seconds: float, text: str) -> None:
    assert format_duration(seconds) == text


@pytest.mark.parametrize(
    ("size_bytes", "text"),
    [(1023, "1023 B"), (1024, "1.0 KiB"), (2**20, "1.0 MiB"), (2**30, "1.0 GiB")],
)
def test_size_goes_over_to_the_next_unit(size_bytes: int, text: str) -> None:
    assert format_size(size_bytes) == text


def test_longest_duration_is_thirty_years() -> None:
    assert parse_duration("1000000000s") == 1e9
    for longer in ("1000000001s", "277778h"):
        with pytest.raises(BadInput, match="longer than"):
            parse_duration(longer)


def test_largest_size_is_that_of_a_signed_number() -> None:
    assert parse_size(str(2**63 - 1)) == 2**63 - 1
    for larger in (str(2**63), "8Ei", "9.3E"):
        with pytest.raises(BadInput, match="more than any kernel"):
            parse_size(larger)


@pytest.mark.parametrize("text", ["1m 30s", "1mx30s", "1m,30s"])
def test_duration_with_something_in_between_is_refused(text: str) -> None:
    with pytest.raises(BadInput):
        parse_duration(text)
