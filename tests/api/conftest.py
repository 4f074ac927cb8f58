"""A new bench for each test."""

from collections.abc import Iterator

import pytest

from tests.support.api_bench import ApiBench


@pytest.fixture(autouse=True)
def _benches_are_closed() -> Iterator[None]:
    """Close each `ApiBench` that a test or its fixtures made."""
    yield
    for made in list(ApiBench.not_closed):
        made.close()


@pytest.fixture
def bench() -> ApiBench:
    """Make the API over a fresh database, as the top-level environment, with chunks of ten characters."""
    return ApiBench()


@pytest.fixture
def keyed() -> ApiBench:
    return ApiBench(keys=True)
