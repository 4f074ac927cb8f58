"""Submits a new task: reads its text from a file or standard input, and writes its options as the API wants them."""

import json
import re
import sys
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from .backoff import Backoff
from .connection import ApiClient
from .errors import CommandError, ServerRefused, Unreachable
from .shapes import Json

STDIN: Final = "-"
# How long a submission is repeated after its answer was lost. The server keeps an idempotency key for 24 hours.
LOST_ANSWER_SECONDS: Final = 30.0
_SPAN = re.compile(r"(\d+(?:\.\d+)?)(s|m|h|d)?")
_SECONDS = {None: 1, "s": 1, "m": 60, "h": 3_600, "d": 86_400}


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """The options of a task's submission, as the command line gives them. None means the deployment's default."""

    instructions: str | None = None
    reduce: str | None = None
    chunk_chars: int | None = None
    chunk_overlap: int | None = None
    context_chars: int | None = None
    headings: bool | None = None
    model: str | None = None
    max_output_tokens: int | None = None
    temperature: float | None = None
    model_option: Sequence[str] = ()
    metadata: Sequence[str] = ()
    deadline: str | None = None
    max_cost: str | None = None
    not_before: str | None = None
    max_calls: int | None = None
    schema: Json | None = None
    strict: bool = True
    join: Sequence[str] = ()
    gaps: bool = False
    max_gap_share: float | None = None


def read_text(source: str, say: Callable[[str], None]) -> str:
    """Read a text from a file, or from standard input if `source` is `-`. Raises `CommandError`."""
    try:
        if source == STDIN:
            if sys.stdin.isatty():
                say("Reading the text from the terminal; end it with Ctrl-D on a line of its own.")
            content = sys.stdin.buffer.read()
        else:
            content = Path(source).read_bytes()
    except OSError as error:
        raise CommandError(f"cannot read {source}: {error.strerror}") from None
    return _decoded(content, "standard input" if source == STDIN else source)


def _decoded(content: bytes, name: str) -> str:
    try:
        text = content.decode("utf-8")
    except UnicodeDecodeError as error:
        hint = f"`iconv -t UTF-8 {name}` converts it, with -f and its present encoding"
        raise CommandError(
            f"{name} is not UTF-8 (byte {error.start} is 0x{content[error.start]:02x}); {hint}"
        ) from None
    text = text.removeprefix("\ufeff")
    if not text:
        raise CommandError(f"{name} is empty")
    return text


def body_of(given: Json, wanted: Wanted) -> Json:
    """Make the body of `POST /api/tasks` from `input` or `inputFile`, and the options. Raises `CommandError`."""
    chunk = {"maxChars": wanted.chunk_chars, "overlapChars": wanted.chunk_overlap}
    fields: Json = {
        "instructions": wanted.instructions,
        "reduce": wanted.reduce,
        "chunk": _present(chunk) or None,
        "contextChars": wanted.context_chars,
        "headings": wanted.headings,
        "model": wanted.model,
        "maxOutputTokens": wanted.max_output_tokens,
        "temperature": wanted.temperature,
        "modelOptions": _pairs("--model-option", wanted.model_option) or None,
        "metadata": _pairs("--metadata", wanted.metadata) or None,
        "maxCost": wanted.max_cost,
        "notBefore": wanted.not_before,
        "deadlineSeconds": None if wanted.deadline is None else seconds("--deadline", wanted.deadline),
        "maxModelCalls": wanted.max_calls,
        "outputSchema": wanted.schema,
        "strict": None if wanted.strict else False,
        "join": _rules(wanted.join) or None,
        "onChunkFailure": "gap" if wanted.gaps else None,
        "maxGapShare": wanted.max_gap_share,
    }
    return {**given, **_present(fields)}


