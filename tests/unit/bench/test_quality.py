"""The page about local models has the table that `bench.quality` prints."""

from bench import quality
from tests.support.dev_server import ROOT


def test_the_page_has_the_table_of_the_bench() -> None:
    page = (ROOT / "docs" / "local-models.md").read_text("utf-8")
    assert f"| {' | '.join(quality.HEAD)} |" in page
