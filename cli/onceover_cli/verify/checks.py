"""The checks of `onceover verify`. Each says what it did, what it saw, and what that means."""

import json
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from functools import partial
from statistics import median
from typing import Final
from urllib.parse import urlsplit

import httpx2

from ..connection import read_answer
from ..errors import ServerRefused, Unreachable
from ..shapes import Json
from ..submission import fresh_key
from .findings import NAME, Finding, Grade
from .receiver import Receiver
from .trial import ONE, PARTS, UNAIDED_SECONDS, NotRun, Trial

CRON_SECONDS: Final = 150.0  # cron comes each minute, and every second time is recorded
MISSED_SECONDS: Final = 170.0  # requests begin sweeps too, 180 s after the last one
_FAST: Final = "the task had ended before it could be watched: its model is too fast"

type Seen = tuple[Grade, str, str]
type Check = tuple[str, str, Callable[[Trial], Seen]]


def checks(status: Json, receiver: str | None) -> Iterator[Check]:
    """Return the checks for a deployment with this status: the name of each, what it does, and its function."""
    bound = status["queueCheck"]
    yield "schema", "compared the migrations of code and database", lambda _: _schema(status)
    yield "database", "timed reads, stored a task for later, and asked a scrape of metrics for its rows", _database
    yield "model", "asked whether the model would answer", _model
    routes = {"queue": bound["hasAIQueue"], "durable-object": bound["hasDurableObjects"]}
    # Beside others, the direct route is the last resort, and has no time for calls of AI_TIMEOUT_SECONDS.
    for route in [name for name, is_bound in routes.items() if is_bound] or ["direct"]:
        yield f"route {route}", "sent a task by it alone, and watched without helping", partial(_route, route)
    yield "repetition", "sent a submission twice with one Idempotency-Key, and another body with it", _repeated
    yield "hang-up", "hung up during a submission, and sent it again", _hang_up
    yield "streams and timers", "opened a stream, waited for the task for 2 s, and followed it to its result", _watched
    yield "cancel", "cancelled a running task, and looked at its bill 3 s later", _cancelled
    yield "deadline", "gave a task of three calls one second", _deadline
    yield "budget", "submitted a task of six calls with a budget of one", _budget
    yield "structured output", "ran a task with an output schema", _structured
    yield "files", "stored a file, read it and deleted it", _file
    yield "batch", "ran a batch of two lines", _batch
    yield "webhooks", "registered an endpoint, tried it, and ended a task", partial(_webhooks, receiver)
    yield "cron", "waited for a sweep that cron began", partial(_cron, status["lastSweepAt"])
    yield "answers", "counted answers with a status from 500 on", _answers


def run(trial: Trial, check: Check) -> Finding:
    """Run a check. An answer that onceover never gives is a fault, and a check that cannot run is no success."""
    name, did, act = check
    began = trial.clock()
    try:
        verdict, saw, means = act(trial)
    except NotRun as reason:
        verdict, saw, means = Grade.NOT_RUN, str(reason), "Nothing is known about this."
    except (Unreachable, ServerRefused) as error:
        code = f" ({error.code})" if isinstance(error, ServerRefused) and error.code else ""
        verdict, saw = Grade.FAULT, f"{error}{code}".replace(trial.api.where.url, "the deployment")
        means = "The deployment does not answer this as onceover does: npx wrangler tail shows why."
    except (KeyError, TypeError, IndexError, ValueError, StopIteration, httpx2.SSEError) as error:
        verdict, saw = Grade.FAULT, f"an answer that is not onceover's: {type(error).__name__} {error}"
        means = "Something else answers, or answers are changed on their way."
    return Finding(name, verdict, did, saw, means, trial.clock() - began)


def _judged(saw: str, sound: str, *faults: tuple[bool, str]) -> Seen:
    """Return the first fault that applies, with what it means; else that this is sound."""
    means = next((means for applies, means in faults if applies), None)
    return (Grade.SOUND, saw, sound) if means is None else (Grade.FAULT, saw, means)


def _schema(status: Json) -> Seen:
    known, applied = status["schema"]["known"], status["schema"]["applied"]
    saw = f"the code knows {known}, the database has {applied}"
    return _judged(saw, "The database has this code's tables.", (known != applied, "Migrate: make deploy."))


