"""The text of a task: sent with the request, or uploaded as a file first if it is too long for that.

An uploaded file has a digest of its content in its name, so that the same command again finds it, and with the same
idempotency key the same task.
"""

import hashlib
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from .backoff import Backoff
from .connection import ApiClient
from .errors import ServerRefused, Unreachable
from .shapes import Json
from .submission import LOST_ANSWER_SECONDS, STDIN, Wanted, body_of, read_text

INPUT_BYTES_MOST: Final = 1_850_000  # The most bytes that any server takes as `input`.
_TOO_LARGE: Final = 413
_KEPT_SECONDS: Final = "2592000"  # An uploaded text expires after 30 days, but not while a task reads it.
_PAGE: Final = "1000"
_NAME_CHARS_MOST: Final = 200
_UNSAFE: Final = re.compile(r"[^\w.-]+")


@dataclass(frozen=True, slots=True)
class Text:
    """A text, and where it comes from: the name of a file, or `-` for standard input."""

    content: str
    source: str

    @property
    def filename(self) -> str:
        """The name under which the text is uploaded."""
        stem = "text" if self.source == STDIN else _UNSAFE.sub("-", Path(self.source).stem)
        return f"{stem[:_NAME_CHARS_MOST]}-{hashlib.sha256(self.content.encode()).hexdigest()[:24]}.txt"


@dataclass(frozen=True, slots=True)
class Uploaded:
    """The id of an uploaded file that has the text."""

    file_id: str


def text_of(source: str, say: Callable[[str], None]) -> Text:
    """Read the text of a task from a file, or from standard input if `source` is `-`. Raises `CommandError`."""
    return Text(read_text(source, say), source)


def asked[T](
    api: ApiClient, text: Text | Uploaded, wanted: Wanted, ask: Callable[[Json], T], say: Callable[[str], None]
) -> T:
    """Ask with the body for a text, which is uploaded first if it is too long for the server. Raises `CommandError`."""
    if isinstance(text, Uploaded):
        return ask(body_of({"inputFile": text.file_id}, wanted))
    if len(text.content.encode()) <= INPUT_BYTES_MOST:
        try:
            return ask(body_of({"input": text.content}, wanted))
        except ServerRefused as error:  # a server may take less: MAX_INPUT_BYTES
            if error.status != _TOO_LARGE:
                raise
    body = body_of({}, wanted)  # a wrong flag is refused before the upload
    return ask({"inputFile": _uploaded(api, text, say), **body})


def _uploaded(api: ApiClient, text: Text, say: Callable[[str], None]) -> str:
    """Upload a text, or find its earlier upload, and return the file's id. Raises `CommandError`."""
    content, name, pauses = text.content.encode(), text.filename, Backoff(LOST_ANSWER_SECONDS)
    form = {
        "purpose": "user_data",
        "expires_after[anchor]": "created_at",
        "expires_after[seconds]": _KEPT_SECONDS,
    }
    while True:
        try:
            if (found := _found(api, name, len(content))) is not None:
                say(f"The text is uploaded already, as {found}")
                return found
            say(f"Uploading the text as {name}: {len(content):,} bytes")
            return str(api.upload("/v1/files", form, name, content)["id"])
        except (Unreachable, ServerRefused) as error:
            if not (error.may_pass if isinstance(error, ServerRefused) else error.is_lost):
                raise
            pause = pauses.pause(error)
            say(f"{error}; trying again in {pause:.0f} s")
            pauses.wait(pause)


def _found(api: ApiClient, name: str, size: int) -> str | None:
    """Find an earlier upload of a text by its name."""
    after: str | None = None
    while True:
        behind = {} if after is None else {"after": after}
        page = api.get("/v1/files", {"purpose": "user_data", "limit": _PAGE, **behind})
        for file in page["data"]:
            if file["filename"] == name and file["bytes"] == size:
                return str(file["id"])
        if not page["has_more"] or not page["data"]:
            return None
        after = page["data"][-1]["id"]
