"""Makes a copy of the Worker with doors for tests: raw messages, immediate deliveries, a queue that refuses, and more.

A door is code that is added at the end of the copy's `src/entry.py`. The rest of the copy is the Worker's own code. The
doors of `DOORS` are all in one copy, because each different copy needs a snapshot of its own, which takes seconds.
"""

from pathlib import Path

from tests.support.doors_by_variable import BY_VARIABLE
from tests.support.worker_copy import copy_worker

_MESSAGES = '''

import json as _json

from src.kernel.domain import limits as _limits
from src.features.demo.demo import DemoProvider as _DemoProvider
from src.platform.crossing import into_javascript as _into_javascript
from src.queue.messages import QueueSender as _QueueSender
from src.kernel.store import d1 as _database
from workers import Response as _Response

_send = _QueueSender.send


async def _refusing(self, task_id, delay_seconds):
    raise RuntimeError("Queue send failed: the test said so")


def _poison():
    """Break each call of the built-in provider. A task then rests for seconds, instead of minutes."""
    _DemoProvider.infer = lambda self, call: 1 / 0
    _limits.STALL_REST_SECONDS, _limits.STALL_SECONDS_LEAST = 1.0, 3.0


def _hurry():
    """Let the Worker give up a database that does not answer after three seconds.

    After the same time it replaces a worker that died because of this database.
    """
    _limits.STORE_SECONDS_OF_REQUEST = 3.0
    _limits.QUEUE_RETRY_SECONDS = 1
    _limits.STALL_REST_SECONDS = 3.0
    _database.Database.__init__.__kwdefaults__["seconds"] = 3.0


class _Message:
    """A delivery that notes what became of it."""

    def __init__(self, body):
        self.id, self.attempts, self.body, self.end = "test", 1, _into_javascript(body), None

    def ack(self):
        self.end = self.end or "ack"

    def retry(self, options):
        self.end = self.end or "retry"


class _Batch:
    def __init__(self, messages):
        self.queue, self.messages = "ai-processing-queue", messages


class Default(Default):  # the glue goes by the class's own name
    """Adds POST /_test/messages, {"queue": binding, "bodies": [...]}: sends them; without a queue, consumes them here.

    The second form waits for the end of the run, which a message through the queue does not. POST /_test/refuses with
    `yes` makes the queue refuse all messages of tasks, until another one with `no`. The variable POISON breaks the
    built-in provider, and SHORT_LIMITS shortens limits; both take effect at the first request.
    """

    async def fetch(self, request):
        if getattr(self.env, "POISON", "") == "yes":
            _poison()
        if getattr(self.env, "SHORT_LIMITS", "") == "yes":
            _hurry()
        if str(request.url).endswith("/_test/refuses"):
            _QueueSender.send = _refusing if await request.text() == "yes" else _send
            return _Response("done")
        if not str(request.url).endswith("/_test/messages"):
            return await super().fetch(request)
        wanted = _json.loads(await request.text())
        if wanted["queue"] is None:
            messages = [_Message(body) for body in wanted["bodies"]]
            await self.queue(_Batch(messages))
            return _Response(",".join(str(message.end) for message in messages))
        for body in wanted["bodies"]:
            await getattr(self.env, wanted["queue"]).send(body)
        return _Response("sent")

'''

# This door lets a test make a call of Workers AI by a POST to /_test/ai, with an address and a number of seconds. The
# binding of Workers AI is wrapped in the same way as the SDK wraps it. The `run` of the binding fetches the address
# with the abort signal that it is given, as workerd's own `run` does. If the Worker has given up the call, the door
# answers the test ten seconds later.
_WORKERS_AI = """

import asyncio as _asyncio
import json as _json

from js import Object as _Object
from js import fetch as _fetch
from pyodide.ffi import create_proxy as _create_proxy
from pyodide.ffi import to_js as _to_js
from src.kernel.domain.errors import ModelError as _ModelError
from src.kernel.calls.protocol import ModelCall as _ModelCall
from src.kernel.calls.workers_ai import WorkersAIProvider as _WorkersAIProvider
from src.platform.ai import BoundAi as _BoundAi
from workers import Response as _Response
from workers.rpc import _BindingWrapper


class Default(Default):  # the glue goes by the class's own name
    async def fetch(self, request):
        if not str(request.url).endswith("/_test/ai"):
            return await super().fetch(request)
        wanted = _json.loads(await request.text())

        def run(model, inputs, options):
            assert options.signal.aborted is False
            messages = [message.to_py() for message in inputs.messages]
            sent = {
                "method": "POST",
                "headers": {"authorization": "Bearer test-key"},
                "body": _json.dumps({"model": model, "messages": messages}),
                "signal": options.signal,
            }
            answer = _fetch(wanted["url"], _to_js(sent, dict_converter=_Object.fromEntries))
            if "gateway" not in wanted:
                return answer.then(lambda it: it.json())
            assert options.gateway.to_py() == wanted["gateway"], options.gateway.to_py()
            assert options.returnRawResponse is True
            return answer

        door = _create_proxy(run)
        ai = _BindingWrapper(_to_js({"run": door}, dict_converter=_Object.fromEntries))
        gateway = wanted.get("gateway", {}).get("id")
        provider = _WorkersAIProvider(_BoundAi(ai), model=None, timeout_seconds=wanted["seconds"], gateway=gateway)
        try:
            reply = await provider.infer(_ModelCall("do", "the text", "m", task_key="acme:0190"))
            said = "cached " * reply.from_cache + reply.output
        except _ModelError as error:
            said = error.code
            await _asyncio.sleep(10)
        return _Response(said)

"""

# With this door, each of many callbacks adds another callback; the added ones must run after all of the first ones. The
# callback that JavaScript adds after the first callback has run must also run after all of the first callbacks.
HANDLES = 3_000
_READY_HANDLES = """
import asyncio as _asyncio
import json as _json

import js as _js
from pyodide.ffi import create_once_callable as _once
from workers import Response as _Response


class Default(Default):  # the glue goes by the class's own name
    async def fetch(self, request):
        if not str(request.url).endswith("/_test/order"):
            return await super().fetch(request)
        loop, order, done = _asyncio.get_running_loop(), [], _asyncio.Event()

        def run(number):
            order.append(number)
            if number == 0:
                _js.queueMicrotask(_once(lambda: loop.call_soon(order.append, "new")))
            if number < %d:
                loop.call_soon(run, number + %d)
            if number == 2 * %d - 1:
                done.set()

        for number in range(%d):
            loop.call_soon(run, number)
        await done.wait()
        return _Response(_json.dumps(order))

""".replace("%d", str(HANDLES))

DOORS = _MESSAGES + _WORKERS_AI + _READY_HANDLES + BY_VARIABLE


def write_wired_worker(folder: Path) -> Path:
    entry = copy_worker(folder) / "src" / "entry.py"
    entry.write_text(entry.read_text() + DOORS)
    return folder
