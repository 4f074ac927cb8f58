"""The file of a batch, checked in parts."""

import json

import pytest

from src.features.batches.lines.file_check import CheckedPart, FileCheck
from src.features.batches.lines.line_index import digest
from src.features.batches.lines.lines import LineCode
from src.kernel.domain import limits
from tests.unit.features.batches.lines.test_lines import RULES, line, with_fields


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
    assert [content[start:end] for start, end in found.lines.ranges()] == lines
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
    found = [one for part in parts if part.lines for one in part.lines.ranges()]
    assert whole.lines is not None
    assert found == list(whole.lines.ranges())
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
