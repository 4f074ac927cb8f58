"""The events of a task as a stream, and notices by which waiting requests and streams learn of changes."""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import replace
from itertools import pairwise
from typing import Any

import pytest

from src.composition import CATALOGUE
from src.kernel.api.base.messages import Reply
from src.kernel.api.router import handle
from src.kernel.api.tasks import events as task_events
from src.kernel.domain import limits
from src.kernel.domain.keys import Scope
from src.kernel.domain.marks import LAST_STEP, Marks
from src.kernel.domain.settings import Settings
from src.kernel.domain.task import Mark, Route, Status
from src.kernel.run.invocation import Memory
from src.kernel.store import events, views
from src.kernel.store.claims import Claim, Continue, Finish
from src.kernel.work.worker import Host, Worker
from src.objects.audience import Audience
from tests.support.api_bench import ApiBench, BenchRequest, bearer, data, key
from tests.support.event_streams import Received, events_of, read_events
from tests.support.sqlite_d1 import NETWORK_LOST
from tests.support.worker_bench import Script

PAID = Settings(provider="demo", chunk_chars=10, plan="paid")


@pytest.fixture
def bench() -> ApiBench:
    return ApiBench(settings=PAID)


class Stream:
    """A client that reads a stream in the background, and keeps its events with the bench's times."""

    def __init__(self, bench: ApiBench, task: Mapping[str, Any], after: str = "", **headers: str) -> None:
        self.came: list[tuple[float, str]] = []
        self.ended_at: float | None = None
        self._loop = bench.loop
        url = f"http://localhost:8787{task['links']['events']}{after and f'?after={after}'}"
        sent = {name.replace("_", "-"): value for name, value in headers.items()}
        self.reply: Reply = bench.run(handle(BenchRequest("GET", url, sent), bench.api, CATALOGUE))
        assert self.reply.status == 200, self.reply
        assert self.reply.headers["Content-Type"] == "text/event-stream"
        assert self.reply.parts is not None
        self.parts = self.reply.parts
        self.reading = bench.loop.create_task(self._read())

    async def _read(self) -> None:
        async for part in self.parts:
            self.came.append((self._loop.time(), part))
        self.ended_at = self._loop.time()

    @property
    def text(self) -> str:
        return "".join(part for _, part in self.came)

    @property
    def events(self) -> list[Received]:
        return read_events(self.text)

    @property
    def retry(self) -> list[int]:
        return [each for each in events_of(self.text.split("\n")) if isinstance(each, int)]

    def named(self, *names: str) -> list[Received]:
        return [event for event in self.events if event.name in names]


def numbered(stream: Stream) -> list[tuple[str | None, object]]:
    return [(each.id, each.json.get("output", each.json["status"])) for each in stream.named("status", "chunk")]


def record(
    bench: ApiBench, claim: Claim, *indices: int, end: bool = False, known: dict[int, str] | None = None
) -> None:
    step = Finish(1_000_000) if end else Continue(180_000)
    done = {index: f"output {index}" for index in indices}
    bench.work(claim, done, step, completed=len(known or {}) + len(done))
    if known is not None:
        known |= done


def held(bench: ApiBench) -> dict[str, Any]:
    task = bench.submit()
    bench.work(bench.claim(task["id"]), {0: "output 0"}, Continue(100_000_000))
    return task


def test_events_come_as_they_happen(bench: ApiBench):
    task = bench.submit("word " * 20, chunk={"maxChars": 10})
    stream = Stream(bench, task)
    bench.pass_seconds(3)
    assert numbered(stream) == [("0-0", "pending")]
    claim, known = bench.claim(task["id"]), dict[int, str]()
    wrote: dict[int, float] = {}
    for at in (1, 0, 2, 4, 5, 3, 6, 7, 9, 8):
        bench.pass_seconds(1.3)
        record(bench, claim, at, known=known, end=len(known) == 9)
        wrote[at] = bench.loop.time()
    bench.run(stream.reading)
    assert numbered(stream) == [
        ("0-0", "pending"),
        ("0-1", "processing"),
        *((f"0-{3 * at + 4}", f"output {at}") for at in range(10)),
        ("0-32", "completed"),
    ]
    due = {at: max(wrote[index] for index in range(at + 1)) for at in wrote}
    for came, part in stream.came:
        for event in read_events(part) if "event: chunk" in part else ():
            if event.name != "chunk":  # a part may have other events too
                continue
            assert came - due[event.json["index"]] <= 2, event
    assert stream.named("chunk")[3].json == data(bench.call("GET", task["links"]["chunks"]))["chunks"][3]
    assert stream.events[-1].name == "end"
    assert stream.events[-1].id is None
    assert stream.events[-1].json == data(bench.call("GET", task["links"]["self"]))
    progress = [event.json["completed"] for event in stream.named("progress")]
    assert progress == sorted(progress)
    assert progress[-1] == 10
    assert {event.id for event in stream.named("progress")} == {None}


