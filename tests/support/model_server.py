"""An OpenAI-compatible server for tests: deterministic answers, faults on request, and an exact ledger.

In a test, `with ModelServer(...) as server:` serves from a thread of its own. For a process that will be killed,
`python -m tests.support.model_server --port 0 --ledger FILE` serves from a process of its own, and
`model_plan.read_ledger(FILE)` returns its calls. The server speaks HTTP/1.1 with keep-alive over a bare asyncio
protocol. The server itself takes well under a millisecond for a reply, so the latency that a test sets is the real
latency.
"""

import argparse
import asyncio
import dataclasses
import json
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Self

from src.kernel.calls.openai import DEFAULT_MODEL
from tests.support import model_plan
from tests.support.model_plan import Behaviour, Call, Plan, output_for
from tests.support.model_wire import Connection, Request


class ModelServer:
    """The model server and its ledger of calls. Any thread may call the model server's public methods.

    `latency_seconds` applies to each reply whose behaviour has no delay of its own. With `api_key`, calls without
    that bearer token get 401. `output_chars` returns the length of a text's output, for merges with several levels.
    """

    def __init__(
        self,
        *,
        latency_seconds: float = 0.0,
        plan: Plan | None = None,
        api_key: str | None = None,
        output_chars: int | Callable[[str], int] | None = None,
        ledger: Path | None = None,
        port: int = 0,
    ) -> None:
        self.latency_seconds = latency_seconds
        self.plan = plan or Plan()
        self.api_key = api_key
        self.output_chars = output_chars
        self._ledger = ledger
        self._port = port
        self._calls: list[Call] = []
        self._in_flight = 0
        self._held = False
        self._changed = threading.Condition()
        self._gate: asyncio.Event | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        self._closing: asyncio.Event | None = None
        self._connections: set[Connection] = set()

    @property
    def base_url(self) -> str:
        return f"http://127.0.0.1:{self._port}/v1"

    def __enter__(self) -> Self:
        ready = threading.Event()
        failures: list[OSError] = []

        def serve() -> None:
            try:
                asyncio.run(self._serve(ready.set))
            except OSError as error:
                failures.append(error)
                ready.set()

        self._thread = threading.Thread(target=serve, name="model-server", daemon=True)
        self._thread.start()
        ready.wait()
        if failures:
            self._thread = None
            raise failures[0]
        return self

    def __exit__(self, *failure: object) -> None:
        self.close()

    def close(self) -> None:
        """Stop serving and cut all connections; the ledger stays. It may be called again."""
        if self._thread is None:
            return
        assert self._loop is not None
        assert self._closing is not None
        self._loop.call_soon_threadsafe(self._closing.set)
        self._thread.join()
        self._thread = None

    def calls(self) -> list[Call]:
        with self._changed:
            return [dataclasses.replace(call) for call in self._calls]

    def usage(self) -> tuple[int, int]:
        """Return the input and output tokens of the 200 answers that were sent completely, by the server's count."""
        calls = [call for call in self.calls() if call.complete]
        return sum(call.input_tokens for call in calls), sum(call.output_tokens for call in calls)

    def in_flight(self) -> int:
        with self._changed:
            return self._in_flight

    def reset(self) -> None:
        """Forget all calls. Not with a call in flight, or with a ledger file."""
        assert self._ledger is None, "a ledger file keeps every call"
        with self._changed:
            assert self._in_flight == 0, f"{self._in_flight} calls are in flight"
            self._calls.clear()

    def hold(self) -> None:
        """Let every call that arrives from now on wait for `release`."""
        self._held = True

    def release(self) -> None:
        """Let all calls that wait after `hold` continue."""
        assert self._loop is not None
        self._held = False
        self._loop.call_soon_threadsafe(self._open_gate)

    def wait_for_in_flight(self, count: int, timeout_seconds: float = 60.0) -> None:
        """Block until at least `count` calls are in flight. Raises TimeoutError after the deadline."""
        self._wait(lambda: self._in_flight >= count, f"{count} calls in flight", timeout_seconds)

    def wait_for_calls(self, count: int, timeout_seconds: float = 60.0) -> None:
        """Block until at least `count` calls have arrived. Raises TimeoutError after the deadline."""
        self._wait(lambda: len(self._calls) >= count, f"{count} calls", timeout_seconds)

    def wait_until_idle(self, timeout_seconds: float = 60.0) -> None:
        """Block until no call is in flight. Raises TimeoutError after the deadline."""
        self._wait(lambda: self._in_flight == 0, "no call in flight", timeout_seconds)

    def _wait(self, reached: Callable[[], bool], what: str, timeout_seconds: float) -> None:
        with self._changed:
            if not self._changed.wait_for(reached, timeout_seconds):
                raise TimeoutError(
                    f"waited {timeout_seconds:g} s for {what}: {self._in_flight} in flight, {len(self._calls)} arrived"
                )

    # --- The methods below run in the server's event loop -------------------------------------------

    async def _serve(self, when_ready: Callable[[], object]) -> None:
        self._loop = asyncio.get_running_loop()
        self._gate = asyncio.Event()
        self._closing = asyncio.Event()
        server = await self._loop.create_server(
            lambda: Connection(self._answer, self._connections), "127.0.0.1", self._port, backlog=256
        )
        self._port = server.sockets[0].getsockname()[1]
        when_ready()
        await self._closing.wait()
        server.close()
        for connection in list(self._connections):
            connection.close()
        await server.wait_closed()
        others = asyncio.all_tasks() - {asyncio.current_task()}
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)

    def _open_gate(self) -> None:
        assert self._gate is not None
        self._gate.set()
        self._gate = asyncio.Event()

    async def _pass_gate(self) -> None:
        while self._held:
            assert self._gate is not None
            await self._gate.wait()

    def _arrived(self, request: "Request") -> Call:
        document = request.document()
        messages: list[dict[str, Any]] = document.get("messages", [])
        texts = {message.get("role", ""): str(message.get("content", "")) for message in messages}
        with self._changed:
            self._in_flight += 1
            call = Call(
                number=len(self._calls) + 1,
                arrived_at=time.time(),
                model=str(document.get("model", "")),
                system=texts.get("system", ""),
                user=texts.get("user", ""),
                roles=[str(message.get("role", "")) for message in messages],
                authorized="authorization" in request.headers,
                in_flight=self._in_flight,
                assistant=texts.get("assistant", ""),
                gateway={name: value for name, value in request.headers.items() if name.startswith("cf-aig-")},
            )
            self._calls.append(call)
            self._record(call)
            self._changed.notify_all()
        return call

    def _ended(self, call: Call, behaviour: Behaviour, *, complete: bool) -> None:
        with self._changed:
            self._in_flight -= 1
            call.answered = behaviour.label
            call.complete = complete
            call.ended_at = time.time()
            self._record(call)
            self._changed.notify_all()

    def _record(self, call: Call) -> None:
        # The file is opened and closed for each line, so that the line is written before the call continues, even if
        # the process dies immediately after it.
        if self._ledger is not None:
            with self._ledger.open("a", encoding="utf-8") as file:
                file.write(json.dumps(dataclasses.asdict(call)) + "\n")

    def _behaviour(self, request: "Request", call: Call) -> Behaviour:
        if self.api_key is not None and request.headers.get("authorization") != f"Bearer {self.api_key}":
            return model_plan.status(401, error_code="invalid_api_key")
        return self.plan.choose(call)

    async def _answer(self, connection: "Connection", request: "Request") -> None:
        if request.path != "/v1/chat/completions" or request.method != "POST":
            connection.send(*_other_reply(request))
            return
        call = self._arrived(request)
        behaviour = self._behaviour(request, call)
        answers = False
        try:
            answers = await connection.unless_gone(self._work(call, behaviour))
            reply = self._reply(call, behaviour)
            if behaviour.kind == "stall":
                connection.send(*reply, cut=True)
                answers = await connection.unless_gone(_for_ever())
        finally:
            # The line is written before the reply is sent, because a client that has an answer must find its call in
            # the ledger.
            self._ended(call, behaviour, complete=answers and behaviour.kind not in {"drop", "cut"})
        if not answers or behaviour.kind == "drop":
            connection.close()
            return
        connection.send(*reply, behaviour.headers, cut=behaviour.kind == "cut")
        if behaviour.kind == "cut":
            connection.close()

    async def _work(self, call: Call, behaviour: Behaviour) -> None:
        await self._pass_gate()
        # The delay is counted from the arrival of the call, so that the latency includes parsing and bookkeeping.
        delay = self.latency_seconds if behaviour.delay_seconds is None else behaviour.delay_seconds
        await asyncio.sleep(max(0.0, call.arrived_at + delay - time.time()))
        if behaviour.kind == "hang":
            await _for_ever()

    def _reply(self, call: Call, behaviour: Behaviour) -> tuple[int, bytes]:
        match behaviour.kind:
            case "status":
                message = behaviour.text or f"status {behaviour.status_code} to order"
                error = {"message": message, "type": "test", "code": behaviour.error_code}
                return behaviour.status_code, _json({"error": error})
            case "garbage":
                return 200, b"<html>not JSON</html>"
            case "empty":
                return 200, _json({"object": "chat.completion", "choices": []})
            case _:
                return 200, self._completion(call, behaviour)

    def _completion(self, call: Call, behaviour: Behaviour) -> bytes:
        chars = self.output_chars(call.user) if callable(self.output_chars) else self.output_chars
        output = behaviour.text if behaviour.text is not None else output_for(call.user, chars)
        return _json(model_plan.completion(call, output, behaviour.finish_reason))


