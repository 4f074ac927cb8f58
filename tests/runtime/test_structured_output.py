"""Tests structured output and gaps on the real runtime, with the native API and with OpenAI's own SDK."""

import json
import os
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import openai
import pytest
from pydantic import BaseModel, ConfigDict

from local.node import find_node
from tests.support.client import Client
from tests.support.client import openai as served_by
from tests.support.dev_server import ROOT, DevServer
from tests.support.event_streams import read_events
from tests.support.model_plan import Behaviour, Call, Plan, ok
from tests.support.model_server import ModelServer
from tests.support.programs import output_of, ran
from tests.support.shell_blocks import blocks

pytestmark = pytest.mark.runtime

TEXT = "first 1\n\nsecond 2\n\nthird 3\n\nfourth 4"
PARTS = TEXT.split("\n\n")
PROGRAM = ROOT / ".venv" / "bin" / "onceover"
SMALL = {"chunk": {"maxChars": 10}}  # Each paragraph is a chunk.


class Said(BaseModel):
    """The schema of an output."""

    model_config = ConfigDict(extra="forbid")

    said: list[str]


def answer(call: Call) -> Behaviour:
    return ok(json.dumps({"said": [call.user.strip()]}))


@pytest.fixture(scope="module")
def url(model: ModelServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with DevServer(tmp_path_factory.mktemp("state"), *served_by(model.base_url)) as server:
        yield server.url


@pytest.fixture(autouse=True)
def _fresh(model: ModelServer) -> None:
    """Let a chunk's answer break the schema, even when asked again, so that there is a gap to retry."""
    model.wait_until_idle()
    refusals = {"second": [ok("no")], "does not fit the JSON Schema": [ok("no")]}
    model.plan = Plan(by_text=refusals, decide=answer)
    model.reset()


def listed(url: str) -> list[str]:
    with Client(url) as client:
        return [task["id"] for task in client.http.get("/api/tasks").json()["tasks"]]


def test_a_gap_and_its_retry(url: str, model: ModelServer):
    with Client(url) as client:
        fields = {"outputSchema": Said.model_json_schema(), "onChunkFailure": "gap", **SMALL}
        old = client.finished(client.submit(TEXT, **fields)["id"])
        assert (old["status"], old["result"]["value"]) == ("completed", {"said": [PARTS[0], *PARTS[2:]]})
        assert json.loads(old["result"]["output"]) == old["result"]["value"]
        assert old["gaps"] == [{"chunk": 1, "start": 9, "end": 19, "code": "invalid_output"}]
        assert old["coverage"] == pytest.approx(1 - 10 / len(TEXT))
        assert [old["usage"][name] for name in ("modelCalls", "reasks", "rejected", "repaired")] == [5, 1, 2, 0]
        chunks = client.chunks(old["id"])
        assert [chunk["status"] for chunk in chunks] == ["completed", "gap", "completed", "completed"]
        assert chunks[1]["rejected"]["output"] == "no"
        received = read_events(client.http.get(f"/api/tasks/{old['id']}/events").text)
        places = [(event.name, event.json.get("index", event.json.get("chunk"))) for event in received]
        assert [place for place in places if place[0] in {"chunk", "gap"}] == [
            ("chunk", 0),
            ("gap", 1),
            ("chunk", 2),
            ("chunk", 3),
        ]

        retried = client.http.post(f"/api/tasks/{old['id']}/retry")
        assert (retried.status_code, retried.json()["retryOf"]) == (202, old["id"])
        new = client.finished(retried.json()["id"])
        assert new["result"]["value"] == {"said": PARTS}
        assert (new["gaps"], new["coverage"], new["usage"]["modelCalls"]) == ([], 1.0, 1)
        assert client.task(old["id"]) == old
        assert len(model.calls()) == old["usage"]["modelCalls"] + new["usage"]["modelCalls"]


def test_the_command_line_takes_a_schema_and_retries_a_gap(url: str, model: ModelServer, tmp_path: Path):
    text, lists, titled = (tmp_path / name for name in ("text.txt", "lists.json", "titled.json"))
    text.write_text(TEXT, "utf-8")
    schema: dict[str, Any] = Said.model_json_schema()
    lists.write_text(json.dumps(schema), "utf-8")
    properties = schema["properties"] | {"title": {"type": "string"}}
    titled.write_text(json.dumps(schema | {"properties": properties, "required": [*properties]}), "utf-8")
    environment = {**os.environ, "ONCEOVER_URL": url}

    def onceover(*arguments: str | Path) -> tuple[int, str, str]:
        done = ran([PROGRAM, *arguments], env=environment)
        return done.returncode, done.stdout, done.stderr

    before = listed(url)
    status, printed, said = onceover("run", text, "--schema", titled, "--join", "/said=union", "--gaps")
    assert (status, printed) == (1, "")
    assert "--join: /title: " in said
    assert listed(url) == before
    options = ("--schema", lists, "--join", "/said=union", "--gaps", "--chunk-chars", "10")
    status, printed, said = onceover("run", text, *options)
    assert (status, json.loads(printed)) == (3, {"said": [PARTS[0], *PARTS[2:]]}), said
    assert "1 gap (72.2% of the text covered)" in said
    (old_id,) = re.findall(r"^Submitted (\S+):", said, re.MULTILINE)
    assert "9-19 (invalid_output)" in onceover("status", old_id)[1]
    calls = len(model.calls())
    status, printed, said = onceover("retry", old_id)
    assert status == 0, said
    status, printed, said = onceover("watch", printed.strip())
    assert (status, json.loads(printed)) == (0, {"said": PARTS}), said
    assert len(model.calls()) == calls + 1
    assert onceover("result", old_id)[0] == 3


def test_openais_sdk_parses_what_it_gets(url: str):
    named: Any = {"format": {"type": "json_schema", "name": "Said", "schema": Said.model_json_schema(), "strict": True}}
    with openai.OpenAI(base_url=f"{url}/v1", api_key="any") as client:
        response = client.responses.create(
            input=TEXT, background=True, text=named, extra_body={"onceover": {"onChunkFailure": "gap", **SMALL}}
        )
        with Client(url) as native:
            native.finished(response.id.removeprefix("resp_"))
        gapped = client.responses.retrieve(response.id)
        assert gapped.status == "incomplete"
        assert gapped.incomplete_details is not None
        assert gapped.incomplete_details.reason is None
        assert Said.model_validate_json(gapped.output_text).said == [PARTS[0], *PARTS[2:]]

        with client.responses.stream(
            input=TEXT, model="m", background=True, text_format=Said, extra_body={"onceover": SMALL}
        ) as stream:
            events = list(stream)
            final = stream.get_final_response()
        assert final.output_parsed == Said(said=PARTS)
        assert [event.delta for event in events if event.type == "response.output_text.delta"] == [final.output_text]
        with client.responses.stream(response_id=final.id, text_format=Said) as again:
            assert again.get_final_response().output_parsed == final.output_parsed


def test_the_examples_of_the_page(tmp_path: Path):
    page = ROOT / "docs" / "structured-output.md"
    with DevServer(tmp_path) as server:
        environment = {
            **os.environ,
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
            "ONCEOVER_URL": server.url,
            "OPENAI_BASE_URL": f"{server.url}/v1",
            "OPENAI_API_KEY": "any",
        }
        commands = blocks(page, "sh")
        assert all(command.startswith("onceover run") for command in commands)
        for command, printed in zip(commands, blocks(page, "text"), strict=True):
            assert output_of(["bash", "-c", command], cwd=ROOT, env=environment) == printed
        (python,), (javascript,) = blocks(page, "python"), blocks(page, "js")
        for program, beginning in (
            ([sys.executable, "-c", python], "names=["),
            ([str(find_node()), "--input-type=module", "-e", javascript], "{ names: ["),
        ):
            assert output_of(program, cwd=ROOT, env=environment).startswith(beginning)
