"""Cloudflare's SDK, `python_modules/workers`, with only what the Worker uses; no bundle contains these stubs.

They describe values as the SDK provides them: `env` and `ctx` are its wrappers, and a missing binding is an
AttributeError. Before the Worker uses another name of `js`, `pyodide` or `workers`, add it with the types of its
documentation; the SDK's own annotations name types of `js` that exist nowhere. `tests/unit/platform/test_stubs.py`
compares the names and parameters with the installed SDK.
"""

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
