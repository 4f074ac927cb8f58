"""The API as a table: each call with its handler and every answer that it can give.

The router reads the paths and the handlers, and `openapi` reads the whole table. Tests compare each handler's answers
with the table of calls. The calls that nearly every isolate receives are imported when the isolate starts. The other
calls are imported in groups, with the first request for one of a group's paths
(docs/decisions/python.md#d0033).
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from typing import Any, Final

from ..kernel.feature import PathGroup
from .base.endpoint import Access, Answer, Endpoint
from .base.exchange import Exchange
from .base.messages import Reply
from .tasks.endpoints import endpoints as task_calls
from .tasks.events import ENDPOINTS as EVENT_CALLS
from .tasks.new_task import TaskFields

Parts = Mapping[str, str]


def _events() -> Sequence[Endpoint]:
    return EVENT_CALLS


def _retries() -> Sequence[Endpoint]:
    from .tasks.retries import ENDPOINTS  # noqa: PLC0415 - the first request for a path imports its calls

    return ENDPOINTS


def _keys() -> Sequence[Endpoint]:
    from .access.keys import ENDPOINTS  # noqa: PLC0415 - likewise

    return ENDPOINTS


GROUPS: Final = (
    PathGroup(20, ("/api/tasks/{id}/events",), _events),
    PathGroup(40, ("/api/tasks/{id}/retry",), _retries),
    PathGroup(80, ("/api/keys", "/api/keys/{id}"), _keys),
)


class Catalogue:
    """All calls of the API: the kernel's own and those of the features (`groups`). `body` is that of a submission."""

    def __init__(self, groups: Iterable[PathGroup] = (), body: type[TaskFields] = TaskFields) -> None:
        tasks = task_calls(body)
        own = (
            PathGroup(
                10,
                ("/api/tasks", "/api/tasks/{id}", "/api/tasks/{id}/chunks", "/api/tasks/{id}/cancel"),
                lambda: tasks,
            ),
            PathGroup(120, ("/openapi.json",), self._description),
        )
        self.groups = sorted((*GROUPS, *own, *groups), key=lambda group: group.rank)
        self._by_length: dict[int, list[tuple[str, Sequence[str], PathGroup]]] = {}
        for group in self.groups:
            for path in group.paths:
                segments = path.split("/")
                self._by_length.setdefault(len(segments), []).append((path, segments, group))

    def at(self, path: Sequence[str]) -> tuple[Sequence[Endpoint], Parts]:
        """Return the API's calls for a path, given as its segments, and the values of its variable segments.

        A path that does not exist in the API has no calls.
        """
        found = [
            (pattern, group, parts)
            for pattern, wanted, group in self._by_length.get(len(path), ())
            if (parts := _parts(wanted, path)) is not None
        ]
        if not found:
            return (), {}
        # Of several matching paths, the one with the fewest variable segments counts, so `/api/tasks/retry` is not a
        # task's path.
        pattern, group, parts = min(found, key=lambda one: len(one[2]))
        return tuple(endpoint for endpoint in group.load() if endpoint.path == pattern), parts

    @cached_property
    def endpoints(self) -> Sequence[Endpoint]:
        """All calls of the API, for which the modules of all calls are imported."""
        return tuple(endpoint for group in self.groups for endpoint in group.load())

    @cached_property
    def document(self) -> Mapping[str, Any]:
        """The API's OpenAPI description. An isolate builds it once, when `/openapi.json` is first requested."""
        from . import openapi  # noqa: PLC0415 - few requests need it

        return openapi.document(self.endpoints)

    @cached_property
    def document_text(self) -> str:
        """The API's OpenAPI description as JSON."""
        return json.dumps(self.document, ensure_ascii=False)

    async def read_openapi(self, _exchange: Exchange) -> Reply:
        """Show the API's OpenAPI description."""
        return Reply(200, self.document_text, {"Content-Type": "application/json"})

    def _description(self) -> Sequence[Endpoint]:
        from .openapi import OpenapiView  # noqa: PLC0415 - few requests need it

        return (
            Endpoint(
                method="GET",
                path="/openapi.json",
                summary="Read this description",
                handler=self.read_openapi,
                access=Access.ANY_KEY,
                answers=(Answer(200, "OpenAPI 3.1", (OpenapiView,)),),
            ),
        )


def _parts(wanted: Sequence[str], path: Sequence[str]) -> Parts | None:
    """Return the values of a path's variable segments, None if the path does not match the equally long `wanted`."""
    parts = {}
    for expected, actual in zip(wanted, path, strict=True):
        if expected.startswith("{") and actual:
            parts[expected[1:-1]] = actual
        elif expected != actual:
            return None
    return parts
