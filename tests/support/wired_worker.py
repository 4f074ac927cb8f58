"""The project's own Worker with a door for tests: raw messages, deliveries at once, and a queue that refuses.

The door is code appended to a copy of `src/entry.py`; everything else is the Worker as it is.
"""

import shutil
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]

DOOR = '''

import json as _json

from src.queue.producer import QueueSender as _QueueSender
from workers import Response as _Response

_send = _QueueSender.send


async def _refusing(self, task_id, delay_seconds):
    raise RuntimeError("Queue send failed: the test said so")


class _Message:
    """A delivery that notes what became of it."""

    def __init__(self, body):
        self.id, self.attempts, self.body, self.end = "test", 1, body, None

    def ack(self):
        self.end = self.end or "ack"

    def retry(self, options):
        self.end = self.end or "retry"


class _Batch:
    def __init__(self, messages):
        self.queue, self.messages = "ai-processing-queue", messages


class _Worker(Default):
    """Adds POST /_test/messages, {"queue": binding, "bodies": [...]}: sends them; without a queue, consumes them here.

    The local queue has one consumer at a time, the hosted one has many: deliveries at once need the second form.
    """

    async def fetch(self, request):
        _QueueSender.send = _refusing if getattr(self.env, "QUEUE_REFUSES", "") == "yes" else _send
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


Default = _Worker
'''


def write_wired_worker(folder: Path) -> Path:
    """Write the project into a folder, for `DevServer(project=folder)`."""
    for name in ("src", "migrations"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "wrangler.toml", folder / "wrangler.toml")
    entry = folder / "src" / "entry.py"
    entry.write_text(entry.read_text() + DOOR)
    return folder
