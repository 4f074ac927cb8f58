"""The counts of `bench.filled_schemas` follow from the task, its chunks and its log of calls."""

from bench import filled_schemas
from tests.support.dev_server import ROOT


def test_the_page_has_the_table_of_the_bench():
    page = (ROOT / "docs" / "local-models.md").read_text("utf-8")
    assert f"| {' | '.join(filled_schemas.HEAD)} |" in page
    for text in filled_schemas.TEXTS:
        assert f"| {text} | `{filled_schemas.SENDING}` |" in page
