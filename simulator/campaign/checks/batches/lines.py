"""Reads the lines of a batch's files: what the model said in an answer, and why a line has none."""

import json
from functools import lru_cache
from typing import Any, NamedTuple


class InputLines(NamedTuple):
    """An input file: the tag by which the model's records name its lines, and the `custom_id` of each line.

    `is_faulty` says that a line is not valid, so no call may be made.
    """

    tag: str
    custom_ids: tuple[str, ...]
    is_faulty: bool


def input_lines(content: bytes) -> InputLines:
    """Read an input file that a client has made, or that a retry has copied."""
    tag, custom_ids, is_faulty = "", [], False
    for raw in filter(bytes.strip, content.splitlines()):
        try:
            line = json.loads(raw)
        except ValueError:
            is_faulty = True
            continue
        body = line["body"]
        tag = tag or body.get("instructions") or body["messages"][0]["content"]
        is_faulty |= line["url"] != _url_of(body) or line["custom_id"] in custom_ids
        custom_ids.append(line["custom_id"])
    return InputLines(tag, tuple(custom_ids), is_faulty or not custom_ids)


def _url_of(body: dict[str, Any]) -> str:
    return "/v1/chat/completions" if "messages" in body else "/v1/responses"


@lru_cache(maxsize=4_000)
def said(line: str) -> str:
    """Return what the model said in a line of an output file."""
    body = json.loads(line)["response"]["body"]
    if body["object"] == "chat.completion":
        return str(body["choices"][0]["message"]["content"])
    return str(body["output"][0]["content"][0]["text"])


def custom_id_of(line: str) -> str:
    """Return the `custom_id` of a line of either file."""
    return str(json.loads(line)["custom_id"])


def text_of(custom_id: str) -> str:
    """Return the text of the line with this id."""
    return custom_id.partition(":")[2]


def code_of(line: str) -> str:
    """Return why a line of an error file has no answer: the code, or `refused`."""
    document = json.loads(line)
    return "refused" if document["error"] is None else str(document["error"]["code"])
