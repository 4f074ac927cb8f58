"""A program that uses `autobatcher` with onceover's API: `python batcher.py URL KEY`.

`autobatcher` is a client by other authors than OpenAI. `autobatcher` offers the calls of OpenAI's SDK, but sends each
call as a background response, and polls the response. With a completion window `autobatcher` collects the calls into
batches instead, and reads the lines of the output files as they come. The program prints its results as JSON.
"""

import asyncio
import importlib.metadata
import json
import sys
from typing import Any

import autobatcher  # type: ignore[import-not-found]  # in a folder that is thrown away
import openai

LONG = "\n\n".join(f"Part {number:02} of a text, which is long enough for a chunk of its own." for number in range(20))
TEXTS = 20


def batcher(url: str, key: str, **arguments: Any) -> Any:
    return autobatcher.BatchOpenAI(base_url=f"{url}/v1", api_key=key, poll_interval_seconds=0.2, **arguments)


async def chat(client: Any) -> list[object]:
    messages = [{"role": "system", "content": "Say it."}, {"role": "user", "content": "A short text."}]
    done = await client.chat.completions.create(model="demo-1", messages=messages)
    (choice,) = done.choices
    return [done.object, choice.finish_reason, bool(choice.message.content), done.usage.total_tokens > 0]


async def long(client: Any) -> list[object]:
    """Send a text of 20 chunks, with a field that only onceover has."""
    ours = {"onceover": {"chunk": {"maxChars": 80}}}
    done = await client.responses.create(model="demo-1", input=LONG, extra_body=ours)
    return [done.status, done.onceover["progress"]["total"], len(done.output), done.service_tier]


async def at_once(client: Any) -> list[object]:
    calls = (client.responses.create(model="demo-1", input=f"Text {at:03} alone.") for at in range(TEXTS))
    done = await asyncio.gather(*calls)
    right = [f"Text {at:03} alone." in one.output_text for at, one in enumerate(done)]
    return [sum(right), len({one.id for one in done})]


async def in_batches(url: str, key: str) -> list[object]:
    async with batcher(url, key, completion_window="24h", batch_window_seconds=0.5) as client:
        texts = [f"Text {at:03} alone." for at in range(TEXTS)]
        messages = ([{"role": "user", "content": text}] for text in texts)
        chats = [client.chat.completions.create(model="demo-1", messages=one, temperature=0.5) for one in messages]
        answers = [client.responses.create(model="demo-1", input=text) for text in texts]
        blank = client.chat.completions.create(model="demo-1", messages=[{"role": "user", "content": " "}])
        ended: list[Any] = await asyncio.gather(*chats, *answers, blank, return_exceptions=True)
        *done, refused = ended
        said = [one.choices[0].message.content for one in done[:TEXTS]] + [one.output_text for one in done[TEXTS:]]
        right = [text in one for text, one in zip(texts * 2, said, strict=True)]
        made = [
            [one.endpoint, one.status, *one.request_counts.model_dump().values()] async for one in client.batches.list()
        ]
        return [sum(right), len({one.id for one in done}), isinstance(refused, Exception), sorted(made)]


async def cancelled(url: str, key: str) -> list[object]:
    """Cancel a call of more than a thousand chunks after its acceptance, so that it is not complete."""
    accepted: asyncio.Future[str] = asyncio.get_running_loop().create_future()

    async def look(answer: Any) -> None:
        if answer.request.method == "POST" and not accepted.done():
            accepted.set_result(json.loads(await answer.aread())["id"])

    watched = openai.DefaultAsyncHttpxClient(event_hooks={"response": [look]})
    async with batcher(url, key, http_client=watched) as client:
        ours = {"onceover": {"chunk": {"maxChars": 10}}}
        call = asyncio.create_task(client.responses.create(model="demo-1", input=LONG * 10, extra_body=ours))
        response_id = await accepted
        await asyncio.sleep(0)  # the client must read the response before its call is cancelled
        call.cancel()
        await asyncio.gather(call, return_exceptions=True)
        return [call.cancelled(), (await client.responses.retrieve(response_id)).status]


async def refused(client: Any) -> list[object]:
    try:
        await client.responses.create(model="demo-1", input="x", tools=[{"type": "web_search"}])
    except openai.BadRequestError as error:
        return [error.status_code, error.code, error.param]
    return []


async def walk(url: str, key: str) -> dict[str, object]:
    """Use `autobatcher` in each way that these functions try, and return the results."""
    async with batcher(url, key) as client:
        return {
            "version": f"{importlib.metadata.version('autobatcher')} with openai {openai.__version__}",
            "chat": await chat(client),
            "long": await long(client),
            "at_once": await at_once(client),
            "in_batches": await in_batches(url, key),
            "cancelled": await cancelled(url, key),
            "refused": await refused(client),
        }


if __name__ == "__main__":
    print(json.dumps(asyncio.run(walk(*sys.argv[1:]))))
