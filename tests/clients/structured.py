"""Gets objects of its own models with `openai`, and prints JSON: `python structured.py PROXY URL`."""

import contextlib
import json
import sys
import time
import urllib.request
from datetime import date
from typing import Any, Literal

import openai
from pydantic import BaseModel, ValidationError

TEXT = "\n\n".join(f"{name} wrote a letter." for name in ("Ann", "Bob", "Cyd", "Dan", "Eve"))
WITH_ZED = "\n\n".join(f"{name} wrote a letter." for name in ("Ann", "Zed", "Eve"))
CHUNKS = {"chunk": {"maxChars": 24}}  # each paragraph is a chunk


class Person(BaseModel):
    name: str
    role: Literal["author", "reader"]
    age: int | None
    born: date | None


class People(BaseModel):
    """A form whose outputs can be joined, since it has only an array."""

    people: list[Person]


class Report(BaseModel):
    """A form whose outputs must be merged, since `headline` is not an array."""

    headline: str
    people: list[Person]


def shown(value: BaseModel | None) -> Any:
    """Return a parsed object as JSON, and None for None."""
    return None if value is None else value.model_dump(mode="json")


def ask(client: openai.OpenAI, model: type[BaseModel], text: str = TEXT, **ours: object) -> Any:
    return client.responses.stream(
        model="m", input=text, background=True, text_format=model, extra_body={"onceover": {**CHUNKS, **ours}}
    )


def typed(client: openai.OpenAI, model: type[BaseModel]) -> dict[str, object]:
    response_id, streamed, broken = "", None, False
    try:
        with ask(client, model) as stream:
            for event in stream:
                if event.type == "response.created":
                    response_id = event.response.id
                elif event.type == "response.completed":
                    streamed = event.response.output_parsed
    except ValidationError:
        raise
    except Exception:  # noqa: BLE001 - an error of the SDK or of its HTTP client, whose name depends on the version
        broken = True
    with client.responses.stream(response_id=response_id, text_format=model) as stream:
        again = stream.get_final_response().output_parsed
    text = client.responses.retrieve(response_id).output_text
    return {
        "broken": broken,
        "streamed": shown(again if broken else streamed),
        "again": shown(again),
        "retrieved": shown(model.model_validate_json(text)),
    }


def parse(client: openai.OpenAI) -> dict[str, object]:
    """`responses.parse` returns a queued response; the model parses the one retrieved later."""
    response = client.responses.parse(
        model="m", input=TEXT, background=True, text_format=People, extra_body={"onceover": CHUNKS}
    )
    at_once = [response.status, response.output_parsed]
    retrieved = client.responses.retrieve(response.id)
    while retrieved.status in {"queued", "in_progress"}:
        time.sleep(0.05)
        retrieved = client.responses.retrieve(response.id)
    return {"at_once": at_once, "retrieved": shown(People.model_validate_json(retrieved.output_text))}


def gap(client: openai.OpenAI, url: str) -> dict[str, object]:
    """With gaps the response is incomplete and can be parsed; a retry makes a complete one."""
    text: Any = None
    with ask(client, People, WITH_ZED, onChunkFailure="gap") as stream:
        for event in stream:
            if event.type == "response.output_text.done":
                text = event.parsed
        ends = [event.type, event.response.status]
    response_id = event.response.id
    retrieved = client.responses.retrieve(response_id)
    path = f"{url}/api/tasks/{response_id.removeprefix('resp_')}/retry"
    with urllib.request.urlopen(urllib.request.Request(path, method="POST")) as answer:
        new_id = "resp_" + json.load(answer)["id"]
    with client.responses.stream(response_id=new_id, text_format=People) as stream:
        again = stream.get_final_response().output_parsed
    return {
        "ends": ends,
        "text": shown(text),
        "retrieved": shown(People.model_validate_json(retrieved.output_text)),
        "again": shown(again),
    }


def failed(client: openai.OpenAI) -> dict[str, object]:
    """Allow no gaps. The stream ends with the event of a failure, and the response has no text to parse."""
    with ask(client, People, WITH_ZED) as stream:
        events = list(stream)
        with contextlib.suppress(RuntimeError):  # "Didn't receive a `response.completed` event."
            raise AssertionError(f"a failed response was taken for a completed one: {stream.get_final_response()}")
    response = events[-1].response
    retrieved: Any = client.responses.retrieve(response.id)
    return {
        "ends": [events[-1].type, retrieved.status],
        "code": retrieved.error.code,
        "ours": retrieved.onceover["error"]["code"],
        "retrieved": retrieved.output_text,
    }


def main(proxy: str, url: str) -> dict[str, object]:
    """Get objects in each way. Where a chunk fails, the first answer to each request is lost, too."""
    clients = {
        fate: openai.OpenAI(base_url=f"{proxy}/{fate}/v1", api_key="any", _strict_response_validation=True)
        for fate in ("whole", "lost", "cut3", "cut6", "cut9")
    }
    whole = clients["whole"]
    return {
        **{fate: typed(client, People) for fate, client in clients.items()},
        "merged": typed(whole, Report),
        "parse": parse(whole),
        "gap": gap(clients["lost"], url),
        "failed": failed(clients["lost"]),
    }


if __name__ == "__main__":
    print(json.dumps(main(*sys.argv[1:])))
