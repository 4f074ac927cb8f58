"""Runs batches with any `openai` for Python, and prints JSON: `python batches.py URL KEY FOLDER`."""

import json
import sys
import time
from itertools import islice
from pathlib import Path

import openai

CHAT = "/v1/chat/completions"
GOING_ON = {"validating", "in_progress", "finalizing", "cancelling"}


def refused(call: object, *arguments: object, **fields: object) -> list[object]:
    try:
        call(*arguments, **fields)  # type: ignore[operator]
    except openai.APIStatusError as error:
        return [type(error).__name__, error.status_code, error.code, error.param]
    return []


class Program:
    """The calls of the program, with strict validation of every answer."""

    def __init__(self, url: str, key: str, folder: str) -> None:
        self.client = openai.OpenAI(base_url=f"{url}/v1", api_key=key, _strict_response_validation=True)
        self.folder = Path(folder)

    def create(self, name: str, endpoint: str = CHAT) -> openai.types.Batch:
        file = self.client.files.create(file=self.folder / f"{name}.jsonl", purpose="batch")
        return self.client.batches.create(
            input_file_id=file.id,
            endpoint=endpoint,  # type: ignore[arg-type]
            completion_window="24h",
            metadata={"name": name},
        )

    def ended(self, batch: openai.types.Batch) -> openai.types.Batch:
        while batch.status in GOING_ON:
            time.sleep(0.2)
            batch = self.client.batches.retrieve(batch.id)
        return batch

    def ids(self, file_id: str | None) -> list[str] | None:
        if file_id is None:
            return None
        lines = self.client.files.content(file_id).text.splitlines()
        return sorted(json.loads(line)["custom_id"] for line in lines)

    def facts(self, batch: openai.types.Batch) -> list[object]:
        counts = batch.request_counts
        assert counts is not None
        shown = [counts.total, counts.completed, counts.failed]
        return [batch.status, shown, self.ids(batch.output_file_id), self.ids(batch.error_file_id)]

    def walk(self) -> dict[str, object]:
        client, seen = self.client, {"version": openai.__version__}  # type: tuple[openai.OpenAI, dict[str, object]]
        chat, responses = self.create("chat"), self.create("responses", "/v1/responses")
        seen["created"] = [chat.status, chat.object, chat.metadata, chat.completion_window, chat.errors]
        seen["listed"] = [one.id for one in islice(client.batches.list(limit=1), 2)] == [responses.id, chat.id]
        seen["page"] = client.batches.list(limit=1).has_more
        seen["chat"], seen["responses"] = self.facts(self.ended(chat)), self.facts(self.ended(responses))
        seen["thirds"] = self.facts(self.ended(self.create("thirds")))
        cancelled = client.batches.cancel(self.create("slow").id)
        ended = self.ended(cancelled)
        seen["cancelled"] = [cancelled.status in {"cancelling", "cancelled"}, ended.status]
        seen["invalid"] = {}
        for path in sorted(self.folder.glob("invalid-*.jsonl")):
            failed = self.ended(self.create(path.stem))
            assert failed.errors is not None
            faults = [[error.code, error.line] for error in failed.errors.data or ()]
            seen["invalid"][path.stem] = [failed.status, faults, failed.output_file_id]  # type: ignore[index]
        seen["unknown"] = refused(client.batches.retrieve, "batch_1")
        seen["no file"] = refused(client.batches.create, input_file_id="file-1", endpoint=CHAT, completion_window="24h")
        seen["embeddings"] = refused(
            client.batches.create, input_file_id="file-1", endpoint="/v1/embeddings", completion_window="24h"
        )
        seen["too late"] = refused(client.batches.cancel, chat.id)
        return seen


if __name__ == "__main__":
    print(json.dumps(Program(*sys.argv[1:]).walk()))
