"""Walks the tools with the official client. Arguments: URL of `/mcp`, key, expired key, `auto` or `legacy`."""

import asyncio
import json
import sys
from typing import Any

import httpx2
from mcp.client import Client
from mcp.client.streamable_http import streamable_http_client

TEXT = "\n\n".join(f"part {number} of a text" for number in range(10))


class Losing(httpx2.AsyncHTTPTransport):
    """Sends requests, and loses the answer to each call of a tool."""

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        """Lose the answer to `tools/call`."""
        response = await super().handle_async_request(request)
        if b"tools/call" in await request.aread():
            await response.aread()
            raise httpx2.ReadError("the answer is lost")
        return response


def client(url: str, key: str, mode: str, *, loses: bool = False) -> Client:
    transport = Losing() if loses else None
    http = httpx2.AsyncClient(headers={"authorization": f"Bearer {key}"}, transport=transport, timeout=60)
    return Client(streamable_http_client(url, http_client=http), mode=mode)


async def call(connected: Client, name: str, **arguments: Any) -> list[str]:
    result = await connected.call_tool(name, arguments)
    texts = [part.text for part in result.content if part.type == "text"]
    return ["refused", *texts] if result.is_error else texts


async def until(connected: Client, task_id: str) -> str:
    """Wait until a task has ended, and return its status."""
    for _ in range(20):
        state = json.loads((await call(connected, "wait", id=task_id, seconds=5))[0])
        if state["status"] not in {"pending", "processing"}:
            break
    return str(state["status"])


async def walk(url: str, key: str, expired: str, mode: str) -> dict[str, Any]:
    seen: dict[str, Any] = {}
    work = {"input": TEXT, "chunk": {"maxChars": 20}, "idempotencyKey": f"python-{mode}"}
    try:
        async with client(url, key, mode, loses=True) as losing:
            await call(losing, "analyse", **work)
            seen["lost"] = False
    except Exception:  # noqa: BLE001 - whichever the client raises
        seen["lost"] = True
    async with client(url, key, mode) as connected:
        seen["revision"] = connected.protocol_version
        seen["tools"] = [tool.name for tool in (await connected.list_tools()).tools]
        made = json.loads((await call(connected, "analyse", **work))[0])
        seen["status"] = await until(connected, made["id"])
        seen["tasks"] = len(json.loads((await call(connected, "list"))[0])["tasks"])
        pages = []
        for page in range(1, 12):
            text, about = await call(connected, "result", id=made["id"], page=page)
            if text == "refused":
                seen["after the last"] = about
                break
            pages.append(len(text))
        seen["pages"] = pages
        slow = json.loads((await call(connected, "analyse", input="slow", idempotencyKey=f"slow-{mode}"))[0])
        seen["cancelled"] = json.loads((await call(connected, "cancel", id=slow["id"]))[0])["status"]
        seen["cancelled result"] = (await call(connected, "result", id=slow["id"]))[0]
        seen["wrong argument"] = (await call(connected, "analyse", input="x", surprise=1))[0]
    try:
        async with client(url, expired, mode) as refused:
            await refused.list_tools()
            seen["expired"] = False
    except Exception:  # noqa: BLE001 - whichever the client raises
        seen["expired"] = True
    return seen


print(json.dumps(asyncio.run(walk(*sys.argv[1:5]))))
