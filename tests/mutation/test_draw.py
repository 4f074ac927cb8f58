"""Tests which mutants exist: mistakes of every kind, in every place that works on tasks."""

from pathlib import Path

from mutation.catalogue import all_mutants

ROOT = Path(__file__).resolve().parents[2]


def test_the_worker_has_mutants_of_every_kind_in_every_place():
    mutants = all_mutants(ROOT)
    assert len(mutants) > 1_000
    assert len({mutant.operator for mutant in mutants}) == 32
    paths = {mutant.path for mutant in mutants}
    assert {path.rpartition("/")[0] for path in paths} == {
        "src/features/attempts",
        "src/features/batches/store",
        "src/features/batches/work",
        "src/features/bulk",
        "src/features/cost",
        "src/features/files",
        "src/features/gaps",
        "src/features/operate",
        "src/features/texts",
        "src/features/webhooks",
        "src/kernel/run",
        "src/kernel/store",
        "src/kernel/work",
        "src/kernel/work/sweep",
        "src/objects",
        "src/queue",
    }
    assert "src/kernel/run/log.py" not in paths
    assert any(mutant.is_sql and mutant.path.startswith("src/objects") for mutant in mutants)
    assert not any(mutant.is_sql and "d1.py" in mutant.path for mutant in mutants)
