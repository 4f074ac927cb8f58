"""Sends and reads background responses with any `openai`, and prints JSON: `python walk.py URL KEY`."""

import json
import sys
import time
from typing import Any

import openai

LONG = "\n\n".join(f"Part {number:02} of a text, which is long enough for a chunk of its own." for number in range(20))
OURS = {"onceover": {"chunk": {"maxChars": 80}}}


def ended(client: openai.OpenAI, response: openai.types.responses.Response) -> openai.types.responses.Response:
    until = time.monotonic() + 60
    while response.status in {"queued", "in_progress"}:
        assert time.monotonic() < until, response
        time.sleep(0.2)
        response = client.responses.retrieve(response.id)
    return response


def error(client: openai.OpenAI, **fields: object) -> list[object]:
    try:
        client.responses.create(**{"model": "demo-1", "input": "x", "background": True, **fields})  # type: ignore[call-overload]
    except openai.APIStatusError as refused:
        return [type(refused).__name__, refused.status_code, refused.code, refused.param]
    return []


def walk(url: str, key: str) -> dict[str, object]:
    """Use each call of the SDK once, with strict validation of every answer, and return the results."""
    client = openai.OpenAI(base_url=f"{url}/v1", api_key=key, _strict_response_validation=True)
    seen: dict[str, object] = {"version": openai.__version__}
    made = client.responses.create(
        model="demo-1", input="A short text.", background=True, instructions="Say it.", metadata={"a": "b"}
    )
    seen["queued"] = [made.status, made.object, made.metadata, made.instructions, made.background]
    done = ended(client, made)
    seen["done"] = [done.status, bool(done.output_text), done.usage is not None, done.error]
    long = client.responses.create(model="demo-1", input=LONG, background=True, store=False, extra_body=OURS)
    items: Any = client.responses.input_items.list(long.id)
    seen["items"] = [item.content[0].text == LONG for item in items]
    merged: Any = ended(client, long)
    seen["long"] = [merged.status, merged.onceover["progress"]["total"], len(merged.output)]
    seen["cancelled"] = client.responses.cancel(done.id).status
    client.responses.delete(done.id)
    try:
        client.responses.retrieve(done.id)
    except openai.NotFoundError as gone:
        seen["gone"] = [gone.status_code, gone.code]
    seen["models"] = [[model.id for model in client.models.list()], client.models.retrieve("demo-1").id]
    seen["tools"] = error(client, tools=[{"type": "web_search"}])
    seen["foreground"] = error(client, background=False)
    seen["temperature"] = error(client, temperature=3)
    seen["stranger"] = error(openai.OpenAI(base_url=f"{url}/v1", api_key="oo_x", max_retries=0))
    return seen


if __name__ == "__main__":
    print(json.dumps(walk(*sys.argv[1:])))
