"""An agent's loop over MCP: `python examples/agent.py examples/english.txt` (needs `pip install mcp`).

A model would choose these calls by itself, from what the tools say about themselves. Each call returns within 30
seconds, however long the task takes.
"""

import asyncio
import json
import os
import sys
from pathlib import Path

import httpx2
from mcp.client import Client
from mcp.client.streamable_http import streamable_http_client

URL = os.environ.get("ONCEOVER_URL", "http://127.0.0.1:8787")
KEY = os.environ.get("ONCEOVER_KEY", "none")


async def main(path: Path) -> None:
    http = httpx2.AsyncClient(headers={"Authorization": f"Bearer {KEY}"}, timeout=60)
    async with Client(streamable_http_client(f"{URL}/mcp", http_client=http)) as client:

        async def call(tool, **arguments):
            answer = await client.call_tool(tool, arguments)
            texts = [part.text for part in answer.content]
            if answer.is_error:
                sys.exit(texts[0])
            return texts

        print("tools:", ", ".join(tool.name for tool in (await client.list_tools()).tools))
        work = {"input": path.read_text("utf-8"), "instructions": "Say what happens.", "idempotencyKey": path.name}
        state = json.loads((await call("analyse", **work))[0])
        print("analyse:", state["status"])
        while state["status"] in {"pending", "processing"}:
            state = json.loads((await call("wait", id=state["id"]))[0])
        print("wait:", state["status"], state["progress"])
        text, about = await call("result", id=state["id"])
        print("result:", text.splitlines()[0], "…", json.loads(about)["next"])


asyncio.run(main(Path(sys.argv[1])))
