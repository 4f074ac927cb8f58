"""The name of a request, `X-Request-Id`: on its answer, in its problem, and in its log lines."""

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
    """Return the caller's own name for the request if it is 1 to 128 visible ASCII characters, else a new one.

    A new name does not use the service's entropy: nothing depends on the name, and it must not change a simulated
    schedule.
    """
    own = headers.get(REQUEST_ID.lower(), "")
    return own if _TAKEN.fullmatch(own) else uuid4().hex


def named(reply: Reply, name: str) -> Reply:
    """Put the name of the request on its answer, and into a problem."""
    body = reply.body
    if body and reply.headers.get("Content-Type") == PROBLEM_TYPE:
        body = json.dumps(json.loads(body) | {"requestId": name}, ensure_ascii=False)
    return replace(reply, body=body, headers={**reply.headers, REQUEST_ID: name})
