"""The conditions of a submission: its Idempotency-Key, the size of its work, and the limits of its tenant.

The header Idempotency-Key follows the IETF draft "The Idempotency-Key HTTP Header Field". In the draft an idempotency
key is in quotes, and most clients send one without quotes. A key with quotes and the same key without quotes are both
accepted, as different keys.
"""

import hashlib
import json
import re
from collections.abc import Mapping

from ...core import limits
from ...core.quota import seconds_until_reset
from ...store.admission import Limit
from ..base.problems import BAD_IDEMPOTENCY_KEY, IDEMPOTENCY_MISMATCH, LIMIT_REACHED, FieldError, Refusal
from ..base.services import Api

_KEY = re.compile(f"[!-~]{{1,{limits.IDEMPOTENCY_KEY_CHARS_MOST}}}")
_SETTINGS = {
    Limit.TASKS_IN_FLIGHT: ("MAX_TASKS_IN_FLIGHT", "tasks in flight"),
    Limit.CHARACTERS_PER_DAY: ("MAX_CHARACTERS_PER_DAY", "characters accepted a day"),
}


def idempotency_key(headers: Mapping[str, str]) -> str | None:
    """Read the header Idempotency-Key, None if there is none. Raises Refusal (400) for a malformed value."""
    key = headers.get("idempotency-key")
    if key is not None and not _KEY.fullmatch(key):
        most = limits.IDEMPOTENCY_KEY_CHARS_MOST
        raise Refusal(BAD_IDEMPOTENCY_KEY, f"Idempotency-Key takes 1 to {most} visible ASCII characters.")
    return key


def digest(body: Mapping[str, object]) -> str:
    """Return a digest of a body's fields. White space and the order of fields in the body do not change the digest."""
    return hashlib.sha256(json.dumps(body, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def mismatch() -> Refusal:
    """Make the refusal of an Idempotency-Key that was used with another body."""
    return Refusal(IDEMPOTENCY_MISMATCH, "This Idempotency-Key was used with another body. Use a new key.")


def too_many_chunks(most: int) -> FieldError:
    """Make the flaw of a chunk size with which the input has more chunks than a task may have."""
    return FieldError("chunk.maxChars", f"is too small: the input would need more than {most} chunks")


def budget_too_small(minimum: int) -> FieldError:
    """Make the flaw of a budget that is smaller than the calls that the task needs without failures."""
    return FieldError("maxModelCalls", f"must be at least {minimum}: the task needs that many calls without failures")


def too_much_repeated(mostly: str) -> FieldError:
    """Make the flaw of the field that makes the calls for all chunks together send too much text."""
    field = {"overlaps": "chunk.overlapChars", "schema": "outputSchema"}.get(mostly, "instructions")
    message = f"is too long for this many chunks: their calls would send more than {limits.SENT_CHARS_MOST} characters"
    return FieldError(field, message)


def no_such_file(field: str = "inputFile") -> FieldError:
    """Make the flaw of a field that names no file of the tenant, or one that was deleted just now."""
    return FieldError(field, "is not the id of an uploaded file")


def limit_reached(limit: Limit, api: Api) -> Refusal:
    """Make the refusal of a task whose tenant has reached a limit."""
    variable, what = _SETTINGS[limit]
    again = seconds_until_reset(api.now_ms()) if limit is Limit.CHARACTERS_PER_DAY else limits.IN_FLIGHT_RETRY_SECONDS
    detail = f"The tenant has reached the deployment's limit of {what} ({variable})."
    return Refusal(LIMIT_REACHED, detail, headers={"Retry-After": str(again)}, limit=limit)