def _model(trial: Trial) -> Seen:
    seen = trial.get("/api/ai-status")
    trial.model = seen["model"]
    saw = f"{seen['provider']}, {seen['model']}: {seen['status']}; {seen['detail']}"
    fault = seen["status"] == "unavailable", "The model is away, or its credentials, address or name are wrong."
    return _judged(saw, "Nothing known keeps calls from succeeding. The routes make some.", fault)


def _end(task: Json) -> str:
    said = f": {task['error']['code']}, {task['error']['message']}" if task["error"] else ""
    return f"{task['status']}{said} by the route {task['route']}, {task['usage']['modelCalls']} model calls"


def _route(route: str, trial: Trial) -> Seen:
    began, trial.calls_fail = trial.clock(), False
    _, task = trial.submit(trial.submission(1), route=route)
    seen = trial.unaided(task["id"], UNAIDED_SECONDS)
    took = f"{trial.clock() - began:.0f} s"
    trial.calls_fail, trial.route = seen["status"] == "failed", route if trial.dead else ""
    if not seen["terminal"]:
        if error := trial.get(f"/api/tasks/{task['id']}")["lastError"]:
            trial.calls_fail = True
            saw = f"{seen['status']} after {took}: {error['code']}, {error['message']}"
            return Grade.FAULT, saw, "The task began, but its call fails. The runbook has this code."
        trial.dead.append(route)
        helped = trial.ended(task["id"], 30.0)
        reason = (seen["waitingFor"] or {"reason": "a call"})["reason"]
        saw = f"{seen['status']} after {took}, waiting for {reason}; with a poll's help {_end(helped)}"
        return Grade.FAULT, saw, _NOT_CARRIED[route]
    calls = trial.get(f"/api/tasks/{task['id']}/attempts")["counts"]
    again = seen["attempts"] > 1 or seen["usage"]["modelCalls"] - calls["failed"] > seen["usage"]["minimumCalls"]
    in_order = seen["createdAt"] <= (seen["startedAt"] or "") <= seen["finishedAt"]
    return _judged(
        f"{_end(seen)}, {seen['attempts']} claims, in {took}",
        f"The route carries tasks by itself: {_CARRIES[route]}.",
        (seen["status"] != "completed", "The route works, but the model does not. The runbook has this code."),
        (seen["route"] != route, _NOT_CARRIED[route]),
        (again, "The task ran twice: a call was paid twice, or a worker died."),
        (not in_order, "The times of Worker and database are not in order."),
    )


_CARRIES: Final = {"queue": "queue and consumer came", "durable-object": "RPC and alarms came", "direct": "at once"}
_NOT_CARRIED: Final = {
    "queue": "The queue does not carry tasks. Has it a consumer (npx wrangler queues list)? Then make deploy.",
    "durable-object": "RPC or alarms of the object do not come: npx wrangler tail shows whether they fail.",
    "direct": "Work after an answer (waitUntil) does not run.",
}


def _database(trial: Trial) -> Seen:
    def ms(path: str) -> float:
        began = trial.clock()
        trial.get(path)
        return (trial.clock() - began) * 1000

    without, took = (median(ms(path) for _ in range(5)) for path in ("/api/ai-status", "/api/tasks?limit=1"))
    rows = trial.scrape("scrape_rows_(?:read|written)")
    trial.booked = sum(trial.scrape("model_calls_total"))
    saw = f"a list took {took:.0f} ms, an answer without the database {without:.0f} ms"
    saw += f"; a scrape read and wrote {' and '.join(map(str, rows)) or 'unknown'} rows"
    start = (datetime.now(UTC) + timedelta(minutes=5)).isoformat()
    try:
        trial.submit(trial.submission(0, maxModelCalls=1, notBefore=start))
    except ServerRefused as refused:
        if refused.status < 500:
            raise
        return Grade.FAULT, f"{saw}; a write got {refused.code}: {refused}", "The database takes no writes."
    return _judged(saw, "The database answers in good time.", (took - without > 2000, "The database is slow."))


