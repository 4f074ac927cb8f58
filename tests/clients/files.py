"""Sends and reads files with any `openai` for Python, and prints JSON: `python files.py URL KEY FILE`."""

import io
import json
import sys
from pathlib import Path

import openai


class Stream(io.RawIOBase):
    """A stream that hides its length, so the client cannot send a Content-Length."""

    def __init__(self, content: bytes) -> None:
        self._left = io.BytesIO(content)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        piece = self._left.read(min(len(buffer), 10_007))
        buffer[: len(piece)] = piece
        return len(piece)


def refused(call: object, *arguments: object, **fields: object) -> list[object]:
    try:
        call(*arguments, **fields)  # type: ignore[operator]
    except openai.APIStatusError as error:
        return [type(error).__name__, error.status_code, error.code, error.param]
    return []


def facts(file: openai.types.FileObject) -> list[object]:
    keeps = None if file.expires_at is None else file.expires_at - file.created_at
    return [file.filename, file.bytes, file.purpose, file.status, file.object, keeps]


def walk(url: str, key: str, path: str) -> dict[str, object]:
    """Use each call of the SDK, with strict validation of every answer, and return the results."""
    client = openai.OpenAI(base_url=f"{url}/v1", api_key=key, _strict_response_validation=True)
    seen: dict[str, object] = {"version": openai.__version__}
    content = Path(path).read_bytes()
    by_path = client.files.create(file=Path(path), purpose="batch")
    by_buffer = client.files.create(
        file=("été.txt", content), purpose="user_data", expires_after={"anchor": "created_at", "seconds": 3_600}
    )
    by_stream = client.files.create(file=("stream.jsonl", Stream(content)), purpose="batch")  # type: ignore[arg-type]
    made = [by_path, by_buffer, by_stream]
    seen["path"], seen["buffer"], seen["stream"] = map(facts, made)
    seen["same"] = [client.files.content(file.id).read() == content for file in made]
    seen["retrieved"] = [client.files.retrieve(file.id) == file for file in made]
    ids = [file.id for file in made]
    seen["listed"] = [file.id for file in client.files.list(order="asc", limit=2)] == ids
    seen["purpose"] = [file.id for file in client.files.list(purpose="user_data")] == [by_buffer.id]
    page = client.files.list(limit=2)
    seen["page"] = [[file.id for file in page.data] == ids[:0:-1], page.has_more, page.has_next_page()]
    with client.files.with_streaming_response.content(by_path.id) as answer:
        seen["streamed"] = b"".join(answer.iter_bytes()) == content
    seen["other purpose"] = refused(client.files.create, file=Path(path), purpose="vision")
    seen["too soon"] = refused(
        client.files.create, file=b"x", purpose="batch", expires_after={"anchor": "created_at", "seconds": 60}
    )
    seen["deleted"] = [[one.deleted, one.object] for one in (client.files.delete(file.id) for file in made)]
    seen["gone"] = [refused(call, by_path.id) for call in (client.files.retrieve, client.files.content)]
    seen["none"] = [list(client.files.list()), client.files.list().has_more]
    return seen


if __name__ == "__main__":
    print(json.dumps(walk(*sys.argv[1:])))