def read_schema(source: str, say: Callable[[str], None]) -> Json:
    """Read the output schema from a file or standard input. Raises `CommandError`."""
    try:
        schema = json.loads(read_text(source, say), object_pairs_hook=_unique, parse_constant=_no_number)
    except _SameName as error:
        raise CommandError(f"--schema: {source} has an object with the same name twice: {error}") from None
    except ValueError as error:
        raise CommandError(f"--schema: {source} is not JSON: {error}") from None
    if not isinstance(schema, dict):
        raise CommandError(f"--schema: {source} is JSON, but not an object")
    return schema


class _SameName(ValueError):
    """Raised if an object of a JSON document has the same name twice. The exception's message is this name."""


def _unique(pairs: list[tuple[str, object]]) -> Json:
    """Make an object of a JSON document, and refuse equal names as the API does: a parser would keep only the last."""
    found: Json = {}
    for name, value in pairs:
        if name in found:
            raise _SameName(json.dumps(name, ensure_ascii=False)[:100])
        found[name] = value
    return found


def _rules(given: Sequence[str]) -> Json:
    """Read the `POINTER=RULE` pairs of `--join`."""
    found: Json = {}
    for one in given:
        pointer, separator, rule = one.rpartition("=")
        if not separator or not pointer:
            raise CommandError(f"--join {one}: must be POINTER=RULE, like /total=sum")
        if pointer in found:
            raise CommandError(f"--join {one}: {pointer} has a rule already, {found[pointer]}")
        found[pointer] = rule
    return found


def _present(fields: Json) -> Json:
    return {name: value for name, value in fields.items() if value is not None}


def seconds(flag: str, text: str) -> float:
    """Read a duration: seconds, or a number with s, m, h or d. Raises `CommandError`."""
    match = _SPAN.fullmatch(text.strip())
    if match is None:
        raise CommandError(f"{flag} {text}: must be seconds, or like 90s, 10m, 2h, 1d")
    return float(match[1]) * _SECONDS[match[2]]


def _pairs(flag: str, given: Sequence[str]) -> Json:
    """Read a flag's `NAME=VALUE` pairs and JSON objects.

    A value that is valid JSON is read as JSON, any other as text.
    """
    found: Json = {}
    for one in given:
        if one.lstrip().startswith("{"):
            try:
                found |= json.loads(one)
            except ValueError as error:
                raise CommandError(f"{flag}: {one} is not a JSON object: {error}") from None
            continue
        name, separator, value = one.partition("=")
        if not separator or not name:
            raise CommandError(f"{flag} {one}: must be NAME=VALUE, or a JSON object")
        try:
            found[name] = json.loads(value, parse_constant=_no_number)
        except ValueError:
            found[name] = value
    return found


def _no_number(name: str) -> None:
    """Refuse NaN and Infinity as numbers, because JSON does not have them."""
    raise ValueError(name)


def fresh_key() -> str:
    """Make a new idempotency key, with which a repeated submission gives the same task."""
    return f"onceover-cli-{uuid.uuid4().hex}"


def submit(api: ApiClient, body: Json, key: str, say: Callable[[str], None], backoff: Backoff | None = None) -> Json:
    """Submit a task.

    After a lost answer the submission is repeated with the same idempotency key. Raises `CommandError`.
    """
    pauses = backoff or Backoff(LOST_ANSWER_SECONDS)
    was_lost = False
    while True:
        try:
            return api.ask("POST", "/api/tasks", body=body, headers={"Idempotency-Key": key})
        except (Unreachable, ServerRefused) as error:
            was_lost = was_lost or (isinstance(error, Unreachable) and error.is_lost)
            can_pass = error.may_pass if isinstance(error, ServerRefused) else was_lost
            if not can_pass:
                raise
            try:
                seconds_left = pauses.pause(error)
            except CommandError:
                if was_lost:
                    say(f"The task may have been accepted. The same command with --idempotency-key {key} finds it.")
                raise
            say(f"{error}; trying again in {seconds_left:.0f} s (it makes only one task)")
            pauses.wait(seconds_left)


def plan(api: ApiClient, body: Json) -> Json:
    """Ask for the plan of a submission. The server stores nothing."""
    return api.ask("POST", "/api/tasks", params={"dryRun": "true"}, body=body)
