"""Server-sent events as text."""

import sys

from src.kernel.api.follow.sse import event

BREAKS = "".join(char for char in map(chr, range(sys.maxunicode + 1)) if len(f"a{char}b".splitlines()) > 1)


def test_data_is_one_line_for_each_client():
    """A client may split a stream where Unicode ends a line, and a model's text may have any character."""
    assert "\x85" in BREAKS
    name, data, *rest = event("chunk", {"output": f"a{BREAKS}b"}).splitlines()
    assert (name, data[:6], rest) == ("event: chunk", "data: ", [""])
