"""The id of a request, `X-Request-Id`: a header of the answer, a field of a problem, and a field of the log lines."""

import json
import re
from collections.abc import Mapping
from dataclasses import replace
from uuid import uuid4

from .headers import REQUEST_ID
from .messages import Reply
from .problems import PROBLEM_TYPE

_TAKEN = re.compile("[!-~]{1,128}")


def request_id(headers: Mapping[str, str]) -> str:
    """Return the client's `X-Request-Id` if it has 1 to 128 visible ASCII characters, else a new id.

    A new id does not come from the service's source of randomness, because it must not change a simulated schedule.
    Nothing depends on the value of the id.
    """
    own = headers.get(REQUEST_ID.lower(), "")
    return own if _TAKEN.fullmatch(own) else uuid4().hex


def named(reply: Reply, name: str) -> Reply:
    """Add the request's id to the headers of its answer, and to the body if the answer is a problem."""
    body = reply.body
    if body and reply.headers.get("Content-Type") == PROBLEM_TYPE:
        body = json.dumps(json.loads(body) | {"requestId": name}, ensure_ascii=False)
    return replace(reply, body=body, headers={**reply.headers, REQUEST_ID: name})