def _other_reply(request: Request) -> tuple[int, bytes]:
    if request.path == "/v1/models" and request.method == "GET":
        listed = [{"id": name, "object": "model", "owned_by": "tests"} for name in ("test-model", DEFAULT_MODEL)]
        return 200, _json({"object": "list", "data": listed})
    return 404, _json({"error": {"message": "no such path", "type": "test", "code": None}})


async def _for_ever() -> None:
    await asyncio.Event().wait()


def _json(document: object) -> bytes:
    return json.dumps(document).encode()


def main() -> None:
    """Serve until the process gets SIGTERM or Ctrl-C. The first printed line contains the server's URL."""
    parser = argparse.ArgumentParser(description=__doc__, prog="python -m tests.support.model_server")
    parser.add_argument("--port", type=int, default=0, help="0 takes a free one")
    parser.add_argument("--ledger", type=Path, help="file to append one JSON line an event to")
    parser.add_argument("--latency", type=float, default=0.2, help="seconds a reply takes")
    parser.add_argument("--output-chars", type=int, help="length of each output")
    parser.add_argument("--seed", type=int, default=0, help="seed of the faults")
    parser.add_argument(
        "--fault", type=model_plan.chance_of, action="append", default=[], metavar="NAME=CHANCE", help="repeatable"
    )
    options = parser.parse_args()
    server = ModelServer(
        latency_seconds=options.latency,
        plan=Plan(chances=options.fault, seed=options.seed),
        output_chars=options.output_chars,
        ledger=options.ledger,
        port=options.port,
    )
    with server:
        print(f"Ready on {server.base_url}", flush=True)
        signal.sigwait({signal.SIGTERM, signal.SIGINT})


if __name__ == "__main__":
    # The signals are blocked before the server's thread starts, so that the thread inherits the mask and sigwait
    # receives the signals.
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM, signal.SIGINT})
    main()
