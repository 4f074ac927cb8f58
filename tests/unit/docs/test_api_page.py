"""docs/api.md states common errors once, and loses none of them."""

import re
from typing import Any

from local.api_page import METHODS, page
from src.composition import CATALOGUE

SECTION = "## Common errors\n"
CODE = re.compile(r"`(\w+)`:")


def operations() -> dict[str, Any]:
    """Return each call of `/openapi.json` by the heading that it has in docs/api.md."""
    described: Any = CATALOGUE.document
    return {
        f"{method.upper()} {path}": item[method]
        for path, item in described["paths"].items()
        for method in METHODS
        if method in item
    }


def rows(section: str) -> dict[str, set[str]]:
    return {
        status: set(CODE.findall(text)) for status, text in re.findall(r"^\| (\d{3}) \| (.*)$", section, re.MULTILINE)
    }


def test_every_error_of_every_call_is_on_the_page() -> None:
    text = page()
    common = rows(text.partition(SECTION)[2].partition("\n## ")[0])
    for heading, operation in operations().items():
        section = text.partition(f"\n## {heading}\n")[2].partition("\n## ")[0]
        shown = rows(section)
        for status in re.findall(r"\d{3}", section.partition("[Common errors](#common-errors):")[2]):
            shown[status] = shown.get(status, set()) | common[status]
        expected = {
            status: set(CODE.findall(response["description"])) for status, response in operation["responses"].items()
        }
        assert shown == expected, heading
