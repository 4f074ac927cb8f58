"""A new bench of the worker for each test."""

from collections.abc import Iterator
from typing import Any

import pytest

from tests.support.worker_bench import WorkerBench


@pytest.fixture
def bench() -> Iterator[WorkerBench]:
    made = WorkerBench()
    yield made
    made.close()


@pytest.fixture
def make():
    made: list[WorkerBench] = []

    def build(**settings: Any) -> WorkerBench:
        made.append(WorkerBench(**settings))
        return made[-1]

    yield build
    for bench in made:
        bench.close()
