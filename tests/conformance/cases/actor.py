"""The object of the conformance Worker, both under workerd and on the fakes."""

import asyncio
import json
from typing import Any

from tests.conformance.cases import storage
from tests.conformance.cases.registry import OBJECT_CASES, now_ms, show

ROUNDS = 60
assert storage  # importing `storage` registers its cases


class Refused(Exception):
    """An exception class that the Worker itself defines."""


class Actor:
    """The object of the conformance Worker, whose methods the cases call through stubs."""

    def __init__(self, ctx: Any, env: Any) -> None:
        self.ctx = ctx
        self.env = env
        self.log: list[str] = []
        self.events = 0

    async def echo(self, value: Any) -> Any:
        return {"seen": show(value), "back": value}

    async def give(self, kind: str) -> Any:
        return {"tuple": (1, 2), "none": None, "nested": {"a": [None, {"b": 1.0}]}, "text": "é", "set": {1}}[kind]

    def plain(self) -> int:
        return 5

    async def fail(self, kind: str) -> None:
        if kind == "own":
            raise Refused("refused it")
        raise {"value": ValueError, "key": KeyError, "runtime": RuntimeError}[kind]("no such thing")

    async def note(self, word: str) -> list[str]:
        self.log.append(word)
        return self.log

    async def slow(self, word: str) -> list[str]:
        self.log.append(f"{word} begins")
        await asyncio.sleep(0.1)
        self.log.append(f"{word} ends")
        return self.log

    async def event(self) -> int:
        self.events += 1
        return self.events

    async def watch(self, operation: str) -> list[bool]:
        started, between = self.events, False
        for _ in range(ROUNDS):
            for _ in range(5):
                before = self.events
                if operation == "get":
                    await self.ctx.storage.get("key")
                else:
                    await self.ctx.storage.put("key", before)
                between = between or self.events != before
            await asyncio.sleep(0.01)  # under Pyodide no other events run during a shorter sleep
        return [between, self.events > started]

    async def put_then_fail(self) -> None:
        await self.ctx.storage.put("kept", 1)
        self.ctx.storage.put("unawaited", 2)
        raise ValueError("after writing")

    async def put_then_abort(self) -> None:
        self.ctx.storage.put("one", 1)
        self.ctx.storage.put("two", 2)
        self.ctx.abort("to order")

    async def read(self) -> dict[str, Any]:
        return dict(await self.ctx.storage.list())

    async def ring(self, delays: list[int], acts: list[str]) -> None:
        """Set the alarm in each number of milliseconds in turn; at each run the next of `acts` is done."""
        await self.ctx.storage.put("acts", acts)
        for delay in delays:
            await self.ctx.storage.setAlarm(await now_ms(self.env) + delay)

    async def alarm(self, info: Any = None) -> None:
        storage = self.ctx.storage
        rings = await storage.get("rings") or []
        acts = await storage.get("acts") or []
        act = acts[len(rings)] if len(rings) < len(acts) else "ok"
        rings.append([act, _info(info, "isRetry"), _info(info, "retryCount"), await storage.getAlarm()])
        await storage.put("rings", rings)
        if act == "raise":
            raise ValueError("the alarm was told to")
        if act == "rearm":
            await storage.setAlarm(await now_ms(self.env) + 50)
        if act == "rearm and raise":
            await storage.setAlarm(await now_ms(self.env) + 50)
            raise ValueError("the alarm was told to")

    async def rings(self) -> list[Any]:
        return await self.ctx.storage.get("rings") or []

    async def run(self, name: str) -> str:
        return json.dumps(await OBJECT_CASES[name](self.ctx))


def _info(info: Any, name: str) -> Any:
    return info[name] if isinstance(info, dict) else getattr(info, name)
