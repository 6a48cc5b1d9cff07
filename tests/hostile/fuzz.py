"""Fuzzing, with the number of inputs that truly were tried."""

import functools
import os
from collections import Counter
from collections.abc import Callable
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

IS_LONG = bool(os.environ.get("CMEMRUN_TEST_LONG"))

tried: Counter[str] = Counter()
"""Inputs so far, by what they were for."""


def fuzz(
    *strategies: st.SearchStrategy[Any], quick: int = 100, long: int = 20_000
) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Try so many inputs, ``long`` where there is time (``CMEMRUN_TEST_LONG=1``)."""

    def decorate(test: Callable[..., None]) -> Callable[..., None]:
        @settings(
            max_examples=long if IS_LONG else quick,
            database=None,
            suppress_health_check=list(HealthCheck),
        )
        @given(*strategies)
        @functools.wraps(test)
        def counted(*arguments: Any, **named: Any) -> None:
            tried[test.__name__] += 1
            test(*arguments, **named)

        return counted

    return decorate


def torn(text: bytes) -> st.SearchStrategy[bytes]:
    """A text that was cut off, had a part taken out, or put in twice, or a byte changed."""
    places = st.integers(0, len(text))
    return st.one_of(
        places.map(lambda at: text[:at]),
        st.tuples(places, places).map(lambda at: text[: min(at)] + text[max(at) :]),
        st.tuples(places, places).map(lambda at: text[: max(at)] + text[min(at) :]),
        st.tuples(places, st.binary(max_size=3)).map(
            lambda change: text[: change[0]] + change[1] + text[change[0] + 1 :]
        ),
    )
