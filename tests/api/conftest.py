"""A bench for each test."""

from collections.abc import Iterator

import pytest

from tests.support.api_bench import Bench


@pytest.fixture
def bench() -> Iterator[Bench]:
    """The API over a fresh database, top-level environment, chunks of ten characters."""
    made = Bench()
    yield made
    made.close()
