"""A new bench for each test."""

from collections.abc import Iterator

import pytest

from tests.support.api_bench import ApiBench


@pytest.fixture
def bench() -> Iterator[ApiBench]:
    """Make the API over a fresh database, as the top-level environment, with chunks of ten characters."""
    made = ApiBench()
    yield made
    made.close()


@pytest.fixture
def keyed() -> Iterator[ApiBench]:
    made = ApiBench(keys=True)
    yield made
    made.close()
