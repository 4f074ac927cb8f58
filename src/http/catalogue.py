"""The API as a table: each call with its handler and every answer that it can give.

The router reads the paths and the handlers, and `openapi` reads the whole table. Tests compare each handler's answers
with the table of calls. The calls that nearly every isolate receives are imported when the isolate starts. The other
calls are imported in groups, with the first request for one of a group's paths
(docs/decisions/python.md#d0033).
"""

import json
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from typing import Final, NamedTuple

from .base.endpoint import Access, Answer, Endpoint
from .base.exchange import Exchange
from .base.messages import Reply
from .tasks.endpoints import ENDPOINTS as TASK_CALLS

Parts = Mapping[str, str]


class PathGroup(NamedTuple):
    """Paths whose calls come from one module, and a function that imports them.

    In a path, a segment in braces stands for any value.
    """

    paths: tuple[str, ...]
    load: Callable[[], Sequence[Endpoint]]


async def read_openapi(exchange: Exchange) -> Reply:
    """Show the API's OpenAPI description."""
    return Reply(200, document_text(), {"Content-Type": "application/json"})


def _task_calls() -> Sequence[Endpoint]:
    return TASK_CALLS


def _events() -> Sequence[Endpoint]:
    from .tasks.events import ENDPOINTS  # noqa: PLC0415 - here and below: see above

    return ENDPOINTS


def _attempts() -> Sequence[Endpoint]:
    from .tasks.attempts import ENDPOINTS  # noqa: PLC0415

    return ENDPOINTS


def _retries() -> Sequence[Endpoint]:
    from .tasks.retries import ENDPOINTS  # noqa: PLC0415

    return ENDPOINTS


def _bulk() -> Sequence[Endpoint]:
    from .tasks.bulk import ENDPOINTS  # noqa: PLC0415

    return ENDPOINTS


def _deliveries() -> Sequence[Endpoint]:
    from .webhooks.deliveries import ENDPOINTS  # noqa: PLC0415

    return ENDPOINTS


def _tenants() -> Sequence[Endpoint]:
    from .operate.tenants import ENDPOINTS  # noqa: PLC0415

    return ENDPOINTS


def _keys() -> Sequence[Endpoint]:
    from .access.keys import ENDPOINTS  # noqa: PLC0415

    return ENDPOINTS


def _sweep() -> Sequence[Endpoint]:
    from .operate.operation import ENDPOINTS  # noqa: PLC0415

    return ENDPOINTS


def _observation() -> Sequence[Endpoint]:
    from .operate.observation import ENDPOINTS  # noqa: PLC0415

    return ENDPOINTS


def _health() -> Sequence[Endpoint]:
    from .operate.health import ENDPOINTS  # noqa: PLC0415

    return ENDPOINTS


@cache
def _description() -> Sequence[Endpoint]:
    from .openapi import OpenapiView  # noqa: PLC0415

    return (
        Endpoint(
            method="GET",
            path="/openapi.json",
            summary="Read this description",
            handler=read_openapi,
            access=Access.ANY_KEY,
            answers=(Answer(200, "OpenAPI 3.1", (OpenapiView,)),),
        ),
    )


def _responses() -> Sequence[Endpoint]:
    from .responses.endpoints import ENDPOINTS  # noqa: PLC0415

    return ENDPOINTS


def _files() -> Sequence[Endpoint]:
    from .files.endpoints import ENDPOINTS  # noqa: PLC0415

    return ENDPOINTS


def _batches() -> Sequence[Endpoint]:
    from .batches.endpoints import ENDPOINTS  # noqa: PLC0415

    return ENDPOINTS


def _webhook_calls() -> Sequence[Endpoint]:
    from .webhooks.webhook_calls import ENDPOINTS  # noqa: PLC0415

    return ENDPOINTS


GROUPS: Final = (
    PathGroup(
        ("/api/tasks", "/api/tasks/{id}", "/api/tasks/{id}/chunks", "/api/tasks/{id}/cancel"),
        _task_calls,
    ),
    PathGroup(("/api/tasks/{id}/events",), _events),
    PathGroup(("/api/tasks/{id}/attempts",), _attempts),
    PathGroup(("/api/tasks/{id}/retry",), _retries),
    PathGroup(("/api/tasks/retry", "/api/tasks/cancel"), _bulk),
    PathGroup(("/api/tasks/{id}/deliveries", "/api/deliveries/{id}/redeliver"), _deliveries),
    PathGroup(("/api/tenants",), _tenants),
    PathGroup(("/api/keys", "/api/keys/{id}"), _keys),
    PathGroup(("/api/sweep",), _sweep),
    PathGroup(("/api/metrics", "/api/history"), _observation),
    PathGroup(("/api/async-status", "/api/ai-status"), _health),
    PathGroup(("/openapi.json",), _description),
    PathGroup(
        (
            *("/v1/responses", "/v1/responses/{id}", "/v1/responses/{id}/cancel", "/v1/responses/{id}/input_items"),
            *("/v1/models", "/v1/models/{id}"),
        ),
        _responses,
    ),
    PathGroup(("/v1/files", "/v1/files/{id}", "/v1/files/{id}/content"), _files),
    PathGroup(("/v1/batches", "/v1/batches/{id}", "/v1/batches/{id}/cancel"), _batches),
    PathGroup(
        (
            *("/v1/webhook_endpoints", "/v1/webhook_endpoints/{id}"),
            *("/v1/webhook_endpoints/{id}/rotate_secret", "/v1/webhook_endpoints/{id}/test"),
        ),
        _webhook_calls,
    ),
)
_PATTERNS: Final = tuple((path, tuple(path.split("/")), group) for group in GROUPS for path in group.paths)
_BY_LENGTH: Final = {
    length: tuple(one for one in _PATTERNS if len(one[1]) == length) for length in {len(one[1]) for one in _PATTERNS}
}


def at(path: Sequence[str]) -> tuple[Sequence[Endpoint], Parts]:
    """Return the API's calls for a path, which is given as its segments, and the values of its variable segments.

    A path that does not exist in the API has no calls.
    """
    found = [
        (pattern, group, parts)
        for pattern, wanted, group in _BY_LENGTH.get(len(path), ())
        if (parts := _parts(wanted, path)) is not None
    ]
    if not found:
        return (), {}
    # Of several matching paths, the one with the fewest variable segments counts, so `/api/tasks/retry` is not a task's
    # path.
    pattern, group, parts = min(found, key=lambda one: len(one[2]))
    return tuple(endpoint for endpoint in group.load() if endpoint.path == pattern), parts


def _parts(wanted: Sequence[str], path: Sequence[str]) -> Parts | None:
    """Return the values of a path's variable segments, None if the path does not match the equally long `wanted`."""
    parts = {}
    for expected, actual in zip(wanted, path, strict=True):
        if expected.startswith("{") and actual:
            parts[expected[1:-1]] = actual
        elif expected != actual:
            return None
    return parts


@cache
def endpoints() -> Sequence[Endpoint]:
    """Return all calls of the API, for which the modules of all calls are imported."""
    return tuple(endpoint for group in GROUPS for endpoint in group.load())


@cache
def document() -> dict[str, object]:
    """Build the API's OpenAPI description, once in an isolate, when `/openapi.json` is first requested."""
    from . import openapi  # noqa: PLC0415

    return openapi.document(endpoints())


@cache
def document_text() -> str:
    """Write the API's OpenAPI description as JSON. An isolate writes the description once."""
    return json.dumps(document(), ensure_ascii=False)
