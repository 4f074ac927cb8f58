"""Tests the data of files."""

import pytest

from src.features.files.file import touches

LOST = [range(10, 20), range(40, 50)]


@pytest.mark.parametrize(
    ("start", "end", "is_lost"),
    [(0, 10, False), (0, 11, True), (12, 15, True), (19, 40, True), (20, 40, False), (39, 41, True), (50, 60, False)],
)
def test_bytes_that_only_border_on_a_lost_part_are_there(start: int, end: int, *, is_lost: bool):
    assert touches(LOST, start, end) is is_lost
