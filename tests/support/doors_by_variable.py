"""Code for a copy of the Worker that does what TEST_DOORS asks for, shared by all hosts of a runtime."""

import json

from tests.support.client import variables


def doors(**asked: object) -> list[str]:
    """Return the flags of `make dev` that open doors.

    - `limits`: values of `src.kernel.domain.limits`, by name. Code that has copied a limit keeps its own value.
    - `key_seconds`: for how long an isolate remembers an API key.
    - `variables`: values that the Worker reads instead of its variables. `make dev` does not check them.
    - `gateway`: the model's server counts as Cloudflare's AI Gateway.
    - `hold`: a submission waits for a minute when its task is in D1: before it is sent to its host (`send`), or before
      the answer (`reply`).
    - `witness`: each delivered message is printed, because the local queue keeps messages only in memory.
    - `dead`: the triggers that the last POST to /_test/dead named fail at entry, before they run any code of the
      Worker, and at first all fail. A task is late after a second, and each trigger is recorded whenever it comes.
    """
    return variables({"TEST_DOORS": json.dumps(asked)})


BY_VARIABLE = '''

import asyncio as _asyncio
import json as _json

from src.kernel.calls import openai as _openai
from src.kernel.domain import limits as _limits
from src.platform import surroundings as _surroundings
from src.queue.messages import QueueSender as _QueueSender
from src.kernel.store import seen as _seen, views as _views
from workers import Response as _Response

_asked, _dead, _set = {}, [""], {}
_send_at_once, _load = _QueueSender.send, _surroundings.load


async def _late_send(self, task_id, delay_seconds):
    await _asyncio.sleep(60)
    await _send_at_once(self, task_id, delay_seconds)


def _open(env):
    """Open the doors that the variable names, when the isolate's first handler begins."""
    if _asked:
        return
    asked = _json.loads(getattr(env, "TEST_DOORS", "{}"))
    for name, value in asked.get("limits", {}).items():
        assert hasattr(_limits, name), name
        setattr(_limits, name, value)
    if "key_seconds" in asked:
        from src.kernel.api.access import access

        assert access.caller_of.__defaults__ == (_limits.KEY_CACHE_SECONDS,)
        access.caller_of.__defaults__ = (asked["key_seconds"],)
    if "variables" in asked:
        _set.update(asked["variables"])
        _surroundings.load = lambda read: _load(lambda name: _set.get(name) or read(name))
    if asked.get("gateway"):
        _openai.is_gateway = lambda base_url: True
    if asked.get("hold") == "send":
        _QueueSender.send = _late_send
    # Last, so that a door that cannot be opened is an error of each handler, not only of the first one.
    _asked.update({"": True} | asked)
    if asked.get("dead"):
        _dead[0] = "queue,cron,alarm,rpc"
        _seen.LATE_MS = _views.LATE_MS = 1_000
        _limits.ASKED_SWEEP_APART_SECONDS = 1.0
        _limits.SEEN_SECONDS = _limits.SWEEP_SEEN_SECONDS = 0.0


def _enter(env, event):
    _open(env)
    if event in _dead[0]:
        raise RuntimeError("NoGilError: the test has " + event + " events fail at entry")


class Default(Default):  # the glue goes by the class's own name
    async def fetch(self, request):
        _open(self.env)
        if str(request.url).endswith("/_test/dead"):
            _dead[0] = await request.text()
            return _Response("done")
        reply = await super().fetch(request)
        if _asked.get("hold") == "reply" and str(request.method) == "POST":
            await _asyncio.sleep(60)
        return reply

    async def queue(self, batch, env=None, ctx=None):
        _enter(self.env, "queue")
        for message in batch.messages if _asked.get("witness") else ():
            print("message", batch.queue, _json.dumps(message.body))
        await super().queue(batch)

    async def scheduled(self, controller, env=None, ctx=None):
        _enter(self.env, "cron")
        await super().scheduled(controller)


class AIProcessor(AIProcessor):
    async def alarm(self, info=None):
        _enter(self.env, "alarm")
        await super().alarm(info)

    async def start(self, task_key, delay_seconds):
        _enter(self.env, "rpc")
        await super().start(task_key, delay_seconds)

'''