def _repeated(trial: Trial) -> Seen:
    key, body = fresh_key(), trial.submission(1)
    _, first = trial.submit(body, key)
    answer, again = trial.submit(body, key, route="direct")
    other = trial.send("POST", "/api/tasks", json={**body, "input": PARTS}, headers={"Idempotency-Key": key})
    same, replayed = again["id"] == first["id"], answer.headers.get("idempotency-replayed")
    saw = f"the second answer named {'the same' if same else 'another'} task (Idempotency-Replayed: {replayed})"
    fault = not same or replayed != "true" or other.status_code != 422, "A client that repeats a request pays twice."
    return _judged(f"{saw}; the other body got {other.status_code}", "A lost answer can be asked for again.", fault)


def _hang_up(trial: Trial) -> Seen:
    key, body, cut = fresh_key(), trial.submission(1), "hung up before the answer"
    with suppress(Unreachable):
        trial.submit(body, key, seconds=0.005)
        cut = "the answer came before the hang-up"
    trial.pause(1.0)
    answer, task = trial.submit(body, key)
    there = "there" if answer.headers.get("idempotency-replayed") == "true" else "not there"
    ended = trial.ended(task["id"])
    saw = f"{cut}; the task was {there} at the repetition, and {_end(ended)}"
    fault = ended["status"] != "completed", "A task whose client hung up does not go on."
    return _judged(saw, "Hanging up neither loses nor doubles a task.", fault)


def _begun(trial: Trial) -> Json:
    """Submit a task of six calls that has not ended yet. Raises NotRun if it ends at once."""
    _, task = trial.submit(trial.submission(6, PARTS))
    if trial.look(task["id"])["terminal"]:
        raise NotRun(_FAST)
    return task


def _watched(trial: Trial) -> Seen:
    path = f"/api/tasks/{_begun(trial)['id']}"
    began = trial.clock()
    with trial.api.events(f"{path}/events", None) as events:
        first = next(iter(events)).event
    streamed, is_over = trial.clock() - began, trial.look(path.rpartition("/")[2])["terminal"]
    is_held = is_over and streamed > 2.0
    if is_over and not is_held:
        raise NotRun(_FAST)
    began, waited = trial.clock(), None
    with suppress(Unreachable):
        waited = trial.get(path, wait="2")
    seconds, said = trial.clock() - began, "no answer" if waited is None else "an answer"
    is_late = waited is None or seconds > 8.0
    is_early = waited is not None and not waited["terminal"] and seconds < 1.5
    ended, streams, outputs = (None, 0, []) if is_late else _followed(trial, path)
    is_other = ended is not None and ended["result"] and ended["result"]["output"] != "\n\n".join(outputs)
    return _judged(
        f"the stream's first event ({first}) came after {streamed:.1f} s; a wait of 2 s got {said} in {seconds:.1f} s; "
        f"following took {streams} streams, {'and never reached the end' if ended is None else f'to {_end(ended)}'}",
        "Events come when they happen, and timers fire.",
        (is_held, "The stream is held back until the end: something buffers it."),
        (is_late or is_early, "Timers fire late, early or never."),
        (ended is None, "A follower of a task does not learn its end."),
        (is_other, "The result is not what the events told part by part: something of it is lost."),
    )


def _followed(trial: Trial, path: str) -> tuple[Json | None, int, list[str]]:
    """Follow a stream over the platform's limits. Returns the ended task, the number of streams, and the outputs."""
    last, opened, until, outputs = None, 0, trial.clock() + 60.0, list[str]()
    while trial.clock() < until and opened < 40:
        opened += 1
        with trial.api.events(f"{path}/events", last) as events:
            for event in events:
                last = event.id or last
                if event.event == "chunk":
                    outputs.append(json.loads(event.data)["output"])
                if event.event == "end":
                    return trial.get(path), opened, outputs
    return None, opened, outputs


