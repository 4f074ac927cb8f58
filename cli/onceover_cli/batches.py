"""Uploads a file of requests and starts a batch of it, so that a repeated command finds the same file and batch.

The uploaded file has a digest of its content in its name. A command with the same content finds the uploaded file by
this name, and the batch by the file's id.
"""

import hashlib
import re
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final

from .backoff import Backoff
from .connection import ApiClient
from .errors import CommandError, ServerRefused, Unreachable
from .shapes import Json
from .submission import STDIN, fresh_key

ENDED: Final = frozenset({"completed", "failed", "expired", "cancelled"})
_PAGE: Final = {"files": "1000", "batches": "100"}
_NAME_CHARS_MOST: Final = 200
_UNSAFE: Final = re.compile(r"[^\w.-]+")
_TASK: Final = re.compile(r"/api/tasks/([0-9a-f-]{36})")


@dataclass(frozen=True, slots=True)
class Input:
    """The content of a batch's input file, and the name under which the file is uploaded."""

    content: bytes
    filename: str


def read_input(source: str) -> Input:
    """Read the lines from a file, or from standard input if `source` is `-`. Raises `CommandError`."""
    try:
        content = sys.stdin.buffer.read() if source == STDIN else Path(source).read_bytes()
    except OSError as error:
        raise CommandError(f"cannot read {source}: {error.strerror}") from None
    if not content.strip():
        raise CommandError(f"{'standard input' if source == STDIN else source} is empty")
    # The server removes some characters from a file's name. If the command could not find the file by its name again,
    # a repeated command would start another batch.
    stem = "batch" if source == STDIN else _UNSAFE.sub("-", Path(source).stem)
    return Input(content, f"{stem[:_NAME_CHARS_MOST]}-{hashlib.sha256(content).hexdigest()[:24]}.jsonl")


def metadata_of(given: Sequence[str]) -> Json:
    """Read the `NAME=VALUE` pairs of `--metadata`, whose values are texts. Raises `CommandError`."""
    found: Json = {}
    for one in given:
        name, separator, value = one.partition("=")
        if not separator or not name:
            raise CommandError(f"--metadata {one}: must be NAME=VALUE")
        found[name] = value
    return found


def task_id_of(batch: Json) -> str:
    """Return the id of the batch's task, which commands such as `onceover cancel` take."""
    found = _TASK.fullmatch(str(batch["onceover"]["task"]))
    if found is None:
        raise CommandError("the server names no task of the batch")
    return found[1]


class Start:
    """Starts batches. `say` tells the user why the command waits."""

    def __init__(self, api: ApiClient, say: Callable[[str], None], patience_seconds: float) -> None:
        self._api = api
        self._say = say
        self._patience = patience_seconds

    def find_or_make(self, given: Input, fields: Json, *, is_new: bool) -> tuple[Json, bool]:
        """Return the batch with these lines and fields, and whether an earlier command has already made the batch.

        With `is_new` a new batch is made even if an earlier command has made such a batch. Raises `CommandError`.
        """
        file = self._again(lambda: self._file(given))
        if file is None:
            file = self._again(lambda: self._file(given) or self._upload(given))
        elif not is_new:
            earlier = self._again(partial(self._batch, file, fields))
            if earlier is not None:
                return earlier, True
        key = fresh_key()  # if the answer is lost, the request is sent again with the same idempotency key
        body = {"input_file_id": file["id"], **fields}
        headers = {"Idempotency-Key": key}
        return self._again(lambda: self._api.ask("POST", "/v1/batches", body=body, headers=headers)), False

    def _file(self, given: Input) -> Json | None:
        """Find an earlier upload of these lines."""
        for file in self._listed("files", {"purpose": "batch"}):
            if file["filename"] == given.filename and file["bytes"] == len(given.content):
                return file
        return None

    def _upload(self, given: Input) -> Json:
        return self._api.upload("/v1/files", {"purpose": "batch"}, given.filename, given.content)

    def _batch(self, file: Json, fields: Json) -> Json | None:
        """Find the newest batch of this input file with the same endpoint and metadata."""
        for batch in self._listed("batches", {}):
            if batch["created_at"] < file["created_at"]:
                return None
            same = batch["input_file_id"] == file["id"] and batch["endpoint"] == fields["endpoint"]
            if same and (batch.get("metadata") or {}) == fields.get("metadata", {}):
                return batch
        return None

    def _listed(self, what: str, params: dict[str, str]) -> Iterator[Json]:
        after: str | None = None
        while True:
            behind = {} if after is None else {"after": after}
            page = self._api.get(f"/v1/{what}", {**params, "limit": _PAGE[what], **behind})
            yield from page["data"]
            if not page["has_more"] or not page["data"]:
                return
            after = page["data"][-1]["id"]

    def _again[T](self, ask: Callable[[], T]) -> T:
        """Call `ask`, and repeat it while the server does not answer: a repeated request does nothing twice."""
        backoff = Backoff(self._patience)
        while True:
            try:
                return ask()
            except (Unreachable, ServerRefused) as error:
                if isinstance(error, ServerRefused) and not error.may_pass:
                    raise
                if isinstance(error, Unreachable) and not error.is_lost and not backoff.is_away:
                    raise
                seconds = backoff.pause(error)
                self._say(f"{error}; trying again in {seconds:.0f} s (it makes only one batch)")
                backoff.wait(seconds)
