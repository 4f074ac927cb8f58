"""What the parser of multipart bodies refuses, and which bytes it keeps until more arrive."""

import pytest

from src.features.files.multipart import (
    FIELD_BYTES_MOST,
    HEADER_BYTES_MOST,
    PARTS_MOST,
    PREAMBLE_BYTES_MOST,
    Event,
    Field,
    FileEnd,
    FileStart,
    Malformed,
    MultipartParser,
)

FIELD = b'--b\r\nContent-Disposition: form-data; name="a"\r\n\r\n'
FILE = b'--b\r\nContent-Disposition: form-data; name="file"; filename="f"\r\n\r\n'
END = b"\r\n--b--\r\n"


def parsed(*chunks: bytes) -> list[Event]:
    parser = MultipartParser(b"b")
    events = [event for chunk in chunks for event in parser.feed(chunk)]
    parser.finish()
    return events


@pytest.mark.parametrize(
    ("body", "complaint"),
    [
        (b"", "ends before its last boundary"),
        (FIELD, "ends before its last boundary"),
        (FIELD + b"value", "ends before its last boundary"),
        (FIELD + b"value\r\n--b", "ends before its last boundary"),
        (FIELD + b"value\r\n--b-", "ends before its last boundary"),
        (b"--b\r\nContent-Disposition: form-data", "ends before its last boundary"),
        (FIELD + b"value\r\n--b \t\r", "ends before its last boundary"),
        (FIELD + b"value\r\n--bc\r\n", "other characters in its line"),
        (FIELD + b"value\r\n--b-x", "other characters in its line"),
        (FIELD + b"value\r\n--b" + b" " * 257 + END, "other characters in its line"),
        (FIELD.replace(b"\r\n", b"\n"), "other characters in its line"),
        (b"x" * (PREAMBLE_BYTES_MOST + 1) + b"\r\n" + FIELD + END, "does not begin with the boundary"),
        (b"{}" * 2_000, "does not begin with the boundary"),
        (FIELD[:5] + b"X: " + b"x" * HEADER_BYTES_MOST, "headers of a part have more than"),
        (FIELD + b"x" * (FIELD_BYTES_MOST + 1), "field has more than"),
        (FIELD * (PARTS_MOST + 1), "more than 20 parts"),
        ((FIELD + b"\r\n") * (PARTS_MOST + 1), "more than 20 parts"),
    ],
)
def test_a_malformed_body_is_refused(body: bytes, complaint: str) -> None:
    for chunks in ([body], [body[at : at + 1] for at in range(len(body))]):
        with pytest.raises(Malformed, match=complaint):
            parsed(*chunks)


def test_the_bounds_are_what_they_say() -> None:
    value = b"x" * FIELD_BYTES_MOST
    padded = FIELD.replace(b"--b\r\n", b"--b" + b" " * 256 + b"\r\n")
    assert parsed(b"x" * PREAMBLE_BYTES_MOST + b"\r\n" + padded + value + END) == [Field("a", value)]
    head = b'--b\r\nContent-Disposition: form-data; name="a"\r\nX: '
    rest = b"x" * (HEADER_BYTES_MOST - len(head) + len(b"--b"))
    body = head + rest + b"\r\n\r\n" + END
    assert parsed(body) == parsed(*(body[at : at + 1] for at in range(len(body)))) == [Field("a", b"")]
    with pytest.raises(Malformed):
        parsed(head + rest + b"x\r\n\r\n" + END)
    assert len(parsed((FIELD + b"\r\n") * PARTS_MOST + END[2:])) == PARTS_MOST


def test_a_part_without_content_may_lack_the_line_end_before_it() -> None:
    body = FILE[:-2] + END
    for chunks in ([body], [body[at : at + 1] for at in range(len(body))]):
        assert parsed(*chunks) == [FileStart("file", "f"), FileEnd()]


def test_what_follows_the_last_boundary_is_dropped() -> None:
    assert parsed(FIELD + b"1" + END, b"more", FIELD, b"2") == [Field("a", b"1")]
    assert parsed(b"--b--") == []


def test_the_bytes_of_a_file_come_as_they_arrive() -> None:
    """The parser passes on a chunk without the beginning of a boundary as it is, without a copy."""
    parser = MultipartParser(b"b")
    assert list(parser.feed(FILE)) == []  # the next boundary may follow the headers at once
    assert list(parser.feed(b"first")) == [FileStart("file", "f"), b"first"]
    chunk = b"x" * 1_000
    (same,) = parser.feed(chunk)
    assert same is chunk
    assert list(parser.feed(b"y\r\n--")) == [b"y"]
    assert list(parser.feed(b"z\r")) == [b"\r\n--z"]
    assert list(parser.feed(b"\n--b\r")) == [FileEnd()]