def _cancelled(trial: Trial) -> Seen:
    path = f"/api/tasks/{_begun(trial)['id']}"
    answer = trial.send("POST", f"{path}/cancel")
    if answer.status_code == 409:
        raise NotRun(_FAST)
    calls = read_answer(answer)["usage"]["modelCalls"]
    trial.pause(3.0)
    after = trial.get(path)
    saw = f"{after['status']}; {calls} calls at the answer, {after['usage']['modelCalls']} after 3 s"
    fault = after["status"] != "cancelled" or after["usage"]["modelCalls"] > calls, "A cancelled task goes on."
    return _judged(saw, "A cancellation stops a task.", fault)


def _deadline(trial: Trial) -> Seen:
    _, task = trial.submit(trial.submission(3, PARTS, deadlineSeconds=1, chunk={"maxChars": 120}))
    ended = trial.ended(task["id"], 60.0)
    times = [datetime.fromisoformat(ended[name] or ended["createdAt"]) for name in ("createdAt", "finishedAt")]
    if ended["status"] == "completed" and times[1] - times[0] < timedelta(seconds=1.5):
        raise NotRun("the task was done before its deadline: its model is too fast")
    fault = (ended["error"] or {}).get("code") != "deadline_exceeded", "A deadline does not end a task."
    return _judged(_end(ended), "A deadline ends a task.", fault)


def _budget(trial: Trial) -> Seen:
    answer = trial.send("POST", "/api/tasks", json={**trial.submission(0, PARTS), "maxModelCalls": 1})
    fields = [one["field"] for one in answer.json().get("errors", ())]
    saw = f"{answer.status_code}, naming {', '.join(fields) or 'nothing'}"
    fault = answer.status_code != 422 or fields != ["maxModelCalls"], "Budgets are not held against what a task needs."
    return _judged(saw, "What a budget cannot pay for is refused.", fault)


def _structured(trial: Trial) -> Seen:
    shape: Json = {"type": "object", "properties": {"summary": {"type": "string"}}, "required": ["summary"]}
    shape |= {"additionalProperties": False}
    _, task = trial.submit(trial.submission(1, outputSchema=shape, join={"/summary": "first"}))
    ended = trial.ended(task["id"])
    value = (ended["result"] or {}).get("value")
    return _judged(
        f"{_end(ended)}, {ended['usage']['rejected']} answers rejected",
        "Outputs fit their schema.",
        (ended["status"] != "completed", "The model does not fill a small schema: see STRUCTURED_OUTPUT."),
        (not isinstance(value, dict) or set(value) != {"summary"}, "An output that fits no schema was accepted."),
    )


def _file(trial: Trial) -> Seen:
    content = (PARTS * 20).encode()
    path = f"/v1/files/{trial.upload(content, 'user_data')['id']}"
    answer, gone, after = (trial.send(*call) for call in (("GET", f"{path}/content"), ("DELETE", path), ("GET", path)))
    same = answer.is_success and answer.content == content
    saw = f"reading got {answer.status_code} and {'the same' if same else 'other'} bytes"
    return _judged(
        f"{saw}; deletion got {gone.status_code}, and then reading {after.status_code}",
        "Files are stored, read and deleted.",
        (not same, "What was stored is not what is read: is BLOBS bound to the right bucket?"),
        (gone.status_code != 200 or after.status_code != 404, "Files are not deleted."),
    )


def _batch(trial: Trial) -> Seen:
    budget = trial.submission(2)["maxModelCalls"]
    body = {"model": trial.model, "messages": [{"role": "user", "content": ONE}]}
    line = {"method": "POST", "url": "/v1/chat/completions", "body": body}
    lines = "".join(json.dumps({"custom_id": str(number), **line}) + "\n" for number in range(2))
    asked = {"input_file_id": trial.upload(lines.encode(), "batch")["id"], "endpoint": line["url"]}
    named = {"metadata": {"name": NAME, "run": trial.name}, "onceover": {"maxModelCalls": budget}}
    batch = read_answer(trial.send("POST", "/v1/batches", json=asked | named | {"completion_window": "1h"}))
    until = trial.clock() + 90.0
    while batch["status"] in {"validating", "in_progress", "finalizing"} and trial.clock() < until:
        trial.get(str(batch["onceover"]["task"]), wait="5")
        batch = trial.get(f"/v1/batches/{batch['id']}")
    output, ids = batch["output_file_id"], list[str]()
    if output is not None:
        text = trial.send("GET", f"/v1/files/{output}/content").text
        ids = sorted(json.loads(one)["custom_id"] for one in text.splitlines())
    saw = f"{batch['status']}, answers of the lines {', '.join(ids) or 'none'}"
    fault = batch["status"] != "completed" or ids != ["0", "1"], "Lines of batches are not answered once each."
    return _judged(saw, "Each line of a batch is answered once.", fault)


