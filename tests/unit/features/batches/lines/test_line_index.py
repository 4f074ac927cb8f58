"""Where the lines of a batch lie in its file."""

import pytest

from src.features.batches.lines.line_index import Portion, StoredPortion, digest, pack, portion_of, read_ids


def test_a_slice_has_the_places_of_its_lines() -> None:
    lines = [(100, 150, 7), (151, 200, 8), (5_000, 9_000, 9)]
    found = portion_of(40, lines)
    assert found == Portion(40, 100, ((0, 50), (1, 49), (4_800, 4_000)), (7, 8, 9))
    assert list(found.ranges()) == [(100, 150), (151, 200), (5_000, 9_000)]
    assert found.end == 9_000


def test_a_line_takes_about_twelve_bytes() -> None:
    lines = portion_of(0, [(number * 2_000, number * 2_000 + 1_999, digest(f"r-{number}")) for number in range(20_000)])
    spans, ids = pack(lines)
    assert (len(spans), len(ids)) == (60_000, 160_000)
    assert list(StoredPortion(0, 20_000, 0, spans).ranges()) == list(lines.ranges())
    assert read_ids(ids, 20_000) == lines.ids


def test_a_row_whose_columns_differ_is_not_believed() -> None:
    spans, ids = pack(Portion(0, 0, ((0, 5), (1, 5)), (1, 2)))
    with pytest.raises(AssertionError, match="belong together"):
        read_ids(ids[:8], 2)
    for lines in (1, 3):
        with pytest.raises(AssertionError, match="belong together"):
            list(StoredPortion(0, lines, 0, spans).ranges())


def test_a_digest_is_the_same_on_every_machine() -> None:
    assert digest("request-1") == 0x19F1064B619D49D3
