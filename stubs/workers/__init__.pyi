"""Cloudflare's SDK."""

from collections.abc import Mapping
from http.client import HTTPMessage
from typing import Any, Literal, TypedDict, Unpack

import js

class Request:
    @property
    def js_object(self) -> js.Request: ...

class Response:
    def __init__(
        self, body: str | None = None, status: int | None = None, status_text: str = "", headers: dict[str, str] = ...
    ) -> None: ...
    @property
    def status(self) -> int: ...
    @property
    def headers(self) -> HTTPMessage: ...
    @property
    def body(self) -> js.ReadableStream | None: ...
    async def json(self) -> Any: ...

class FetchKwargs(TypedDict, total=False):
    """The options of JavaScript's `fetch`. The SDK's own type lacks `signal`, but all options are passed on."""

    method: Literal["GET", "POST"]
    headers: Mapping[str, str]
    body: bytes
    redirect: Literal["follow", "error", "manual"]
    signal: js.AbortSignal

async def fetch(resource: str, **other_options: Unpack[FetchKwargs]) -> Response: ...

class WorkerEntrypoint:
    ctx: js.ExecutionContext
    env: js.Env
    def __init__(self, ctx: js.ExecutionContext, env: js.Env) -> None: ...

class DurableObject:
    ctx: js.DurableObjectState
    env: js.Env
    def __init__(self, ctx: js.DurableObjectState, env: js.Env) -> None: ...
