"""Sends a long text as a file by any `openai`, and prints JSON: `python long_text.py URL KEY FILE`."""

import json
import sys
import time
from pathlib import Path
from typing import Any

import openai

OWN = {"onceover": {"reduce": "concat", "chunk": {"maxChars": 2_000}}}
ASKED = "List who met whom."


def refused(call: object, **fields: object) -> list[object]:
    try:
        call(**fields)  # type: ignore[operator]
    except openai.APIStatusError as error:
        return [type(error).__name__, error.status_code, error.code, error.param]
    return []


def message(file_id: str, *more: str) -> list[Any]:
    parts = [{"type": "input_file", "file_id": file_id}, *({"type": "input_text", "text": text} for text in more)]
    return [{"role": "user", "content": parts}]


def ended(client: openai.OpenAI, made: openai.types.responses.Response) -> openai.types.responses.Response:
    while made.status in {"queued", "in_progress"}:
        time.sleep(0.2)
        made = client.responses.retrieve(made.id)
    return made


def walk(url: str, key: str, path: str) -> dict[str, object]:
    """Send a text as a file and as `input`, with strict validation of every answer, and return the results."""
    client = openai.OpenAI(base_url=f"{url}/v1", api_key=key, _strict_response_validation=True)
    seen: dict[str, object] = {"version": openai.__version__}
    file = client.files.create(file=Path(path), purpose="user_data")
    made = client.responses.create(
        input=message(file.id, ASKED), instructions="Be short.", background=True, extra_body=OWN
    )
    seen["made"] = [made.status, made.instructions]
    plain = client.responses.create(
        input=Path(path).read_text("utf-8"), instructions=f"Be short.\n\n{ASKED}", background=True, extra_body=OWN
    )
    done, expected = ended(client, made), ended(client, plain)
    seen["done"] = [done.status, expected.status, done.output_text == expected.output_text != ""]
    seen["usage"] = [done.usage == expected.usage, done.usage is not None and done.usage.input_tokens > 0]
    (item,) = client.responses.input_items.list(made.id).data
    seen["items"] = [getattr(part, "file_id", None) == file.id for part in item.content]  # type: ignore[union-attr]
    with client.responses.create(
        input=message(file.id), instructions=f"Be short.\n\n{ASKED}", background=True, stream=True, extra_body=OWN
    ) as events:
        deltas = [event.delta for event in events if event.type == "response.output_text.delta"]
    seen["streamed"] = ["".join(deltas) == done.output_text, len(deltas) > 1]
    lines = client.files.create(file=Path(path), purpose="batch")
    for name, file_id in (("purpose", lines.id), ("unknown", "file-" + "0" * 32)):
        seen[name] = refused(client.responses.create, input=message(file_id), background=True)
    seen["two"] = refused(
        client.responses.create, input=[*message(file.id), *message(file.id)], background=True, extra_body=OWN
    )
    seen["deleted"] = [client.files.delete(one.id).deleted for one in (file, lines)]
    seen["kept"] = client.responses.retrieve(made.id).output_text == done.output_text
    return seen


if __name__ == "__main__":
    print(json.dumps(walk(*sys.argv[1:])))
