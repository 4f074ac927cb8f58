"""Tests the report of coverage: its sums for each folder, and that its command works."""

from tests.covered import Module, table


def test_rooms_are_summed() -> None:
    """In the report of coverage a module counts for the first folder of its path, or for itself if it has none."""
    found = [Module("core/a.py", 1_000, 500), Module("core/deep/b.py", 100, 50), Module("entry.py", 0, 0)]
    rows = table(found).splitlines()
    assert rows[2:5] == ["| core | 1,100 | 550 | 50.0 |", "| entry.py | 0 | 0 | 0.0 |", "| all | 1,100 | 550 | 50.0 |"]
    assert "`core/a.py` 500, `core/deep/b.py` 50" in rows[-1]
