"""The file of a batch: its lines as they arrive in pieces, where they lie, and the check of the file in parts."""

import json

import pytest

from src.features.batches.lines.file_check import CheckedPart, FileCheck
from src.features.batches.lines.line_index import Portion, StoredPortion, digest, pack, portion_of, read_ids
from src.features.batches.lines.lines import LineCode
from src.features.batches.lines.scan import FileLine, LineScanner
from src.kernel.domain import limits
from tests.unit.features.batches.lines.test_lines import RULES, line, with_fields

MOST = limits.BATCH_LINE_BYTES_MOST


def ranges(portion: Portion) -> list[tuple[int, int]]:
    return list(StoredPortion(portion.first, len(portion.ids), portion.start, pack(portion)[0]).ranges())


def scanned(content: bytes, size: int = 7) -> list[FileLine]:
    scanner = LineScanner()
    found = [line for at in range(0, len(content), size) for line in scanner.feed(content[at : at + size])]
    found += scanner.finish()
    assert scanner.at == len(content)
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


def test_a_slice_has_the_places_of_its_lines() -> None:
    lines = [(100, 150, 7), (151, 200, 8), (5_000, 9_000, 9)]
    found = portion_of(40, lines)
    assert found == Portion(40, 100, ((0, 50), (1, 49), (4_800, 4_000)), (7, 8, 9))
    assert ranges(found) == [(100, 150), (151, 200), (5_000, 9_000)]


def test_a_line_takes_about_twelve_bytes() -> None:
    lines = portion_of(0, [(number * 2_000, number * 2_000 + 1_999, digest(f"r-{number}")) for number in range(20_000)])
    spans, ids = pack(lines)
    assert (len(spans), len(ids)) == (60_000, 160_000)
    expected = [(number * 2_000, number * 2_000 + 1_999) for number in range(20_000)]
    assert list(StoredPortion(0, 20_000, 0, spans).ranges()) == expected
    assert read_ids(ids, 20_000) == lines.ids


def test_a_row_whose_columns_differ_is_not_believed() -> None:
    spans, ids = pack(Portion(0, 0, ((0, 5), (1, 5)), (1, 2)))
    with pytest.raises(AssertionError, match="belong together"):
        read_ids(ids[:8], 2)
    for lines in (1, 3):
        with pytest.raises(AssertionError, match="belong together"):
            list(StoredPortion(0, lines, 0, spans).ranges())


def test_a_digest_is_the_same_on_every_machine() -> None:
    assert digest("request-1") == 0x19F1064B619D49D3


def check(content: bytes, size: int = 1_000) -> CheckedPart:
    checking = FileCheck(RULES)
    for at in range(0, len(content), size):
        checking.feed(content[at : at + size])
    checking.finish()
    return checking.take()


def numbered(count: int, first: int = 0) -> list[bytes]:
    return [line(custom_id=f"r-{number}") for number in range(first, first + count)]


def faults(content: bytes) -> list[tuple[LineCode, int | None, str | None]]:
    return [(fault.code, fault.line, fault.param) for fault in check(content).faults]


def test_a_valid_file_gives_the_places_of_its_lines() -> None:
    lines = numbered(3)
    content = lines[0] + b"\r\n\n" + lines[1] + b"\n  \n" + lines[2]
    found = check(content)
    assert found.lines is not None
    assert [content[start:end] for start, end in ranges(found.lines)] == lines
    assert found.lines.ids == tuple(digest(f"r-{number}") for number in range(3))
    assert found[1:] == ((), len(content), 5, 3, "m-1")


def test_a_later_run_goes_on_behind_the_last_part() -> None:
    lines = [*numbered(40), b"{", line(custom_id="r-7"), with_fields(model="m-2"), *numbered(2, 40)]
    content = b"\n".join(lines)
    whole = check(content)
    at, ids, parts, faulty = 0, list[int](), [], 0
    checking = FileCheck(RULES)
    while at < len(content):
        checking.feed(content[at : at + 700])
        if at + 700 >= len(content):
            checking.finish()
        part = checking.take()
        parts.append(part)
        ids += part.lines.ids if part.lines else ()
        faulty += len(part.faults)
        at = part.read_bytes
        rules = RULES._replace(model=part.model)
        checking = FileCheck(rules, read_bytes=at, read_lines=part.read_lines, total=part.total, ids=ids, faults=faulty)
    assert len(parts) > 5
    assert [fault for part in parts for fault in part.faults] == list(whole.faults)
    assert [fault.line for fault in whole.faults] == [41, 42, 43]
    found = [one for part in parts if part.lines for one in ranges(part.lines)]
    assert whole.lines is not None
    assert found == ranges(whole.lines)
    assert all(part.lines.first + len(part.lines.ids) == part.total for part in parts if part.lines)
    assert parts[-1].total == whole.total == 42


def test_ids_are_unique_from_the_first_line_to_the_last() -> None:
    lines = [*numbered(limits.BATCH_LINES_MOST - 1), line(custom_id="r-0")]
    assert faults(b"\n".join(lines)) == [(LineCode.DUPLICATE_CUSTOM_ID, 20_000, "custom_id")]


def test_20_000_lines_are_the_most() -> None:
    content = b"\n\n".join(numbered(limits.BATCH_LINES_MOST))
    found = check(content, 100_000)
    assert (found.faults, found.total) == ((), 20_000)
    checking = FileCheck(RULES)
    checking.feed(content + b"\n" + line(custom_id="more") + b"\n{\n")
    assert checking.is_over
    [fault] = checking.take().faults
    assert (fault.code, fault.line) == (LineCode.TOO_MANY_TASKS, 40_000)


def test_the_first_line_decides_the_model() -> None:
    lines = [with_fields(), *(with_fields(model="m-2") for _ in range(2))]
    parsed = [json.loads(one) | {"custom_id": f"r-{number}"} for number, one in enumerate(lines)]
    content = b"\n".join(json.dumps(one).encode() for one in parsed)
    assert faults(content) == [(LineCode.MISMATCHED_MODEL, number, "body.model") for number in (2, 3)]


def test_a_hundred_faults_are_the_most() -> None:
    checking = FileCheck(RULES, faults=95)
    checking.feed(b"{\n" * 200)
    assert checking.is_over
    assert len(checking.take().faults) == 5
    assert len(faults(b"{\n" * 200)) == limits.BATCH_ERRORS_MOST == 100


def test_a_line_with_a_fault_has_no_place() -> None:
    bad, fine = line(custom_id="r-0", method="GET"), line(custom_id="r-0")
    found = check(bad + b"\n" + fine)
    assert (len(found.faults), found.total) == (1, 1)


def test_a_file_of_faults_is_not_called_empty() -> None:
    assert faults(b"{") == [(LineCode.INVALID_JSON_LINE, 1, None)]


@pytest.mark.parametrize("content", [b"", b"\n\n", b"\xef\xbb\xbf", b" \r\n"])
def test_an_empty_file_is_a_fault(content: bytes) -> None:
    assert faults(content) == [(LineCode.EMPTY_FILE, None, None)]
