"""What the model must read for each chunk of a task: the headings above it, the characters before it, and the chunk."""

import re
from collections.abc import Sequence

from simulator.engine.chat import message
from src.kernel.text.chunks import Chunk

# The first chunk of a text says what goes along with the others: see `TaskSpec`.
_ALONG = re.compile(r"[a-z]000 \+(\d\d)([h.])\s")
_HEADING = re.compile(r"(#+) (.*)\n")


def messages(text: str, spans: Sequence[Chunk]) -> list[str]:
    """Return the message for each chunk of a text, as the model reads it. A heading is a chunk of its own."""
    along = _ALONG.match(text)
    context, has_headings = (int(along[1]), along[2] == "h") if along else (0, False)
    found, path = list[str](), dict[int, str]()
    for one in spans:
        chunk = text[one.start : one.end]
        heading = _HEADING.fullmatch(chunk) if has_headings else None
        if heading:
            path = {level: title for level, title in path.items() if level < len(heading[1])}
        found.append(message(" > ".join(path.values()), text[max(0, one.start - context) : one.start], chunk))
        if heading:
            path[len(heading[1])] = heading[2]
    return found