def test_the_header_is_newer_than_the_query(bench: ApiBench):
    task = bench.submit()
    bench.complete(task["id"])
    stream = Stream(bench, task, after="0-1", last_event_id="0-10")
    bench.run(stream.reading)
    assert numbered(stream) == [("0-11", "completed")]


@pytest.mark.parametrize(
    "bad", ["x", "0", "0-", "-1", "0-1-2", "00-1", "1-0", "0-11", "0-14", "9999999999-0", "0-7 ", "１-1"]
)
@pytest.mark.parametrize("by", ["header", "query"])
def test_a_bad_id_is_refused_by_name(bench: ApiBench, bad: str, by: str):
    task = bench.submit()
    bench.begin(task["id"], 2)
    path = task["links"]["events"]
    if by == "header":
        reply = bench.call("GET", path, headers={"last-event-id": bad})
    else:
        reply = bench.call("GET", f"{path}?after={bad.replace(' ', '%20')}")
    assert (reply.status, data(reply)["code"]) == (422, "invalid_fields")
    assert "Last-Event-ID" in data(reply)["errors"][0]["field"]


def test_a_task_of_many_chunks_comes_in_portions(bench: ApiBench, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(limits, "EVENT_CHUNKS_AT_ONCE", 4)
    monkeypatch.setattr(limits, "SEGMENT_BYTES", 1)
    task = bench.submit("word " * 66, chunk={"maxChars": 10})
    claim = bench.claim(task["id"])
    for first in range(0, 33, 3):
        bench.work(
            claim, {at: f"output {at}" for at in range(first, first + 3)}, Continue(180_000), completed=first + 3
        )
    bench.work(claim, {}, Finish(1_000_000), completed=33)
    calls, began = bench.database.batches, bench.loop.time()
    stream = Stream(bench, task)
    bench.run(stream.reading)
    assert [event.json["index"] for event in stream.named("chunk")] == list(range(33))
    assert bench.loop.time() == began
    assert bench.database.batches - calls == 11 + 1


def test_a_gap_that_a_retry_opens_again_hides_no_later_output(bench: ApiBench, monkeypatch: pytest.MonkeyPatch):
    """A read has the outputs of one segment. A passed gap counts as an output then, although it is none any more."""
    monkeypatch.setattr(limits, "SEGMENT_BYTES", 1)
    task = bench.submit("word " * 6, chunk={"maxChars": 10}, onChunkFailure="gap", maxGapShare=0.9)
    claim = bench.claim(task["id"])
    for done, at in enumerate((1, 2), 1):
        bench.work(claim, {at: f"output {at}"}, Continue(100_000_000), completed=done)
    bench.database.rows("UPDATE tasks SET generation = 1")
    stream = Stream(bench, task, after="0-4")
    bench.pass_seconds(1)
    assert [event.json["index"] for event in stream.named("chunk")] == [1, 2]
    stream.reading.cancel()


def test_events_that_are_ready_together_are_sent_together(bench: ApiBench, monkeypatch: pytest.MonkeyPatch):
    """All events of one read are one part, unless they are long: each part costs turns of the event loop."""
    task = bench.submit()
    bench.complete(task["id"])
    together = Stream(bench, task)
    bench.run(together.reading)
    monkeypatch.setattr(task_events, "_PART_CHARS", 0)
    apart = Stream(bench, task)
    bench.run(apart.reading)
    assert together.text == apart.text
    chunks = len(apart.named("chunk"))
    assert chunks > 2
    assert len([part for _, part in together.came if "event: chunk" in part]) == 1
    assert len([part for _, part in apart.came if "event: chunk" in part]) == chunks


def test_a_quiet_stream_is_kept_open_by_comments(bench: ApiBench):
    task = held(bench)
    stream = Stream(bench, task)
    bench.pass_seconds(300)
    times = [came for came, _ in stream.came]
    assert max(later - earlier for earlier, later in pairwise([*times, 300.0])) <= 15
    assert len(stream.events) == 4


@pytest.mark.slow
@pytest.mark.parametrize("plan", ["free", "paid"])
@pytest.mark.parametrize("pace", ["quiet", "busy"])
@pytest.mark.parametrize("tells", [False, True])
def test_an_hour_of_a_stream_costs_what_the_documents_say(bench: ApiBench, plan: str, pace: str, tells: bool):
    """An hour without progress, and ten minutes with some, each with and without notices, write no row."""
    bench.limit(plan=plan)
    task = bench.submit("word " * 400, chunk={"maxChars": 10})
    claim, done = bench.claim(task["id"]), 0
    bench.work(claim, {}, Continue(100_000_000))
    if tells:
        bench.audience = Audience(lambda: True)
        bench.database.rows("UPDATE tasks SET route = 'durable-object'")
    spent, place, streams = dict.fromkeys(bench.meter.facts(), 0), "", 0
    while bench.loop.time() < (3_600 if pace == "quiet" else 600) and streams < 1_000:
        before = bench.meter.facts()
        stream = Stream(bench, task, after=place)
        streams += 1
        while not stream.reading.done():
            bench.pass_seconds(0.1)
            if pace == "busy" and bench.loop.time() >= 4 * (done + 1):
                so_far = bench.meter.facts()
                bench.work(claim, {done: "word " * 200}, Continue(100_000_000), completed=done + 1)
                done += 1
                if bench.audience is not None:
                    bench.audience.tell(bench.run(bench.store.going_on(key(task["id"]))).mark, False)
                before = {name: before[name] + now - so_far[name] for name, now in bench.meter.facts().items()}
        spent = {name: spent[name] + now - before[name] for name, now in bench.meter.facts().items()}
        place = ([event.id for event in stream.events if event.id] or [place])[-1] or ""
    assert spent["rows_written"] == 0
    assert (streams, spent["database_calls"], spent["rows_read"], len(bench.asked)) == COSTS[plan, pace, tells]


# Each row has the number of requests and D1 calls as in `docs/limits.md`, the number of rows read as the stand-in for
# D1 counts them (workerd counts more), and the number of calls of the task's object.
COSTS = {
    ("free", "quiet", False): (62, 372, 496, 0),
    ("paid", "quiet", False): (6, 371, 383, 0),
    ("free", "busy", False): (100, 600, 950, 0),
    ("paid", "busy", False): (1, 600, 751, 0),
    ("free", "quiet", True): (60, 360, 480, 360),
    ("paid", "quiet", True): (6, 360, 372, 360),
    ("free", "busy", True): (25, 150, 349, 150),
    ("paid", "busy", True): (1, 150, 301, 150),
}


def test_a_look_without_news_reads_no_output(bench: ApiBench, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(limits, "SEGMENT_BYTES", 1)
    task = bench.submit("word " * 40, chunk={"maxChars": 10})
    claim = bench.claim(task["id"])
    for done, at in enumerate([*range(8), *range(9, 20)]):
        bench.work(claim, {at: f"output {at}"}, Continue(100_000_000), completed=done + 1)
    stream = Stream(bench, task)
    bench.pass_seconds(0.01)
    assert len(stream.named("chunk")) == 8
    calls, rows = bench.meter.database_calls, bench.meter.rows_read
    bench.pass_seconds(120)
    assert bench.meter.rows_read - rows == bench.meter.database_calls - calls > 10
    stream.reading.cancel()


def test_a_task_that_nobody_comes_for_is_helped_once_a_minute(bench: ApiBench):
    helped: list[float] = []

    class Counting:
        def wait_until(self, work: Any) -> None:
            bench.loop.create_task(work)

        async def help(self, _task: object, _seconds: float) -> None:
            helped.append(bench.loop.time())

    task = bench.submit()
    bench.database.rows("UPDATE tasks SET dispatches = 2, sent_at = created_at - 100000")
    bench.api = replace(bench.api, rescue=Counting())  # type: ignore[arg-type]
    stream = Stream(bench, task)
    bench.pass_seconds(150)
    assert len(helped) == 3
    assert min(later - earlier for earlier, later in pairwise(helped)) >= limits.EVENT_HELP_SECONDS
    stream.reading.cancel()


def test_a_stream_ends_before_its_allowance(bench: ApiBench):
    task = held(bench)
    stream = Stream(bench, task)
    bench.run(stream.reading)
    assert stream.retry == [limits.EVENT_RETRY_MS]
    assert stream.ended_at is not None
    assert limits.EVENT_SECONDS <= stream.ended_at <= limits.EVENT_SECONDS + limits.EVENT_LOOK_SECONDS_MOST
    assert not stream.named("end")

    bench.limit(plan="free")
    calls = bench.database.batches
    bench.run(Stream(bench, task).reading)
    assert bench.database.batches - calls == limits.EVENT_READS["free"]
    bench.api.meter.spend(limits.SUBREQUESTS["free"] - 4)
    calls = bench.database.batches
    spent = Stream(bench, task)
    bench.run(spent.reading)
    assert (bench.database.batches - calls, len(spent.retry)) == (1, 1)


def test_a_slow_database_is_asked_less_often(bench: ApiBench):
    """After a slow read a stream pauses for ten times the read's time, which limits its load on the database."""
    task = bench.submit()
    stream = Stream(bench, task)
    bench.database.seconds = 0.4
    calls, began = bench.database.batches, bench.loop.time()
    bench.pass_seconds(22)
    assert bench.database.batches - calls <= 6, bench.loop.time() - began
    bench.database.seconds = 0.0
    stream.reading.cancel()


def test_a_revoked_key_ends_the_stream_within_a_minute():
    bench = ApiBench(settings=PAID, keys=True)
    text, admin = bench.make_key(Scope.READ, Scope.WRITE), bench.make_key()
    task = data(bench.call("POST", "/api/tasks", {"input": "one two three four"}, bearer(text)))
    bench.work(bench.claim(task["id"]), {}, Continue(100_000_000))
    here = bench.api
    bench.restart()  # another isolate revokes the key, and this isolate does not notice
    assert bench.call("DELETE", f"/api/keys/{text.split('_')[1]}", headers=bearer(admin)).status == 204
    revoked_at, bench.api = bench.loop.time(), here
    bench.pass_seconds(44)
    stream = Stream(bench, task, **bearer(text))
    bench.run(stream.reading)
    assert stream.ended_at is not None
    assert stream.ended_at - revoked_at <= 60
    assert stream.retry == [limits.EVENT_RETRY_MS]
    assert bench.call("GET", task["links"]["events"], headers=bearer(text)).status == 401


def test_a_database_that_fails_ends_the_stream(bench: ApiBench):
    task = bench.submit()
    stream = Stream(bench, task)
    bench.pass_seconds(2)
    bench.database.fail(NETWORK_LOST, times=6)
    bench.run(stream.reading)
    assert stream.retry == [limits.EVENT_RETRY_MS]
    assert bench.call("GET", task["links"]["events"]).status == 503
    assert any("stream_failed" in line for line in bench.log_lines)


def test_an_erased_task_has_no_end(bench: ApiBench):
    task = bench.submit()
    stream = Stream(bench, task)
    bench.pass_seconds(2)
    assert bench.call("DELETE", task["links"]["self"]).status == 204
    bench.run(stream.reading)
    assert (numbered(stream), len(stream.retry)) == ([("0-0", "pending")], 1)
    assert bench.call("GET", task["links"]["events"]).status == 404


def test_a_put_back_task_holds_its_chunks_until_a_worker_has_it(bench: ApiBench):
    task = bench.submit()
    bench.fail(task["id"])
    assert bench.call("POST", task["links"]["retry"]).status == 202
    stream = Stream(bench, task)
    bench.pass_seconds(30)
    assert numbered(stream) == [("1-0", "pending")]
    rows = bench.meter.rows_read
    bench.pass_seconds(30)
    assert bench.meter.rows_read - rows <= 3 * 2 * 2  # the worker writes no output between these two events
    bench.claim(task["id"])
    bench.pass_seconds(limits.EVENT_LOOK_SECONDS_MOST)
    assert numbered(stream)[1:] == [("1-1", "processing"), ("1-4", "output 0")]


def test_a_listed_page_may_follow(bench: ApiBench):
    bench.limit(cors_origins=("https://page.example",))
    task = bench.submit()
    bench.complete(task["id"])
    stream = Stream(bench, task, origin="https://page.example")
    bench.run(stream.reading)
    assert stream.reply.headers["Access-Control-Allow-Origin"] == "https://page.example"
    assert replace(stream.reply, parts=None).headers["Cache-Control"] == "no-store"


LOOKS = {views.TASK.sql: "task", views.STATUS.sql: "status", events.LOOK.sql: "look"}


class Scene:
    """A task of three chunks, and the source of notices: a worker here, its object, or a silent one."""

    def __init__(self, near: str, seconds: float = 3.3, plan: str = "paid") -> None:
        self.bench = ApiBench(settings=replace(PAID, plan=plan, timeout_seconds=100.0), routes=(Route.DURABLE_OBJECT,))
        self.task = self.bench.submit()
        self.at_work = True
        self.audience = Audience(lambda: self.at_work)
        if near == "object":
            self.bench.audience = self.audience
        self.marks = self.bench.api.isolate.marks if near == "isolate" else Marks()
        self.model = Script()
        self.model.seconds = lambda number: seconds
        self.looks: list[tuple[float, str]] = []
        self.ended_at: float | None = None
        prepare = self.bench.database.prepare

        def noted(sql: str) -> Any:
            self.looks += [(self.bench.loop.time(), LOOKS[sql])] if sql in LOOKS else []
            return prepare(sql)

        self.bench.database.prepare = noted  # type: ignore[method-assign]

    def claim(self) -> Claim:
        claim = self.bench.claim(self.task["id"], route=Route.DURABLE_OBJECT)
        self.marks.wrote(key(self.task["id"]), Mark(claim.fence, claim.step), until=1e9)
        self.audience.tell(Mark(claim.fence, claim.step), False)
        return claim

    async def work(self) -> None:
        isolate = Memory()
        isolate.marks = self.marks
        worker: Worker = replace(self.bench.api.rescue.worker, provider=self.model, isolate=isolate)
        host = Host(Route.DURABLE_OBJECT, 600.0, wrote=self.audience.tell)
        await worker.run(key(self.task["id"]), host)
        self.ended_at = self.bench.loop.time()
        self.at_work = False
        self.audience.look_up()

    def wait(self, *acts: tuple[float, Callable[[], Any]], seconds: float = 25.0) -> Any:
        """Let a request wait while acts happen at their times, and return the task from its answer."""

        async def play() -> Reply:
            for at, act in acts:
                self.bench.loop.call_later(at, lambda act=act: self._do(act))
            request = BenchRequest("GET", f"http://h{self.task['links']['self']}?wait={seconds}")
            return await handle(request, self.bench.api, CATALOGUE)

        return data(self.bench.run(play()))

    def _do(self, act: Callable[[], Any]) -> None:
        if asyncio.iscoroutine(made := act()):
            self.bench.loop.create_task(made)

    @property
    def kinds(self) -> list[str]:
        return [kind for _, kind in self.looks]


@pytest.mark.parametrize(
    ("near", "plan", "looks", "late"),
    [
        ("nobody", "paid", ["task", *["status"] * 7, "task"], 0.5),
        ("object", "paid", ["task", "task"], 0.0),
        ("isolate", "paid", ["task", "task"], 0.1),
        ("nobody", "free", ["task", "task", "task", "task"], 6.0),
        ("object", "free", ["task", "task"], 0.0),
        ("isolate", "free", ["task", "task"], 0.21),
    ],
)
def test_a_wait_ends_with_its_task(near: str, plan: str, looks: list[str], late: float):
    made: Any = Scene(near, plan=plan)
    shown = made.wait((0.1, made.work))
    assert shown["status"] == "completed"
    assert made.kinds == looks, made.looks
    assert made.bench.loop.time() - made.ended_at <= late + 1e-6
    # The waiting request asked its task's object once, with the state that the request had read. An object that cannot
    # send notices was asked only once in each state.
    assert [since for _, since in made.bench.asked] == [Mark(0, 0), Mark(1, 0)][: 2 if near == "nobody" else 1]


@pytest.mark.parametrize("near", ["isolate", "object"])
def test_an_end_between_the_read_and_the_listening_is_heard(near: str):
    made: Any = Scene(near)
    task_id = made.task["id"]
    batch = made.bench.database.batch

    async def overtaken(statements: Any) -> Any:
        answer = await batch(statements)
        if views.TASK.sql in {statement.sql for statement in statements} and made.ended_at is None:
            made.ended_at = 0.0
            await made.work()
        return answer

    made.model.seconds = lambda number: 0.0
    made.bench.database.batch = overtaken
    assert made.wait()["id"] == task_id
    assert made.kinds == ["task", "task"]
    assert made.bench.loop.time() <= 0.1


@pytest.mark.parametrize("near", ["isolate", "object"])
def test_a_word_that_is_lost_is_made_up_for(near: str):
    made: Any = Scene(near)
    bench, task_key = made.bench, key(made.task["id"])
    made.claim()
    shown = made.wait((7.3, lambda: bench.store.cancel(task_key, 1_000_000)))
    assert shown["status"] == "cancelled"
    assert bench.loop.time() == pytest.approx(10.0)


@pytest.mark.parametrize("near", ["isolate", "object"])
@pytest.mark.parametrize("plan", ["free", "paid"])
def test_a_false_word_costs_one_read(near: str, plan: str):
    made = Scene(near, seconds=60.0, plan=plan)
    task_key = key(made.task["id"])

    def lie() -> None:
        made.marks.left(task_key, 9, ended=True)
        made.audience.tell(Mark(9, LAST_STEP), True)

    shown = made.wait((0.0, made.work), *((at, lie) for at in (1.0, 2.0, 3.0)))
    assert shown["status"] == "processing"
    assert made.bench.loop.time() <= 25.0 + 1e-6
    assert len(made.looks) <= (limits.WAIT_READS_FREE if plan == "free" else 36), made.looks
    # A request without notices reads every half second, and each wrong notice adds one read.
    assert sum(1.0 <= at <= 3.1 for at, _ in made.looks) <= 4 + 3, made.looks


def test_an_object_that_is_not_at_work_is_asked_once():
    """An idle object is asked once in each state of the task, since a call wakes it, which costs money."""
    made = Scene("object", seconds=3.0)
    made.at_work = False

    async def work() -> None:
        made.at_work = True
        await made.work()

    assert made.wait((4.0, work))["status"] == "completed"
    assert [since for _, since in made.bench.asked] == [Mark(0, 0), Mark(1, 0)]
    assert made.bench.loop.time() == pytest.approx(7.0, abs=0.01)


def test_a_task_that_was_given_back_wakes_no_object():
    made = Scene("object")
    made.bench.claim(made.task["id"], lease_ms=1)
    made.bench.database.rows("UPDATE tasks SET status = 'pending', holder = NULL, route = 'durable-object'")
    made.wait(seconds=2.0)
    assert made.bench.asked == []


@pytest.mark.parametrize(("near", "looks"), [("nobody", 40), ("object", 7), ("isolate", 7)])
def test_a_stream_looks_when_something_was_written(near: str, looks: int):
    made = Scene(near, seconds=8.0)
    made.bench.limit(concurrency=1)
    worker = made.bench.api.rescue.worker
    made.bench.api = replace(
        made.bench.api,
        rescue=replace(made.bench.api.rescue, worker=replace(worker, settings=replace(worker.settings, concurrency=1))),
    )
    stream = Stream(made.bench, made.task)
    working = made.bench.loop.create_task(made.work())
    made.bench.run(stream.reading)
    made.bench.run(working)
    assert [each for _, each in numbered(stream)][-1] == Status.COMPLETED
    assert sum(kind == "look" for kind in made.kinds) <= looks
    if near != "nobody":
        came = [at for at, part in stream.came if part.startswith("event: chunk")]
        assert came == pytest.approx([8.0, 16.0, 24.0], abs=0.15)


def test_a_word_of_an_earlier_life_is_nothing():
    made = Scene("isolate", seconds=60.0)
    bench, task_key = made.bench, key(made.task["id"])
    made.wait((0.0, made.work), seconds=1.0)
    assert bench.call("POST", made.task["links"]["cancel"]).status == 200
    assert bench.call("POST", made.task["links"]["retry"], {}).status == 202
    bench.claim(made.task["id"], holder="next")
    made.looks.clear()
    assert made.wait((1.0, lambda: made.marks.left(task_key, 1, ended=True)), seconds=2.0)["status"] == "processing"
    assert made.kinds == ["task", "status", "status", "status", "task"]
