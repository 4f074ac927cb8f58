"""Puts canaries (words that occur nowhere else) into a task, and searches for them wherever data is stored."""

import json
import re
import zlib
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path

from src.features import NewTaskFields
from src.kernel.api.base.fields import extra_names
from tests.support.client import Json
from tests.support.databases import opened, tables
from tests.support.dev_server import DevServer

SENT = ("input", "instructions", "outputSchema", "join")  # Fields of a submission whose canaries are sent to the model.
KEPT = (
    "metadata",
    "modelOptions",
    *extra_names(NewTaskFields),
)  # The fields with a client's text that are not sent to the model.
# The canaries are long enough that they are searched for in a provider's refusal (see kernel/calls/replies.py). They
# are so short that, in a text that repeats them, some are complete on one page of the database.
CANARIES = {place: (f"Kanarienvogel-{place}-7Q9Z", f"金絲雀之歌響徹雲霄{place}七號") for place in (*SENT, *KEPT)}
WORDS = frozenset(word for pair in CANARIES.values() for word in pair)
WORDS_SENT = frozenset(word for place in SENT for word in CANARIES[place])


OF_SCHEMAS = ("outputSchema", "strict", "join")


def loaded(paragraphs: int, mark: str = "", *, formed: bool = True) -> Json:
    """Return a submission with a canary in each field, those of a schema only with `formed`."""
    ascii_word, cjk_word = CANARIES["input"]
    texts, ruled = {"type": "array", "items": {"type": "string"}}, " and ".join(CANARIES["join"])
    schema = {
        "type": "object",
        "properties": {
            "said": {**texts, "description": " and ".join(CANARIES["outputSchema"])},
            ruled: {"type": "string"},
        },
        "required": ["said"],
        "additionalProperties": False,
    }
    body = {place: " and ".join(words) for place, words in CANARIES.items()} | {
        "input": "\n\n".join(f"{mark}{number:04} {ascii_word} {cjk_word}" for number in range(paragraphs)),
        "metadata": {CANARIES["metadata"][0]: list(CANARIES["metadata"])},
        "modelOptions": {"stop": list(CANARIES["modelOptions"])},
        "outputSchema": schema,
        "strict": False,
        "join": {f"/{ruled}": "first"},
        "chunk": {"maxChars": 60},
    }
    return body if formed else {name: value for name, value in body.items() if name not in OF_SCHEMAS}


def _forms(word: str) -> Iterator[bytes]:
    yield word.encode()
    yield word.encode("utf-16-le")  # The encoding of V8, in which the key-value storage of an object keeps texts.
    yield json.dumps(word)[1:-1].encode()  # The encoding of JSON in the lines of the log.


def words_in(content: bytes) -> set[str]:
    """Return the canaries that some bytes contain, in any encoding that is used, and also inside compressed data."""
    readable = b"\n".join([content, *_inflated(content)])
    return {word for word in WORDS if any(form in readable for form in _forms(word))}


def _inflated(content: bytes) -> Iterator[bytes]:
    """Decompress all zlib data within some bytes, as far as possible, as the end of a database page may cut it off."""
    for begins in re.finditer(re.escape(zlib.compress(b"")[:2]), content):
        stream, at, found = zlib.decompressobj(), begins.start(), b""
        with suppress(zlib.error):
            while not stream.eof and at < len(content):
                found += stream.decompress(content[at : at + 32])
                at += 32
        yield found


def in_rows(state: Path) -> dict[str, set[str]]:
    found = {}
    for path in state.rglob("*.sqlite"):
        for table, values in _rows(path):
            if words := set().union(*(words_in(str(value).encode()) | words_in(_raw(value)) for value in values)):
                found[f"{path.parent.name}: {table}"] = words
    return found


def in_files(state: Path) -> dict[str, set[str]]:
    files = [path for path in state.rglob("*") if path.is_file()]
    assert files, "nothing was stored: nothing would ever be found"
    return {str(path.relative_to(state)): words for path in files if (words := words_in(path.read_bytes()))}


def in_output(server: DevServer) -> set[str]:
    return words_in(server.output.encode())


def _rows(path: Path) -> Iterator[tuple[str, Iterable[object]]]:
    with opened(path) as connection:
        for name in tables(connection):
            rows = connection.execute(f'SELECT * FROM "{name}"').fetchall()  # noqa: S608
            yield name, [value for row in rows for value in row]


def _raw(value: object) -> bytes:
    return value if isinstance(value, bytes) else b""
