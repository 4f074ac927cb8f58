"""The counts of `bench.quality` follow from the task, its chunks and its log of calls."""

from bench import quality
from tests.support.dev_server import ROOT


def test_the_page_has_the_table_of_the_bench():
    page = (ROOT / "docs" / "local-models.md").read_text("utf-8")
    assert f"| {' | '.join(quality.HEAD)} |" in page
    for text in quality.TEXTS:
        assert f"| {text} | `{quality.SENDING}` |" in page
