"""How many inputs each test has tried, for the line at the end."""

from collections.abc import Iterator

import pytest

from tests.hostile import fuzz


@pytest.fixture(autouse=True)
def inputs(request: pytest.FixtureRequest) -> Iterator[None]:
    before = fuzz.tried.total()
    yield
    request.node.user_properties.append(("inputs", fuzz.tried.total() - before))
