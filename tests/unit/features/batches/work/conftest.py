"""The bench of the tests of batches."""

from collections.abc import Iterator

import pytest

from tests.support.batch_bench import BatchBench


@pytest.fixture
def bench() -> Iterator[BatchBench]:
    made = BatchBench()
    yield made
    made.close()
