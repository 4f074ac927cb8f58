"""Property tests of a batch's lines: any division of a file gives the same lines, and written values are read back."""

import itertools
import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from openai.types.chat import ChatCompletion
from openai.types.responses import Response

from src.features.batches.lines.answers import output_line
from src.features.batches.lines.line_index import Portion, StoredPortion, pack, portion_of, read_ids
from src.features.batches.lines.line_json import LineNotJson, parse_line
from src.features.batches.lines.lines import CHAT, ENDPOINTS, Line, LineFault, LineRules, call_body, check_line
from src.features.batches.lines.scan import LineScanner
from src.kernel.domain.ids import TaskKey
from src.kernel.domain.settings import BATCH_FIELDS, MODEL_OPTIONS

KEY = TaskKey("acme:019a0000-0000-7000-8000-000000000000")
text = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**60), 2**60) | st.floats(allow_nan=False, allow_infinity=False) | text,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(text, inner, max_size=4),
    max_leaves=12,
)
contents = st.lists(st.sampled_from([b"{}", b"a b", b" ", b"\r", b"\n", b"\r\n", b"\t", b"\xef\xbb\xbf", b"x" * 40]))


@given(contents, st.lists(st.integers(0, 200), max_size=6))
def test_lines_do_not_depend_on_the_pieces(parts: list[bytes], cuts: list[int]) -> None:
    content = b"".join(parts)
    bounds = sorted({0, len(content), *(cut for cut in cuts if cut < len(content))})
    scanner = LineScanner()
    pieces = [content[start:end] for start, end in itertools.pairwise(bounds)]
    found = [line for piece in pieces for line in scanner.feed(piece)] + scanner.finish()
    bare = content.removeprefix(b"\xef\xbb\xbf")
    wanted = [(number, line.strip(b" \t\r")) for number, line in enumerate(bare.split(b"\n"), 1)]
    assert [(line.number, line.raw) for line in found] == [one for one in wanted if one[1]]
    assert [content[line.start : line.end] for line in found] == [line.raw for line in found]
    assert scanner.at == len(content)
    for line in found:
        rest = LineScanner(line.next, line.number)
        assert rest.feed(content[line.next :]) + rest.finish() == found[found.index(line) + 1 :]


@given(
    st.integers(0, 20_000),
    st.integers(0, 10**9),
    st.lists(st.tuples(st.integers(0, 10**7), st.integers(1, 10**6), st.integers(0, 2**64 - 1)), min_size=1),
)
def test_a_slice_comes_back_from_its_row(first: int, start: int, drawn: list[tuple[int, int, int]]) -> None:
    at = start
    lines: list[tuple[int, int, int]] = []
    for gap, size, identity in drawn:
        at += gap if lines else 0
        lines.append((at, at + size, identity))
        at += size
    found = portion_of(first, lines)
    spans, ids = pack(found)
    assert read_ids(ids, len(lines)) == found.ids
    assert list(StoredPortion(first, len(lines), found.start, spans).ranges()) == [line[:2] for line in lines]
    assert (found.first, len(found.ids)) == (first, len(lines))
    assert isinstance(found, Portion)


@given(json_values)
def test_json_is_read_as_it_was_written(value: object) -> None:
    for ascii_only in (True, False):
        assert parse_line(json.dumps(value, ensure_ascii=ascii_only).encode()) == value


@given(st.binary(max_size=60) | st.text(max_size=60).map(lambda drawn: drawn.encode("utf-8", "surrogatepass")))
def test_any_bytes_are_read_or_refused(raw: bytes) -> None:
    try:
        found = parse_line(raw)
    except LineNotJson:
        return
    json.dumps(found, ensure_ascii=False, allow_nan=False).encode()


@given(
    st.sampled_from(ENDPOINTS),
    st.dictionaries(
        st.sampled_from([*BATCH_FIELDS, *MODEL_OPTIONS, "stream", "n", "reasoning", "tools", "metadata", "x"]),
        json_values
        | st.sampled_from([1, "Hi", [], [{"role": "user", "content": "Hi"}], {"effort": "low"}, {"format": None}]),
        max_size=5,
    ),
)
def test_any_body_is_a_line_or_a_fault(endpoint: Any, fields: dict[str, object]) -> None:
    rules = LineRules(endpoint, frozenset(BATCH_FIELDS + MODEL_OPTIONS))
    base = {"messages": [{"role": "user", "content": "Hi"}]} if endpoint == CHAT else {"input": "Hi"}
    body = {"model": "m", **base, **fields}
    raw = json.dumps({"custom_id": "r", "method": "POST", "url": endpoint, "body": body}).encode()
    found = check_line(raw, 1, rules)
    if isinstance(found, LineFault):
        assert found.param is None or found.param.startswith("body.")
        return
    sent = call_body(endpoint, found.body)
    assert isinstance(sent["messages"], list)
    assert sent["messages"]
    assert not sent.keys() & {"model", "input", "instructions", "text", "reasoning", "stream", "n", "max_tokens"}
    given_fields = {name for name, value in body.items() if value is not None}
    assert found.body.keys() | found.unsent.keys() | {"model"} == given_fields


@given(
    st.sampled_from(ENDPOINTS),
    st.none() | text,
    st.none() | text,
    st.sampled_from(["stop", "length", "content_filter", "tool_calls", None]),
    st.none() | st.dictionaries(st.sampled_from(["prompt_tokens", "completion_tokens", "x"]), st.integers(0, 99)),
)
def test_answers_are_valid_by_the_types_of_openai(
    endpoint: Any, content: str | None, refusal: str | None, reason: str | None, usage: dict[str, int] | None
) -> None:
    message = {"content": content, "refusal": refusal}
    answer: dict[str, object] = {"choices": [{"message": message, "finish_reason": reason}]}
    if usage is not None and endpoint != CHAT:
        answer["usage"] = usage
    line = Line("r", "m", {"input": "Hi"}, {})
    found = output_line(KEY, 3, endpoint, line, answer, 1_790_000_000_000)
    assert found.isascii()
    assert found.isprintable()
    body = json.loads(found)["response"]["body"]
    if endpoint == CHAT:
        assert ChatCompletion.model_validate(body).choices[0].message.content == content
    else:
        assert Response.model_validate(body).output_text == (content or "")
