"""The lines of a file that arrives in pieces."""

import pytest

from src.features.batches.lines.scan import FileLine, LineScanner
from src.kernel.domain import limits

MOST = limits.BATCH_LINE_BYTES_MOST


def scanned(content: bytes, size: int = 7) -> list[FileLine]:
    scanner = LineScanner()
    found = [line for at in range(0, len(content), size) for line in scanner.feed(content[at : at + size])]
    found += scanner.finish()
    assert scanner.at == scanner.read == len(content)
    return found


def test_lines_have_their_numbers_and_places() -> None:
    content = b'{"a":1}\n\n \t\r\n  {"b":2} \r\n{"c":3}'
    found = scanned(content)
    assert [(line.number, line.raw) for line in found] == [(1, b'{"a":1}'), (4, b'{"b":2}'), (5, b'{"c":3}')]
    assert [content[line.start : line.end] for line in found] == [line.raw for line in found]
    assert [line.next for line in found] == [8, 25, len(content)]


def test_a_byte_order_mark_is_skipped_only_at_the_beginning() -> None:
    found = scanned(b"\xef\xbb\xbf{}\n\xef\xbb\xbf{}\n")
    assert [(line.start, line.end, line.raw) for line in found] == [(3, 5, b"{}"), (6, 11, b"\xef\xbb\xbf{}")]


@pytest.mark.parametrize("end", [b"", b"\n", b"\r\n"])
def test_the_longest_line_is_whole(end: bytes) -> None:
    content = b"\xef\xbb\xbf" + b"x" * MOST + end
    [line] = scanned(content, 300_001)
    assert (len(line.raw), line.start, line.end) == (MOST, 3, MOST + 3)


def test_of_a_line_that_is_too_large_only_the_beginning_is_kept() -> None:
    scanner = LineScanner()
    for _ in range(50):
        assert scanner.feed(b"y" * 100_000) == []
        assert len(scanner._held) <= MOST + 5
    assert scanner.read == 5_000_000
    large, fine = scanner.feed(b"\n{}\n")
    assert (len(large.raw), large.number, large.start, large.end) == (MOST + 1, 1, 0, 5_000_000)
    assert (fine.raw, fine.number, fine.start) == (b"{}", 2, 5_000_001)


def test_a_scanner_goes_on_where_another_one_ended() -> None:
    content = b'{"a":1}\r\n\n{"b":2}\n{"c":3}\n'
    first = LineScanner()
    found = first.feed(content[:14])
    second = LineScanner(first.at, first.lines)
    found += second.feed(content[first.at :]) + second.finish()
    assert found == scanned(content)


@pytest.mark.parametrize("content", [b"", b"\n", b"\n\r\n \n", b"\xef\xbb\xbf", b"\xef\xbb\xbf\n", b"  "])
def test_a_file_without_lines_gives_none(content: bytes) -> None:
    assert scanned(content) == []


def test_white_space_does_not_make_a_large_line_small() -> None:
    [large] = scanned(b" " * (MOST + 10) + b"{}\n", 100_000)
    assert len(large.raw) == MOST + 1


def test_a_mark_behind_the_beginning_is_not_skipped_by_a_later_scanner() -> None:
    scanner = LineScanner(10, 2)
    [line] = scanner.feed(b"\xef\xbb\xbf{}\n")
    assert (line.start, line.number, line.raw) == (10, 3, b"\xef\xbb\xbf{}")
