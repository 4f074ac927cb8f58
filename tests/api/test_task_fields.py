"""Each field of a task passes from the request to the answer: a new one belongs into `BODY` (CONTRIBUTING.md)."""

import json
from dataclasses import asdict
from typing import Any

import pytest

from src.features import NewTaskFields
from src.kernel.api.base.exchange import Acting, without_content
from src.kernel.api.base.fields import extra_names
from src.kernel.api.tasks.submission import checked_fields
from src.kernel.api.tasks.views import TaskView, whole_task_view
from src.kernel.domain.settings import Settings
from src.kernel.domain.task import TaskOptions
from src.kernel.store import options
from tests.support import canaries
from tests.support.api_bench import ApiBench, data, key
from tests.support.sqlite_d1 import MIGRATIONS

# A request body that has each field with a value other than its default.
BODY: dict[str, Any] = {
    "input": "one\n\ntwo",
    "instructions": "Count.",
    "reduce": "merge",
    "chunk": {"maxChars": 5, "overlapChars": 1},
    "model": "m-1",
    "metadata": {"a": [1, None, "ü"]},
    "deadlineSeconds": 60.5,
    "maxModelCalls": 9,
    "maxOutputTokens": 700,
    "temperature": 0.5,
    "modelOptions": {"top_p": 0.9, "stop": ["ü"]},
    "outputSchema": {"type": "object", "properties": {"größe": {"type": "number"}}},
    "strict": False,
    "onChunkFailure": "gap",
    "maxGapShare": 0.25,
} | dict.fromkeys(extra_names(NewTaskFields), "a")
REQUESTED = (
    *("instructions", "reduce", "chunk", "model", "maxOutputTokens", "temperature", "modelOptions"),
    *("outputSchema", "strict", "onChunkFailure", "maxGapShare"),
)
# Fields of a request that cannot be combined with the others, each with the reason; test_structured_submission tests
# them.
ALONE = {
    "join": "it goes with `reduce: concat`, the default",
    "inputFile": "it takes the place of `input`",
    "maxCost": "it needs a model with a price",
    "contextChars": "it does not go with an overlap",
    "headings": "it goes with `contextChars`",
    "notBefore": "it changes when the task's deadline is",
}
# Fields that a task does not show as they were sent, each with the reason.
NOT_SHOWN = {
    "input": "it is long, and shown to whoever asks for it with `include=input`",
    **dict.fromkeys(REQUESTED, "it is shown in `request`, to whoever reads the task by its id"),
    "deadlineSeconds": "it is shown as the time of the deadline, `deadlineAt`",
}
# String fields of a request that contain no text of the client.
NO_TEXT = {"model", "inputFile", "maxCost", "notBefore"}
# Options of a task that only `/v1` can set, which test_responses tests.
OF_RESPONSES = {"response", "retention_ms"}
# Options of a task that have a value only if the deployment has such fields.
OF_ALONE = {"max_cost", "starts_at", "long_text"}
OF_FEATURES = set() if extra_names(NewTaskFields) else {"extras"}
# Columns of `tasks` whose name differs from their option's name.
OTHER_NAMES = {"structured": "structure"}
NEWEST = len(list(MIGRATIONS.glob("*.sql")))


def test_every_field_of_the_request_is_tried_here():
    assert set(BODY) | set(ALONE) == {field.alias for field in NewTaskFields.model_fields.values()}


def test_every_option_comes_from_the_request():
    asked = asdict(checked_fields(NewTaskFields, BODY, Settings()).request().options)
    assert {
        name for name, value in asdict(TaskOptions()).items() if asked[name] == value
    } == OF_RESPONSES | OF_ALONE | OF_FEATURES


def test_every_option_has_its_column():
    assert {OTHER_NAMES.get(name, name) for name in options.NAMES} == set(asdict(TaskOptions()))


def test_every_option_is_kept(bench: ApiBench):
    asked = checked_fields(NewTaskFields, BODY, bench.settings).request().options
    task_id = bench.submit(BODY["input"], **{name: value for name, value in BODY.items() if name != "input"})["id"]
    task = bench.run(bench.store.task(key(task_id)))
    assert task.options == asked
    assert bench.run(bench.store.tasks([key(task_id)]))[0].options == asked
    assert bench.claim(task_id).options == asked


@pytest.mark.parametrize("name", [name for name in BODY if name not in NOT_SHOWN])
def test_every_field_is_shown_as_it_was_sent(bench: ApiBench, name: str):
    accepted = data(bench.call("POST", "/api/tasks", BODY))
    read = data(bench.call("GET", accepted["links"]["self"]))
    (listed,) = data(bench.call("GET", "/api/tasks"))["tasks"]
    assert [task[name] for task in (accepted, read, listed)] == [BODY[name]] * 3


def test_whoever_reads_a_task_finds_what_it_was_asked_for(bench: ApiBench):
    accepted = data(bench.call("POST", "/api/tasks", BODY))
    read = data(bench.call("GET", accepted["links"]["self"] + "?include=input"))
    assert read["request"] == {name: BODY[name] for name in REQUESTED} | {
        "join": {},
        "inputCharacters": len(BODY["input"]),
    }
    assert read["input"] == BODY["input"]
    (listed,) = data(bench.call("GET", "/api/tasks"))["tasks"]
    assert not {"request", "input"} & listed.keys()


def test_what_is_not_shown_is_not_there():
    assert NOT_SHOWN.keys() & TaskView.__annotations__.keys() == set()


def test_every_text_is_looked_for_after_an_erasure():
    fields: dict[str, Any] = NewTaskFields.model_json_schema()["properties"]
    texts = {name for name, field in fields.items() if takes_text(field)}
    assert texts - NO_TEXT == set(canaries.CANARIES)


def test_no_text_is_shown_to_a_key_that_may_not_read(bench: ApiBench):
    task_id = bench.submit(**canaries.loaded(2))["id"]
    task = bench.run(bench.store.task(key(task_id)))

    async def shown() -> str:
        return json.dumps(whole_task_view(without_content(task), bench.api, Acting()), ensure_ascii=False)

    assert canaries.words_in(bench.run(shown()).encode()) == set()


def takes_text(schema: dict[str, Any]) -> bool:
    """Return whether a field may contain a client's string, also inside an object with free names."""
    kinds = schema.get("anyOf", [schema])
    return any(kind.get("type") in {"string", "object"} and "enum" not in kind for kind in kinds)


@pytest.mark.parametrize("applied", range(NEWEST + 1))
def test_the_status_asks_for_the_newest_migration(applied: int):
    bench = ApiBench(migrated=False)
    bench.database.migrate(applied)
    reply = bench.call("GET", "/api/async-status")
    assert reply.status == (200 if applied == NEWEST else 503)
    assert ("migrations apply" in reply.body) == (applied < NEWEST)
