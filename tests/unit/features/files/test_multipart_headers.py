"""The headers of multipart bodies: boundaries, names and filenames as clients write them, and what is refused."""

import pytest

from src.features.files.multipart import Disposition, Malformed, boundary_of, part_disposition


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
