"""A tiny Worker with which tests run the local runtime instead of the project's own Worker."""

from pathlib import Path
from textwrap import dedent

WRANGLER = """
    name = "tiny"
    main = "src/entry.py"
    compatibility_date = "2026-09-08"
    compatibility_flags = ["python_workers"]

    [triggers]
    crons = ["* * * * *"]

    [vars]
    AI_PROVIDER = "workers-ai"
    FROM_FILE = "toml"
    FROM_SECRETS = "toml"
    FROM_FLAG = "toml"

    [ai]
    binding = "AI"

    [[d1_databases]]
    binding = "DB"
    database_name = "tiny"
    database_id = "00000000-0000-0000-0000-000000000000"

    [[queues.producers]]
    binding = "JOBS"
    queue = "jobs"

    [[queues.consumers]]
    queue = "jobs"
    max_batch_size = 1
    max_retries = 2

    [[durable_objects.bindings]]
    name = "COUNTER"
    class_name = "Counter"

    [[migrations]]
    tag = "v1"
    new_sqlite_classes = ["Counter"]

    [env.objects]
    queues = {}

    [env.objects.vars]
    AI_PROVIDER = "workers-ai"

    [[env.objects.d1_databases]]
    binding = "DB"
    database_name = "tiny"
    database_id = "00000000-0000-0000-0000-000000000000"

    [[env.objects.durable_objects.bindings]]
    name = "COUNTER"
    class_name = "Counter"

    [env.bare]
    queues = {}
    durable_objects = { bindings = [] }
    migrations = []

    [env.bare.vars]
    AI_PROVIDER = "workers-ai"

    [[env.bare.d1_databases]]
    binding = "DB"
    database_name = "tiny"
    database_id = "00000000-0000-0000-0000-000000000000"
"""

MIGRATION = """
    CREATE TABLE notes (body TEXT NOT NULL) STRICT;
    -- a trigger has semicolons inside: it must stay one statement
    CREATE TRIGGER notes_are_short BEFORE INSERT ON notes WHEN length(NEW.body) > 20
    BEGIN SELECT RAISE(ABORT, 'too long; shorten'); SELECT 1; END;
"""

ENTRY = '''
    """Does whatever its path says."""

    import asyncio
    import logging
    import queue
    import random
    import sys
    import time
    from random import random as chance

    import js
    from js import AbortController, fetch
    from workers import DurableObject, Response, WorkerEntrypoint

    from greeting import GREETING

    BINDINGS = ("AI", "DB", "JOBS", "COUNTER", "UNSAFE_EVAL")
    SEEDED = random.Random(7).random()
    logger = logging.getLogger("tiny")
    built = []
    served = []


    class Counter(DurableObject):
        def __init__(self, ctx, env):
            super().__init__(ctx, env)
            built.append(str(ctx.id))

        async def add(self, amount):
            total = (await self.ctx.storage.get("total") or 0) + amount["by"]
            await self.ctx.storage.put("total", total)
            return {"total": total, "none": None}

        async def wake(self):
            await self.ctx.storage.setAlarm(int(time.time() * 1000) + 50)

        async def alarm(self):
            print("alarm rang")
            total = (await self.ctx.storage.get("alarms") or 0) + 1
            await self.ctx.storage.put("alarms", total)
            if total == 1:
                raise RuntimeError("alarm broke")

        async def explode(self):
            raise KeyError("object broke")


    class Default(WorkerEntrypoint):
        async def fetch(self, request):
            path = request.url.split("/", 3)[3]
            served.append(path)
            return Response.json(await getattr(self, path.replace("api/async-status", "status"))())

        async def status(self):
            return {"greeting": GREETING}

        async def facts(self):
            return {
                "python": list(sys.version_info[:2]),
                "queue": queue.__file__,
                "path": sys.path,
                "served": len(served),
                "bindings": [name for name in BINDINGS if hasattr(self.env, name)],
                "variables": {
                    name: getattr(self.env, name, None)
                    for name in ("AI_PROVIDER", "FROM_FILE", "FROM_SECRETS", "FROM_FLAG")
                },
            }

        async def drawn(self):
            return {"seeded": SEEDED, "later": chance()}

        async def glue(self):
            import _cloudflare_compat_flags
            import pyodide

            return {
                "modules": sorted(name for name in sys.modules if name.startswith("_cloudflare")),
                "pyodide": pyodide.__version__,
                "flags": sorted(
                    name for name in dir(_cloudflare_compat_flags)
                    if "python" in name and getattr(_cloudflare_compat_flags, name) is True
                ),
            }

        async def clock(self):
            from js import Date

            def read():
                return Date.now()

            first = read()
            sum(range(200_000))
            seen = {"first": first, "within a turn": read() - first, "timers": []}
            for milliseconds in (3, 10, 25, 40):
                set_at = read()
                due = asyncio.get_running_loop().create_future()
                asyncio.get_running_loop().call_later(milliseconds / 1000, lambda: due.set_result(read()))
                seen["timers"].append([milliseconds, await due - set_at])
            return seen

        async def note(self):
            await self.env.DB.prepare("INSERT INTO notes VALUES ('hello')").run()
            return await self.notes()

        async def notes(self):
            row = await self.env.DB.prepare("SELECT count(*) AS n FROM notes").first()
            counter = getattr(self.env, "COUNTER", None)
            total = (await counter.getByName("one").add({"by": 1}))["total"] if counter else None
            return {"notes": row["n"], "total": total, "built": len(built)}

        async def say(self):
            print("printed line")
            print("one\\ntwo")
            logger.warning("logged line")
            return {}

        async def fail(self):
            raise ValueError("fetch broke")

        async def background(self):
            async def later():
                await asyncio.sleep(0.05)
                print("background went on")
                raise LookupError("background broke")

            self.ctx.waitUntil(later())
            return {}

        async def send(self):
            await self.env.JOBS.send({"n": 1})
            return {}

        async def wake(self):
            await self.env.COUNTER.getByName("alarmed").wake()
            return {}

        async def explode(self):
            await self.env.COUNTER.getByName("one").explode()

        async def queue(self, batch, env=None, ctx=None):
            for message in batch.messages:
                print("delivery", message.attempts, message.body["n"])
                raise RuntimeError("queue broke")

        async def scheduled(self, controller, env=None, ctx=None):
            print("cron", controller.cron)
            await asyncio.sleep(0.3)
            print("cron done")
'''

GREETING = 'GREETING = "hello"\n'


def write_tiny_worker(folder: Path) -> Path:
    source = folder / "src"
    source.mkdir(parents=True)
    (folder / "migrations").mkdir()
    (folder / "wrangler.toml").write_text(dedent(WRANGLER))
    (folder / "migrations" / "0001_notes.sql").write_text(dedent(MIGRATION))
    (source / "entry.py").write_text(dedent(ENTRY))
    (source / "greeting.py").write_text(GREETING)
    return source
