"""A new bench of the worker for each test."""

from collections.abc import Iterator

import pytest

from tests.support.worker_bench import WorkerBench


@pytest.fixture
def bench() -> Iterator[WorkerBench]:
    made = WorkerBench()
    yield made
    made.close()
