"""Reads streams with `openai` for Python, and prints JSON: `python stream.py URL KEY`."""

import importlib
import json
import sys
import time
from typing import Any

import openai

LONG = "\n\n".join(f"Part {number:02} of a text, which is long enough for a chunk of its own." for number in range(8))
CHUNKS = {"chunk": {"maxChars": 80}}
TERMINAL = {"response.completed", "response.incomplete", "response.failed"}


def submit(client: openai.OpenAI, **ours: object) -> Any:
    return client.responses.create(
        model="demo-1", input=LONG, background=True, stream=True, extra_body={"onceover": {**CHUNKS, **ours}}
    )


def read_on(client: openai.OpenAI, response_id: str, after: int) -> Any:
    return client.responses.retrieve(response_id, stream=True, starting_after=after)


def whole(client: openai.OpenAI, **ours: object) -> dict[str, object]:
    events = list(submit(client, **ours))
    response = events[-1].response
    deltas = "".join(event.delta for event in events if event.type == "response.output_text.delta")
    numbers = [event.sequence_number for event in events]
    again = [list(read_on(client, response.id, number)) == events[number + 1 :] for number in numbers]
    return {
        "types": [event.type.removeprefix("response.") for event in events],
        "numbered": numbers == list(range(len(events))),
        "text": deltas == response.output_text == client.responses.retrieve(response.id).output_text != "",
        "again": all(again),
    }


def patient(client: openai.OpenAI, cut: int = 0, broken_by: type[Exception] = openai.APIError) -> dict[str, object]:
    """Follow a response to its end; `cut`: leave after so many events. `broken_by`: the client's error."""
    stream = submit(client, reduce="concat")
    events: list[Any] = []
    broken: set[str] = set()
    while not events or events[-1].type not in TERMINAL:
        try:
            for at, event in enumerate(stream):
                events.append(event)
                if at + 1 == cut:
                    break
            else:
                assert events[-1].type in TERMINAL, f"a clean end behind {events[-1].type}"
            stream.close()
        except (openai.APIError, broken_by) as error:
            broken.add(type(error).__name__)
        if events[-1].type not in TERMINAL:
            stream = again(client, events[0].response.id, events[-1].sequence_number)
    deltas = "".join(event.delta for event in events if event.type == "response.output_text.delta")
    numbers = [event.sequence_number for event in events]
    return {
        "numbered": numbers == list(range(len(events))),
        "text": deltas == events[-1].response.output_text,
        "broken": sorted(broken),
    }


def again(client: openai.OpenAI, response_id: str, after: int) -> Any:
    for _ in range(100):
        try:
            return read_on(client, response_id, after)
        except openai.APIConnectionError:
            time.sleep(0.2)
    raise TimeoutError("the server did not come back")


def cancelled(client: openai.OpenAI) -> list[str]:
    event: Any = None
    for event in submit(client):
        if event.type == "response.created":
            client.responses.cancel(event.response.id)
    return [event.type, event.response.status]


def transport_error() -> type[Exception]:
    name = next(base.__module__.partition(".")[0] for base in openai.DefaultHttpxClient.__mro__[1:])
    found: type[Exception] = importlib.import_module(name).TransportError
    return found


def main(url: str, key: str, early: str) -> dict[str, object]:
    """Follow responses whose streams end early (`early`), or whose server is killed (`outlives`)."""
    client = openai.OpenAI(base_url=f"{url}/v1", api_key=key, _strict_response_validation=True)
    if early == "early":
        return {"patient": patient(client)}
    if early == "outlives":
        print("ready", flush=True)  # importing an SDK takes seconds, in which a server could stop and start
        sys.stdin.readline()
        return {"patient": patient(client, broken_by=transport_error())}
    return {
        "concat": whole(client, reduce="concat"),
        "merge": whole(client),
        "patient": patient(client, 3),
        "cancelled": cancelled(client),
    }


if __name__ == "__main__":
    print(json.dumps(main(*sys.argv[1:])))
