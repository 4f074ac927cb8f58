"""Cloudflare's SDK."""

from typing import Any

import js

class Request:
    @property
    def js_object(self) -> js.Request: ...

class Response:
    async def json(self) -> Any: ...

class WorkerEntrypoint:
    ctx: js.ExecutionContext
    env: js.Env
    def __init__(self, ctx: js.ExecutionContext, env: js.Env) -> None: ...

class DurableObject:
    ctx: js.DurableObjectState
    env: js.Env
    def __init__(self, ctx: js.DurableObjectState, env: js.Env) -> None: ...
