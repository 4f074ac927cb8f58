"""A new bench of the store for each test."""

from collections.abc import Iterator

import pytest

from tests.support.store_bench import StoreBench


@pytest.fixture
def bench() -> Iterator[StoreBench]:
    made = StoreBench()
    yield made
    made.database.close()
