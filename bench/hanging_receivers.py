"""`python -m bench.hanging_receivers` measures how late a task is beside webhook receivers of other tenants that hang.

Three tenants have ten webhook endpoints each, and submit 300 tasks at a steady pace, on the queue's route with all
defaults. Meanwhile and for a while afterwards another tenant submits one task after another. The receivers first answer
at once, and then hang. The task of the other tenant may be LATE_SECONDS_MOST later beside receivers that hang. With
`--quick` a tenth of the tasks come.
"""

import secrets
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from pathlib import Path

from tests.support.client import Client, openai
from tests.support.dev_server import DevServer
from tests.support.hanging_receiver import HangingReceiver
from tests.support.make_key import insert_key
from tests.support.model_server import ModelServer
from tests.support.receiver import Receiver

TENANTS, ENDPOINTS, TASKS = ("a", "b", "c"), 10, 300
CALL_SECONDS = 0.3
PACE_SECONDS = 1.0  # Each tenant submits a task in this time.
AFTER_SECONDS = 30.0
LATE_SECONDS_MOST = 2.0


def client_of(server: DevServer, tenant: str) -> Client:
    """Return a client of a tenant."""
    client = Client(server.url)
    client.http.headers["Authorization"] = f"Bearer {insert_key(server.persist_to, tenant)}"
    return client


def measure(kind: AbstractContextManager[Receiver | HangingReceiver], tasks: int) -> list[float]:
    """Return the seconds from submission to end of each of the other tenant's tasks."""
    values = {"REQUIRE_KEYS": "true", "WEBHOOK_KEY": secrets.token_urlsafe(32), "WEBHOOK_LOOPBACK": "true"}
    with (
        tempfile.TemporaryDirectory() as state,
        kind as receiver,
        ModelServer(api_key="test-key", latency_seconds=CALL_SECONDS) as model,
        DevServer(Path(state), *openai(model.base_url, **values)) as server,
        ThreadPoolExecutor() as pool,
    ):
        done = threading.Event()
        other = pool.submit(_one_after_another, server, done)
        try:
            list(pool.map(lambda tenant: _submit(server, receiver.url, tenant, tasks // len(TENANTS)), TENANTS))
            time.sleep(AFTER_SECONDS)
        finally:
            done.set()
        return other.result()


def _submit(server: DevServer, url: str, tenant: str, tasks: int) -> None:
    with client_of(server, tenant) as client:
        for number in range(ENDPOINTS):
            body = {"name": "x", "url": f"{url}/{tenant}/{number}", "event_types": ["task.completed"]}
            client.http.post("/v1/webhook_endpoints", json=body).raise_for_status()
        due = time.monotonic()
        for number in range(tasks):
            client.submit(f"Task {number}.")
            due += PACE_SECONDS
            time.sleep(max(0.0, due - time.monotonic()))


def _one_after_another(server: DevServer, done: threading.Event) -> list[float]:
    seconds = []
    with client_of(server, "other") as client:
        while not done.is_set():
            began = time.monotonic()
            client.finished(client.submit("A task of another tenant.")["id"], 300)
            seconds.append(time.monotonic() - began)
            done.wait(0.2)
    return seconds


def main(arguments: Sequence[str]) -> int:
    """Measure and print. Return the exit status, 1 if the task was too late."""
    tasks = TASKS // 10 if "--quick" in arguments else TASKS
    answered = measure(Receiver(), tasks)
    hanging = HangingReceiver()
    hung = measure(hanging, tasks)
    for name, seconds in (("answer at once", answered), ("hang", hung)):
        worst, median = max(seconds), statistics.median(seconds)
        print(f"{len(TENANTS) * ENDPOINTS} receivers {name}: {len(seconds)} tasks, {median:.1f} s, at most {worst:.1f}")
    late = max(hung) - max(answered)
    print(f"late by {late:.1f} s at most; messages that hung at a time, by tenant: {dict(hanging.most)}")
    return 0 if late <= LATE_SECONDS_MOST else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
