"""docs/api.md is what the API's description makes of it."""

from tests.support.api_docs import PAGE, page


def test_page_is_current() -> None:
    """The page is the one that `python -m tests.support.api_docs` writes from the code as it is."""
    assert PAGE.read_text(encoding="utf-8") == page()
