"""Figures for metrics and plots."""

from collections.abc import Iterator

import pytest

from src.features.operate.tallies import HISTORY, SAMPLES, quantile_ms
from src.kernel.store.tallies import BOUNDS_MS, MEASURES
from tests.unit.kernel.store.test_boundaries import AROUND, NOW, Table


@pytest.fixture
def table() -> Iterator[Table]:
    made = Table()
    yield made
    made.database.close()


@AROUND
def test_a_history_begins_after_its_first_millisecond(table: Table, off: int) -> None:
    table.write("tallies", at=NOW - 60_000 + off, status="completed", route="queue", ended=3)
    table.write("samples", at=NOW - 60_000 + off, pending=0, processing=0, oldest_ms=0)
    assert len(table.ask(HISTORY, back_ms=60_000)) == (off > 0)
    assert len(table.ask(SAMPLES, back_ms=60_000)) == (off > 0)


def test_quantiles() -> None:
    """A quantile lies between the bounds of the bucket that contains it."""
    nothing = dict.fromkeys(MEASURES, 0)
    assert quantile_ms(nothing, "took", 0.5) is None
    ten = nothing | {"took": 10, "took_le_500": 5} | {f"took_le_{bound}": 10 for bound in BOUNDS_MS[1:]}
    assert quantile_ms(ten, "took", 0.5) == 500
    assert quantile_ms(ten, "took", 0.9) == 500 + 1_500 * 4 // 5
    assert quantile_ms(nothing | {"took": 2}, "took", 0.95) == BOUNDS_MS[-1]
