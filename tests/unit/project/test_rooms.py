"""pyproject.toml says which Python module may import which other one; this module says so for the dashboard."""

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]


def test_the_page_s_foundation_knows_no_view():
    base = ROOT / "public" / "app" / "base"
    imported = {
        (path.name, source)
        for path in base.glob("*.js")
        for source in re.findall(r'\b(?:from|import) "([^"]+)"', path.read_text("utf-8"))
    }
    assert imported
    assert {one for one in imported if not re.fullmatch(r"(?:\.|\.\./\.\./vendor)/\w+\.js", one[1])} == set()