def _webhooks(url: str | None, trial: Trial) -> Seen:
    if url is None:
        raise NotRun("no --receiver was given, an address to which webhooks may be sent")
    parts = urlsplit(url)
    asked = {"name": f"{NAME} {trial.name}", "url": url, "event_types": ["task.completed"]}
    try:
        endpoint = read_answer(trial.send("POST", "/v1/webhook_endpoints", json=asked))
    except ServerRefused as refused:
        if refused.code != "no_webhook_key":
            raise
        raise NotRun("the deployment has no WEBHOOK_KEY, so it sends no webhooks") from None
    try:
        own = Receiver(parts, endpoint["signing_secret"]) if parts.hostname in {"127.0.0.1", "localhost"} else None
    except OSError as error:
        raise NotRun(f"verify cannot listen at the receiver's port: {error.strerror}") from None
    try:
        tried = read_answer(trial.send("POST", f"/v1/webhook_endpoints/{endpoint['id']}/test", json={}))
        _, task = trial.submit(trial.submission(1))
        trial.ended(task["id"])
        until = trial.clock() + 30.0
        while own is not None and len(own.received) < 2 and trial.clock() < until:
            trial.pause(0.5)
    finally:
        if own is not None:
            own.close()
    came = None if own is None else own.received
    signed = "signatures were not checked" if came is None else f"{len(came)} came, {sum(came)} signed rightly"
    return _judged(
        f"the test call got {tried['status_code']}; {signed}",
        "Ends of tasks reach a receiver.",
        (not tried["success"], "The receiver cannot be reached from the deployment, or takes no webhooks."),
        (came is not None and not all(came), "WEBHOOK_KEY has changed: receivers refuse the signatures."),
        (came is not None and len(came) < 2, "The end of a task is not delivered."),
    )


def _cron(seen: str | None, trial: Trial) -> Seen:
    """Wait for two sweeps that are so near each other that cron began the second."""
    until = trial.clock() + min(CRON_SECONDS, trial.left)
    while trial.clock() < until:
        last = trial.get("/api/async-status", verbose="1")["lastSweepAt"]
        gap = datetime.fromisoformat(last) - datetime.fromisoformat(seen) if seen and last else timedelta(0)
        if timedelta(0) < gap < timedelta(seconds=MISSED_SECONDS):
            return (
                Grade.SOUND,
                f"a sweep came {gap.seconds} s after another",
                "Cron comes, and finds what stands still.",
            )
        seen = last
        trial.pause(5.0)
    means = "Cron does not come each minute: is there `crons` under [triggers] in wrangler.toml? Then make deploy."
    return Grade.FAULT, f"the last sweep came at {seen or 'no time'}, and no other soon after it", means


def cleaned(trial: Trial) -> Seen:
    """Remove what the run has made. The sums of history must still have its calls."""
    gone, remain = trial.clean(earlier=False), sorted({kind for kind, _, _ in trial.made()})
    more = sum(trial.scrape("model_calls_total")) - (trial.booked or 0)
    return _judged(
        f"{gone} things are gone; {trial.calls} calls were on the bills, {more} are in the sums",
        "Nothing remains but the sums of history.",
        (bool(remain), f"A run that begins in ten minutes or later removes the rest: {', '.join(remain)}."),
        (trial.booked is not None and more < trial.calls, "The sums of history lack calls."),
    )


def _answers(trial: Trial) -> Seen:
    saw = f"{len(trial.trouble)} of {trial.requests} requests{': ' if trial.trouble else ''}"
    saw += f"{'; '.join(trial.trouble[:5])}; the slowest took {trial.slowest:.1f} s"
    return _judged(saw, "No request failed.", (bool(trial.trouble), "The Worker fails at times: npx wrangler tail."))
