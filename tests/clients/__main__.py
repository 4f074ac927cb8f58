"""`python -m tests.clients` tries every supported version of OpenAI's SDKs, and the client `autobatcher`.

The SDKs try each call, streams, structured outputs and webhooks; `autobatcher` sends background responses and polls
them. `openai` 3 for Python and `openai` 7 and 6 for JavaScript are installed already. The program installs
`openai` 2 for Python and `autobatcher` into a temporary folder, from the index that pip is configured to use.
"""

import json
import subprocess
import sys
import tempfile
import time
import venv
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path

from local.node import find_node
from simulator.figures import keep_figures
from src.features.webhooks import rules as webhooks
from src.features.webhooks.rules import DeliveryKey, EndpointKey
from src.kernel.domain.ids import TaskKey
from tests.clients.people import PeopleModel, check_structured
from tests.clients.walking import EXPECTED_OF_BATCHER, EXPECTED_OF_STREAM, WALKED, run, unwrapped, walk
from tests.support.client import openai, variables
from tests.support.dev_server import DevServer
from tests.support.make_key import make_key
from tests.support.model_plan import Plan, slow
from tests.support.model_server import ModelServer

OLDER = "openai==2.54.0"
BATCHER = "autobatcher==0.12.0"
TYPE = "response.completed"


def python_with(package: str, folder: Path) -> Path:
    venv.create(folder, with_pip=True)
    python = folder / "bin" / "python"
    subprocess.run([python, "-m", "pip", "install", "--quiet", package], check=True)
    return python


def signed() -> tuple[str, dict[str, str], list[str]]:
    endpoint, task = EndpointKey("local:we_" + "0a" * 12), TaskKey("local:0197b2f0-0000-7000-8000-00000000abcd")
    old, new, other = (webhooks.secret("k" * 32, endpoint, generation) for generation in range(3))
    now = int(time.time())
    key = DeliveryKey(task, 0, endpoint, now * 1000)
    body = webhooks.body_of(key.id, TYPE, now * 1000, webhooks.told_id(TYPE, task))
    return body, webhooks.headers((new, old), key.id, now, body), [old, new, other]


def check_unwrap(command: Sequence[str | Path]) -> str:
    body, headers, secrets = signed()
    *taken, refused = unwrapped(command, body, headers, secrets)
    event = json.loads(body)
    assert taken == [[event["id"], event["type"], event["data"]["id"]]] * 2, taken
    assert refused == ["InvalidWebhookSignatureError"], refused
    return "webhooks.unwrap"


def check_stream(command: Sequence[str | Path]) -> str:
    seen = run(command)
    assert seen == EXPECTED_OF_STREAM, seen
    return "streams"


def checks(folder: Path, model: ModelServer) -> Iterator[tuple[str, Callable[[], str]]]:
    older, batcher = python_with(OLDER, folder / "older"), python_with(BATCHER, folder / "batcher")
    javascript: Sequence[tuple[str, Sequence[str | Path], str]] = [
        (f"npm's {package}", [find_node()], package) for package in ("openai", "openai6")
    ]
    python: Sequence[tuple[str, Sequence[str | Path]]] = [("openai for Python", [sys.executable]), (OLDER, [older])]
    for name, command in python:
        yield name, partial(check_unwrap, [*command, "unwrap.py"])
    for name, command, package in javascript:
        yield name, partial(check_unwrap, [*command, "unwrap.mjs", package])
    state = folder / "state"
    with DevServer(state, *variables(WALKED)) as server:
        where = (server.url, make_key(state))
        for name, command in python:
            yield name, partial(walk, [*command, "walk.py", *where])
        for name, command, package in javascript:
            yield name, partial(walk, [*command, "walk.mjs", package, *where])
        yield "autobatcher", partial(walk, [batcher, "batcher.py", *where], EXPECTED_OF_BATCHER)
    with DevServer(folder / "slow", *openai(model.base_url)) as server:
        where = (server.url, "oo_nobody")
        for name, command in python:
            yield name, partial(check_stream, [*command, "stream.py", *where, ""])
        for name, command, package in javascript:
            yield name, partial(check_stream, [*command, "stream.mjs", package, *where, ""])
    writing = ModelServer(api_key="test-key", plan=Plan(decide=PeopleModel()))
    with writing, DevServer(folder / "structured", *openai(writing.base_url)) as server:
        for name, command in python:
            yield name, partial(check_structured, [*command, "structured.py"], server.url)
        for name, command, package in javascript:
            yield name, partial(check_structured, [*command, "structured.mjs", package], server.url)


def main() -> int:
    """For each client, run its checks and print one line with the result. Return the exit status."""
    tried = failed = 0
    slowly = Plan(decide=lambda _: slow(0.2))
    with tempfile.TemporaryDirectory() as name, ModelServer(api_key="test-key", plan=slowly) as model:
        for client, check in checks(Path(name), model):
            tried += 1
            try:
                print(f"{client} {check()}: as it should be", flush=True)
            except AssertionError as error:
                failed += 1
                print(f"{client}: {error}", flush=True)
    keep_figures(checks=tried, failed=failed)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
