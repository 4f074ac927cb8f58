"""Multipart bodies: headers as clients write them, what is refused, and which bytes wait for more."""

import pytest

from src.features.files.multipart import (
    FIELD_BYTES_MOST,
    HEADER_BYTES_MOST,
    PARTS_MOST,
    PREAMBLE_BYTES_MOST,
    Disposition,
    Event,
    Field,
    FileEnd,
    FileStart,
    Malformed,
    MultipartParser,
    boundary_of,
    part_disposition,
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


@pytest.mark.parametrize(
    ("content_type", "boundary"),
    [
        ("multipart/form-data; boundary=0123abcdef", b"0123abcdef"),
        ("multipart/form-data; boundary=----WebKitFormBoundaryA1", b"----WebKitFormBoundaryA1"),
        ('Multipart/Form-Data; charset=utf-8; Boundary="a b:c/d=e"', b"a b:c/d=e"),
        ("multipart/form-data;boundary=" + "x" * 70 + ";", b"x" * 70),
    ],
)
def test_the_boundary_is_read(content_type: str, boundary: bytes) -> None:
    assert boundary_of(content_type) == boundary


@pytest.mark.parametrize(
    ("content_type", "complaint"),
    [
        ("multipart/form-data", "names no boundary"),
        ("multipart/form-data; charset=utf-8", "names no boundary"),
        ('multipart/form-data; boundary=""', "1 to 70"),
        ("multipart/form-data; boundary=" + "x" * 71, "1 to 70"),
        ('multipart/form-data; boundary="a "', "1 to 70"),
        ("multipart/form-data; boundary=é", "1 to 70"),
        ("multipart/form-data; boundary=a; boundary=b", "the same parameter twice"),
        ('multipart/form-data; boundary="a', "cannot be read"),
        ("multipart/form-data; boundary", "cannot be read"),
    ],
)
def test_a_bad_boundary_is_refused(content_type: str, complaint: str) -> None:
    with pytest.raises(Malformed, match=complaint):
        boundary_of(content_type)


@pytest.mark.parametrize(
    ("parameters", "filename"),
    [
        ('; filename="a.jsonl"', "a.jsonl"),
        ("; filename=a.jsonl", "a.jsonl"),
        ('; filename=""', ""),
        ('; filename="été 報.txt"', "été 報.txt"),
        ('; filename="a;b=c.txt"', "a;b=c.txt"),
        # Quotes in a filename, as WHATWG HTML and as RFC 9110 write them.
        ('; filename="a%22b.txt"', 'a"b.txt'),
        (r'; filename="a\"b\\c.txt"', r'a"b\c.txt'),
        (r'; filename="C:\temp\a.txt"', r"C:\temp\a.txt"),
        ("; filename*=UTF-8''%C3%A9t%C3%A9.txt", "été.txt"),
        ("; filename*=utf-8'fr'%C3%A9.txt; filename=\"e.txt\"", "é.txt"),
        ("; filename=\"e.txt\"; filename*=iso-8859-1''%E9.txt", "é.txt"),
        ("", None),
        ("; x=y", None),
    ],
)
def test_the_filename_is_read(parameters: str, filename: str | None) -> None:
    raw = f'\r\nContent-Disposition: form-data; name="file"{parameters}\r\nContent-Type: text/plain'
    assert part_disposition(raw.encode()) == Disposition("file", filename)


def test_names_of_headers_have_any_case_and_lines_may_be_folded() -> None:
    raw = b'\r\nCONTENT-DISPOSITION: Form-Data; NAME=purpose;\r\n\tFileName="a"\r\nContent-Transfer-Encoding: 8BIT'
    assert part_disposition(raw) == Disposition("purpose", "a")


@pytest.mark.parametrize(
    ("raw", "complaint"),
    [
        (b"", "no Content-Disposition"),
        (b"\r\nContent-Type: text/plain", "no Content-Disposition"),
        (b'\r\nContent-Disposition: attachment; name="a"', "no Content-Disposition"),
        (b"\r\nContent-Disposition: form-data", "no name"),
        (b'\r\nContent-Disposition: form-data; filename="a"', "no name"),
        (b'\r\nContent-Disposition: form-data; name="a', "cannot be read"),
        (b"\r\nContent-Disposition: form-data; name=a; name=b", "the same parameter twice"),
        (b"\r\nContent-Disposition: form-data; name=a" + b"; x=y" * 51, "cannot be read|twice"),
        (b"\r\nContent-Disposition: form-data; " + b"; ".join(b"x%d=y" % n for n in range(51)), "cannot be read"),
        (b"\r\nContent-Disposition: form-data; name=a\r\nContent-Disposition: form-data; name=a", "header twice"),
        (b"\r\nContent-Disposition: form-data; name=a\r\nno header", "no header"),
        (b"\r\nContent-Disposition: form-data; name=a\r\n: x", "no header"),
        (b"\r\nContent-Disposition: form-data; name=a\r\nContent-Transfer-Encoding: base64", "Transfer-Encoding"),
        (b'\r\nContent-Disposition: form-data; name="\xff"', "not UTF-8"),
        (b"\r\nContent-Disposition: form-data; name=a; filename*=x", "encoded, but not"),
        (b"\r\nContent-Disposition: form-data; name=a; filename*=utf-16''x", "encoded, but not"),
        (b"\r\nContent-Disposition: form-data; name=a; filename*=utf-8''%FF", "not of its character set"),
    ],
)
def test_bad_headers_are_refused(raw: bytes, complaint: str) -> None:
    with pytest.raises(Malformed, match=complaint):
        part_disposition(raw)
