"""The pages have the tables that `bench.filled_schemas` and `bench.quality` print."""

from bench import filled_schemas, quality
from tests.support.dev_server import ROOT


def test_the_page_has_the_table_of_the_bench():
    page = (ROOT / "docs" / "local-models.md").read_text("utf-8")
    assert f"| {' | '.join(filled_schemas.HEAD)} |" in page
    for text in filled_schemas.TEXTS:
        assert f"| {text} | `{filled_schemas.SENDING}` |" in page


def test_the_page_about_local_models_has_the_table_of_the_bench() -> None:
    page = (ROOT / "docs" / "local-models.md").read_text("utf-8")
    assert f"| {' | '.join(quality.HEAD)} |" in page
