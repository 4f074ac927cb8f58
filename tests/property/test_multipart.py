"""A `multipart/form-data` body has the same parts in any division into chunks, and the parts that `email` finds."""

from collections.abc import Sequence
from email.message import Message
from email.parser import BytesParser
from email.policy import HTTP
from itertools import pairwise

from hypothesis import example, given
from hypothesis import strategies as st

from src.features.files.multipart import Field, FileEnd, FileStart, Malformed, MultipartParser

BOUNDARY = b"b-1"
# A part: its name, its filename or None, and its content.
Part = tuple[str, str | None, bytes]

# Pieces of contents: the beginnings of boundaries, line ends, and other bytes.
PIECES = st.sampled_from([b"\r\n--b-", b"\r", b"\n", b"\r\n", b"-", b"--", b"b-1", b"--b-1", b"\0", b"\xff", b"x" * 90])
CONTENTS = st.lists(PIECES, max_size=8).map(b"".join).filter(lambda content: b"\r\n--b-1" not in b"\r\n" + content)
NAMES = st.text(st.sampled_from("abé報 .;='-_"), min_size=1, max_size=5).map(str.strip).filter(bool)
PARTS = st.lists(st.tuples(NAMES, st.none() | NAMES, CONTENTS), max_size=5)
# The places at which a body is cut into chunks, as shares of the body's length.
CUTS = st.lists(st.floats(0, 1, allow_nan=False), max_size=12)


def body_of(parts: Sequence[Part], preamble: bytes = b"", padding: bytes = b"", epilogue: bytes = b"") -> bytes:
    lines = [preamble]
    for name, filename, content in parts:
        named = "" if filename is None else f'; filename="{filename}"'
        head = f'Content-Disposition: form-data; name="{name}"{named}\r\nX-Else: 1'
        lines += [b"--" + BOUNDARY + padding, head.encode(), b"", content]
    return b"\r\n".join([*(lines if preamble else lines[1:]), b"--" + BOUNDARY + b"--" + epilogue])


def parsed(chunks: Sequence[bytes]) -> list[Part] | str:
    parser = MultipartParser(BOUNDARY)
    parts: list[Part] = []
    content = b""
    try:
        for chunk in chunks:
            for event in parser.feed(chunk):
                match event:
                    case Field(name, value):
                        parts.append((name, None, value))
                    case FileStart(name, filename):
                        parts.append((name, filename, b""))
                        content = b""
                    case bytes():
                        assert event
                        content += event
                    case _:
                        assert isinstance(event, FileEnd)
                        parts[-1] = (*parts[-1][:2], content)
        parser.finish()
    except Malformed as error:
        return str(error)
    return parts


def cut(body: bytes, cuts: Sequence[float]) -> list[bytes]:
    places = sorted({0, len(body), *(round(share * len(body)) for share in cuts)})
    return [body[start:end] for start, end in pairwise(places)]


def by_email(body: bytes) -> list[Part]:
    whole = b'Content-Type: multipart/form-data; boundary="' + BOUNDARY + b'"\r\n\r\n' + body
    message: Message = BytesParser(policy=HTTP).parsebytes(whole)
    found = []
    for part in message.get_payload():
        assert isinstance(part, Message)
        content = part.get_payload(decode=True)
        assert isinstance(content, bytes)
        name = part.get_param("name", header="Content-Disposition")
        found.append((str(name), part.get_filename(), content))
    return found


@given(st.binary(max_size=60) | PARTS.map(body_of), st.lists(st.tuples(st.integers(0, 400), PIECES), max_size=3), CUTS)
@example(b"--b-1\r\n\r\n", [], [0.5])
def test_any_chunks_give_the_same_refusal(body: bytes, changes: list[tuple[int, bytes]], cuts: list[float]) -> None:
    for at, piece in changes:
        body = body[:at] + piece + body[at:]
    whole = parsed([body])
    assert parsed(cut(body, cuts)) == whole
    assert parsed([body[at : at + 1] for at in range(len(body))]) == whole


ASCII = st.text(st.sampled_from("ab. ;=-_"), min_size=1, max_size=5).map(str.strip).filter(bool)
# The `email` package takes a lone CR, and a lone LF, for the end of a line.
PLAIN = st.lists(st.sampled_from([b"\r\n", b"-", b"--", b"b-1", b"a line", b"\xff"]), max_size=8).map(b"".join)


@given(
    st.lists(
        st.tuples(ASCII, st.none() | ASCII, PLAIN.filter(lambda content: b"\r\n--b-1" not in b"\r\n" + content)),
        min_size=1,
        max_size=4,
    )
)
def test_the_email_package_finds_the_same_parts(parts: list[Part]) -> None:
    body = body_of(parts)
    assert parsed([body]) == by_email(body) == parts
