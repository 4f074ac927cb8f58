"""Property tests of merging: each level is smaller than the one below, each call fits, and no text is lost silently."""

from hypothesis import given
from hypothesis import strategies as st

from src.kernel.domain.limits import MERGE_CHARS_LEAST
from src.kernel.text.merge import merge_chars
from tests.support.chaos_work import merge_groups

OUTPUTS = st.lists(st.text(min_size=1, max_size=40) | st.integers(1, 6000).map("x".__mul__), min_size=2, max_size=60)


@given(OUTPUTS, st.integers(1, 10_000).map(merge_chars))
def test_a_level_is_at_most_half_as_long_and_its_calls_fit(outputs: list[str], most: int):
    groups = merge_groups(outputs, most)
    assert 1 <= len(groups) <= len(outputs) / 2
    assert all(len(group) <= most for group in groups)


@given(st.lists(st.text("abc", min_size=1, max_size=20), min_size=2, max_size=40))
def test_what_fits_is_kept_whole_and_in_order(outputs: list[str]):
    groups = merge_groups(outputs, MERGE_CHARS_LEAST)
    assert "\n\n".join(groups) == "\n\n".join(outputs)


def test_long_outputs_share_a_call_and_are_marked():
    (group,) = merge_groups(["short", "y" * 5000], 2000)
    short, long = group.split("\n\n")
    assert short == "short"
    assert long.endswith("y […]")
    assert 1900 < len(group) <= 2000
