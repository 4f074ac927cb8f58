"""`/v1/responses` shows a task in the form of OpenAI's API, which the strict models of OpenAI's SDK accept."""

import inspect
import json
import re
from typing import Any, get_args

import pytest
from openai._models import validate_type
from openai.resources.responses import Responses
from openai.types import Model
from openai.types.responses import Response, ResponseInputMessageItem, ResponseItemList

from src.features.openai.fields import NewResponseFields, new_request
from src.features.openai.parameters import DEFAULTS
from src.features.openai.shapes import ResponseStatus, task_id_of
from src.kernel.api.base.messages import Reply
from src.kernel.domain import limits
from src.kernel.domain.codes import TaskCode
from src.kernel.domain.settings import Settings
from src.kernel.domain.structure import Structure
from src.kernel.domain.task import Failure, Reduce, Status
from src.kernel.store.claims import Fail, Finish
from tests.support.api_bench import ApiBench, data, key, object_of

LEAST: dict[str, Any] = {"background": True, "input": "one\n\ntwo\n\nthree and four"}
# Parameters of the SDK's method that are not fields of the request's body.
OF_THE_CALL = {"self", "extra_headers", "extra_query", "extra_body", "timeout"}
SCHEMA = object_of(a={"type": "string"})
# Each field that `/v1/responses` supports, with a value other than the default.
HONOURED: dict[str, Any] = {
    "background": True,
    "background_options": {"completion_window": "2h"},
    "input": "one\n\ntwo",
    "instructions": "Count.",
    "max_output_tokens": 700,
    "metadata": {"a": "ü"},
    "model": "m-1",
    "reasoning": {"effort": "low"},
    "store": False,
    "stream": True,
    "temperature": 0.5,
    "text": {"format": {"type": "json_schema", "name": "a-1", "schema": SCHEMA, "strict": True}},
    "top_p": 0.9,
}
OURS = {"onceover": {"chunk": {"maxChars": 5, "overlapChars": 1}, "maxModelCalls": 9, "modelOptions": {"seed": 1}}}
# Each field that `/v1/responses` does not support, with values that a client may well send.
REFUSED: dict[str, list[Any]] = {
    "access_programs": [{"cyber": "standard"}],
    "context_management": [[{"type": "compaction"}]],
    "conversation": ["conv_1", {"id": "conv_1"}],
    "image": [{"context_compression": "enabled"}],
    "include": [["reasoning.encrypted_content"]],
    "max_tool_calls": [3],
    "moderation": [{"model": "omni-moderation-latest"}],
    "parallel_tool_calls": [False, 1],
    "previous_response_id": ["resp_1"],
    "prompt": [{"id": "pmpt_1"}],
    "prompt_cache_key": ["mine"],
    "prompt_cache_options": [{"mode": "explicit"}, {"prewarm": True}],
    "prompt_cache_retention": ["24h"],
    "safety_identifier": ["somebody"],
    "service_tier": ["priority", "scale", "Flex"],
    "stream_options": [{"include_obfuscation": True}],
    "tool_choice": ["required", {"type": "function", "name": "x"}],
    "tools": [[{"type": "web_search"}]],
    "top_logprobs": [5, False],
    "truncation": ["auto"],
    "user": ["somebody"],
}


def parameters() -> set[str]:
    return set(inspect.signature(Responses.create).parameters) - OF_THE_CALL


def create(bench: ApiBench, **fields: Any) -> Reply:
    return bench.call("POST", "/v1/responses", LEAST | fields)


def made(bench: ApiBench, **fields: Any) -> dict[str, Any]:
    reply = create(bench, **fields)
    assert reply.status == 200, reply.body
    return strict(reply)


def strict(reply: Reply) -> dict[str, Any]:
    shown = data(reply)
    Response.model_validate(shown, strict=True)
    validate_type(type_=Response, value=shown)
    assert set(Response.model_fields) <= set(shown)
    return shown


def error(reply: Reply, status: int = 400) -> tuple[str, str | None]:
    assert reply.status == status, reply
    found = data(reply)["error"]
    assert set(found) == {"message", "type", "param", "code"}
    return found["code"], found["param"]


def read(bench: ApiBench, response_id: str) -> dict[str, Any]:
    return strict(bench.call("GET", f"/v1/responses/{response_id}"))


def task_id(shown: dict[str, Any]) -> str:
    found = task_id_of(shown["id"])
    assert found is not None
    return found


def test_every_parameter_of_the_sdk_is_honoured_or_refused_by_name():
    honoured = set(NewResponseFields.model_fields) - {"onceover"}
    assert honoured == set(HONOURED)
    assert set(DEFAULTS) == set(REFUSED)
    assert not honoured & set(DEFAULTS)
    assert parameters() == honoured | set(DEFAULTS)


@pytest.mark.parametrize(("name", "value"), [(name, value) for name, values in REFUSED.items() for value in values])
def test_what_is_not_honoured_is_refused_by_name(bench: ApiBench, name: str, value: Any):
    code, param = error(create(bench, **{name: value}))
    assert code == "unsupported_parameter"
    assert param is not None
    assert param.partition(".")[0] == name
    assert bench.count_rows() == 0


def test_openais_own_defaults_pass(bench: ApiBench):
    every = {
        name: passing[0]
        if isinstance(passing, tuple)
        else {inner: values[0] for inner, values in passing.items() if values}
        for name, passing in DEFAULTS.items()
        if passing
    }
    assert {"tools", "truncation"} <= set(every)
    every["text"] = {"format": {"type": "text"}, "verbosity": "medium"}
    assert made(bench, **every, background_options={"completion_window": "soonest"}, store=True)["status"] == "queued"


@pytest.mark.parametrize("background", [False, None, 1, "true"])
def test_only_in_the_background(bench: ApiBench, background: Any):
    assert error(create(bench, background=background))[1] == "background"
    assert error(bench.call("POST", "/v1/responses", {"input": "x"})) == ("unsupported_parameter", "background")


# For each parameter, values of its outermost field that are refused under the parameter's name.
BAD_VALUES: dict[str, list[Any]] = {
    "input": [
        *("", [], 5, "a\0", "\ufeff \u200b", [{"role": "system", "content": "x"}]),
        [{"role": "user", "content": [{"type": "input_text", "text": blank} for blank in ("\u2060", " ")]}],
    ],
    "input[0]": [[5]],
    "input[0].content": [[{"role": "user", "content": 5}]],
    "input[0].content[0].text": [[{"role": "user", "content": [{"type": "input_text"}]}]],
    "input[0].role": [[{"content": "x"}], [{"content": "x", "role": {}}]],
    "instructions": ["x" * 20_001],
    "model": ["", "a\tb"],
    "metadata": [{str(at): "" for at in range(17)}],
    "metadata.a": [{"a": 1}, {"a": "x" * 513}],
    "max_output_tokens": [0, "5"],
    "temperature": [2.1],
    "top_p": [1.1],
    "reasoning": [5],
    "reasoning.effort": [{"effort": "hard"}],
    "store": ["no"],
    "background_options.completion_window": [{"completion_window": "4h"}],
    "onceover.reduce": [{"reduce": "none"}],
    "onceover.maxModelCalls": [{"maxModelCalls": most} for most in (0, 3)],  # 3: three chunks need a merge too
    "onceover.modelOptions.top_p": [{"modelOptions": {"top_p": "x"}}],
    "onceover.modelOptions.reasoning_effort": [{"modelOptions": {"reasoning_effort": 5}}],
    "onceover.modelOptions.tools": [{"modelOptions": {"tools": []}}],
    "onceover.chunk.overlapChars": [{"chunk": {"maxChars": 5, "overlapChars": 5}}],
}
TWO_HOURS = {"completion_window": "2h"}
TWO_ROLES = [{"role": "system", "content": "b"}, {"role": "user", "content": "c"}]
BAD_TOGETHER: list[tuple[str, dict[str, Any]]] = [
    ("onceover.chunk.maxChars", {"onceover": {"chunk": {"maxChars": 1}}, "input": "x" * 5_001}),
    ("onceover.modelOptions.top_p", {"onceover": {"modelOptions": {"top_p": 0.5}}, "top_p": 0.6}),
    ("onceover.deadlineSeconds", {"onceover": {"deadlineSeconds": 60}, "background_options": TWO_HOURS}),
    ("input", {"instructions": "a", "input": TWO_ROLES}),
]


def of_fields(values: dict[str, list[Any]]) -> list[tuple[str, dict[str, Any]]]:
    return [(param, {re.split(r"[.[]", param)[0]: value}) for param in values for value in values[param]]


@pytest.mark.parametrize(("param", "fields"), [*of_fields(BAD_VALUES), *BAD_TOGETHER])
def test_a_bad_value_is_400_and_names_its_parameter(bench: ApiBench, param: str, fields: dict[str, Any]):
    assert error(create(bench, **fields)) == ("invalid_fields", param)
    assert bench.count_rows() == 0


PAIRS = ("user", "user"), ("system", "developer")
BREAKPOINT = {"type": "input_text", "text": "", "prompt_cache_breakpoint": {}}
UNKNOWN: dict[str, list[Any]] = {
    "input[0].type": [[{"type": "function_call_output", "call_id": "x", "output": "y"}]],
    "input[0].role": [[{"role": "assistant", "content": "x"}]],
    "input[1]": [[{"role": one, "content": "x"}, {"role": two, "content": "x"}] for one, two in PAIRS],
    "input[0].content[0].type": [[{"role": "user", "content": [{"type": "input_image", "image_url": "https://x"}]}]],
    "input[0].content[0].prompt_cache_breakpoint": [[{"role": "user", "content": [BREAKPOINT]}]],
    "input[0].phase": [[{"role": "user", "content": "x", "phase": "commentary"}]],
    "reasoning.summary": [{"summary": "auto"}],
    "reasoning.surprise": [{"surprise": 1}],
    "background_options.continuation_id": [{"continuation_id": "x"}],
    "text": ["json"],
    "text.surprise": [{"surprise": 1}],
    "text.format": [{"format": one} for one in ({"type": "json_object"}, {"type": "text", "surprise": 1}, "json")],
    "text.verbosity": [{"verbosity": "low"}],
    "onceover.surprise": [{"surprise": 1}],
    "n": [2],
    "surprise": [None],
}


@pytest.mark.parametrize(("param", "fields"), of_fields(UNKNOWN))
def test_what_nobody_knows_is_refused_by_name(bench: ApiBench, param: str, fields: dict[str, Any]):
    assert error(create(bench, **fields)) == ("unsupported_parameter", param)


def test_what_the_deployment_does_not_take(bench: ApiBench):
    bench.limit(model_options=("seed",), models=("m-1",))
    assert error(create(bench, top_p=0.5)) == ("invalid_fields", "top_p")
    assert error(create(bench, reasoning={"effort": "low"})) == ("invalid_fields", "reasoning.effort")
    assert error(create(bench, model="m-2")) == ("invalid_fields", "model")
    assert made(bench, model="m-1")["model"] == "m-1"
    assert made(bench, model="demo-1")["model"] == "demo-1"


def said(reply: Reply) -> str:
    assert reply.status == 400
    return str(data(reply)["error"]["message"])


def test_what_newcomers_send_is_refused_with_what_to_do_instead(bench: ApiBench):
    """Tools, another model than the built-in one, and a request without `background` name a page of the documents."""
    assert "docs/openai.md" in said(create(bench, tools=[{"type": "web_search"}]))
    assert "AI_PROVIDER is demo, which needs no model and is named demo-1" in said(create(bench, model="gpt-5.4-mini"))
    assert "poll responses.retrieve" in said(create(bench, background=False))
    form = {"format": {"type": "json_schema", "name": "n", "schema": {"type": "object"}}}
    assert "responses.stream, not responses.parse: docs/structured" in said(create(bench, background=None, text=form))


def test_every_honoured_field_reaches_the_task():
    request = new_request(HONOURED | OURS, Settings(), "default")
    options = request.options
    assert (request.text, request.instructions, request.overlap_chars) == ("one\n\ntwo", "Count.", 1)
    assert (options.reduce, options.model, options.metadata) == (Reduce.MERGE, "m-1", {"a": "ü"})
    assert (options.deadline_ms, options.max_calls, options.chunk_chars) == (7_200_000, 9, 5)
    assert (options.max_output_tokens, options.temperature) == (700, 0.5)
    assert options.model_options == {"seed": 1, "top_p": 0.9, "reasoning_effort": "low"}
    assert options.retention_ms == limits.RESPONSE_UNSTORED_SECONDS * 1000
    assert options.response == {"store": False, "tool_choice": "auto", "instructions": True}
    assert request.output_schema is not None
    assert json.loads(request.output_schema) == SCHEMA
    assert options.structure == Structure(has_schema=True, strict=True, name="a-1")


@pytest.mark.parametrize(
    ("given", "text", "system"),
    [
        ("a", "a", None),
        ([{"role": "user", "content": "a"}], "a", None),
        ([{"type": "message", "role": "user", "content": [{"type": "input_text", "text": "a"}]}], "a", None),
        ([{"role": "user", "content": [{"type": "input_text", "text": one} for one in "ab"]}], "a\n\nb", None),
        ([{"type": None, "role": "user", "content": "a"}], "a", None),
        ([{"role": "developer", "content": "do"}, {"role": "user", "content": "a"}], "a", "do"),
        ([{"role": "user", "content": "a"}, {"role": "system", "content": "do"}], "a", "do"),
    ],
)
def test_the_input(given: Any, text: str, system: str | None):
    request = new_request(LEAST | {"input": given}, Settings(), "default")
    assert (request.text, request.instructions or None) == (text, system)


@pytest.mark.parametrize(("window", "seconds"), [("soonest", None), ("2h", 7_200), ("8h", 28_800)])
def test_the_completion_window_is_a_deadline(window: str, seconds: int | None):
    """`soonest` sets no deadline."""
    request = new_request(LEAST | {"background_options": {"completion_window": window}}, Settings(), "default")
    assert request.options.deadline_ms == (None if seconds is None else seconds * 1000)


def test_a_text_of_one_call_gets_no_instructions_of_ours():
    short = new_request(LEAST, Settings(chunk_chars=100), "default")
    long = new_request(LEAST, Settings(chunk_chars=10), "default")
    assert (short.system(), long.instructions) == ("", None)
    assert long.system().startswith("Analyse the text")


def test_a_response_from_its_submission_to_its_end(bench: ApiBench):
    queued = made(bench, onceover={"reduce": "concat"}, metadata={"a": "b"}, instructions="Count.")
    assert (queued["status"], queued["output"], queued["usage"]) == ("queued", [], None)
    assert (queued["metadata"], queued["instructions"]) == ({"a": "b"}, "Count.")
    bench.begin(task_id(queued), 1)
    begun = read(bench, queued["id"])
    assert (begun["status"], begun["output"], begun["onceover"]["progress"]["completed"]) == ("in_progress", [], 1)
    claimed = bench.database.rows("SELECT fence FROM tasks")
    assert claimed == [{"fence": 1}]
    other = made(bench, input="other", onceover={"reduce": "concat"})
    bench.complete(task_id(other))
    done = read(bench, other["id"])
    (message,) = done["output"]
    assert (done["status"], message["content"][0]["text"]) == ("completed", "output 0")
    assert done["usage"]["total_tokens"] == 11
    assert done["completed_at"] is not None
    assert Response.model_validate(done).output_text == "output 0"


@pytest.mark.parametrize(
    ("code", "shown"),
    [
        ("model_unavailable", "server_error"),
        ("model_rate_limited", "rate_limit_exceeded"),
        ("model_refused", "server_error"),
    ],
)
def test_a_response_that_failed(bench: ApiBench, code: str, shown: str):
    response = made(bench)
    failure = Failure(TaskCode(code), "said the model", True)
    bench.work(bench.claim(task_id(response)), {}, Fail(bench.settings.retention_ms, failure), failed=failure)
    failed = read(bench, response["id"])
    assert failed["status"] == "failed"
    assert failed["error"] == {"code": shown, "message": "said the model"}
    assert failed["onceover"]["error"] == {"code": code, "message": "said the model", "retryable": True}
    assert failed["output"] == []


@pytest.mark.parametrize(("reason", "shown"), [("length", "max_output_tokens"), ("content_filter", "content_filter")])
def test_a_response_that_was_cut_off(bench: ApiBench, reason: str, shown: str):
    response = made(bench, input="x", onceover={"reduce": "concat"})
    bench.end_with(task_id(response), reason)
    done = read(bench, response["id"])
    assert (done["status"], done["incomplete_details"]) == ("incomplete", {"reason": shown})
    assert (done["output"][0]["status"], done["completed_at"] is not None) == ("incomplete", True)


def test_store_false_is_kept_for_an_hour(bench: ApiBench):
    for end in ("complete", "fail", "cancel"):
        response = made(bench, store=False)
        assert (response["store"], response["onceover"]["retentionSeconds"]) == (False, 3_600)
        if end == "cancel":
            bench.call("POST", f"/v1/responses/{response['id']}/cancel")
        else:
            getattr(bench, end)(task_id(response))
        (row,) = bench.database.rows(
            "SELECT wake_at - finished_at AS kept FROM tasks WHERE id = ?", key(task_id(response))
        )
        assert row["kept"] == 3_600_000
        assert read(bench, response["id"])["onceover"]["expiresAt"] is not None


def test_both_faces_show_a_response_and_one_shows_a_task(bench: ApiBench):
    response = made(bench)
    shown = data(bench.call("GET", response["onceover"]["task"]))
    assert (shown["id"], shown["request"]["reduce"]) == (task_id(response), "merge")
    native = f"resp_{bench.submit()['id']}"
    for method, path in (("GET", ""), ("POST", "/cancel"), ("DELETE", ""), ("GET", "/input_items")):
        assert error(bench.call(method, f"/v1/responses/{native}{path}"), 404) == ("not_found", None)
    assert len(bench.database.rows("SELECT * FROM tasks WHERE status = 'pending'")) == 2


def test_input_items(bench: ApiBench):
    response = made(bench)
    path = f"/v1/responses/{response['id']}/input_items"
    listed = data(bench.call("GET", f"{path}?limit=5&order=asc"))
    ResponseItemList.model_validate(listed, strict=True)
    (item,) = listed["data"]
    ResponseInputMessageItem.model_validate(item, strict=True)
    assert item["content"] == [{"type": "input_text", "text": LEAST["input"]}]
    assert data(bench.call("GET", f"{path}?after={item['id']}"))["data"] == []
    assert error(bench.call("GET", f"{path}?after={response['id']}")) == ("invalid_fields", "after")
    assert error(bench.call("GET", f"{path}?limit=101")) == ("invalid_fields", "limit")
    assert error(bench.call("GET", f"{path}?order=up")) == ("invalid_fields", "order")
    assert error(bench.call("GET", f"{path}?before=x")) == ("unsupported_parameter", "before")
    bench.complete(task_id(response))
    assert data(bench.call("GET", path))["data"] == []


def test_models(bench: ApiBench):
    bench.limit(models=("@cf/meta/llama", "demo-1"))
    listed = data(bench.call("GET", "/v1/models"))
    assert [Model.model_validate(one, strict=True).id for one in listed["data"]] == ["demo-1", "@cf/meta/llama"]
    page = data(bench.call("GET", "/v1/models?limit=1"))
    assert ([one["id"] for one in page["data"]], page["has_more"]) == (["demo-1"], True)
    page = data(bench.call("GET", "/v1/models?limit=1&after=demo-1"))
    assert ([one["id"] for one in page["data"]], page["has_more"]) == (["@cf/meta/llama"], False)
    assert data(bench.call("GET", "/v1/models?after=@cf/meta/llama"))["first_id"] is None
    assert error(bench.call("GET", "/v1/models?after=gpt-x")) == ("invalid_fields", "after")
    assert data(bench.call("GET", "/v1/models/@cf%2Fmeta%2Fllama"))["id"] == "@cf/meta/llama"
    assert error(bench.call("GET", "/v1/models/gpt-x"), 404) == ("not_found", None)


def test_a_retry_keeps_the_retention(bench: ApiBench):
    response = made(bench, store=False)
    bench.fail(task_id(response))
    assert bench.call("POST", f"/api/tasks/{task_id(response)}/retry").status == 202
    assert read(bench, response["id"])["status"] == "queued"
    done, end = {1: "output 1", 2: "output 2"}, Finish(bench.settings.retention_ms)
    bench.work(bench.claim(task_id(response)), done, end, calls_settled=7, completed=3)
    (row,) = bench.database.rows("SELECT wake_at - finished_at AS kept, status FROM tasks")
    assert row == {"kept": 3_600_000, "status": Status.COMPLETED}


def test_a_shorter_retention_of_the_deployment_holds(bench: ApiBench):
    bench.limit(retention_days=0.01)
    response = made(bench, store=False)
    assert response["onceover"]["retentionSeconds"] == 864
    bench.complete(task_id(response))
    assert read(bench, response["id"])["status"] == "completed"
    (row,) = bench.database.rows("SELECT wake_at - finished_at AS kept FROM tasks")
    assert row["kept"] == 864_000


@pytest.mark.parametrize("tier", ["auto", "default", "flex"])
def test_who_is_in_no_hurry_is_served_as_anybody(bench: ApiBench, tier: str):
    """`service_tier: flex`, by which a client accepts a slower answer, is accepted."""
    response = made(bench, service_tier=tier)
    assert response["service_tier"] == "default"


def test_an_option_that_is_null_is_shown_as_the_default(bench: ApiBench):
    """A response shows `top_p` as its default, since strict clients do not accept null."""
    assert made(bench, onceover={"modelOptions": {"top_p": None}})["top_p"] == 1.0


def test_the_statuses_are_those_of_the_sdk():
    theirs = Response.model_fields["status"].annotation
    assert set(get_args(ResponseStatus)) == set(get_args(get_args(theirs)[0]))


ANYTHING: list[Any] = [True, False, 0, 1, -1, 1.5, 1e300, "", "x", "\U0001f600", [], [[]], [None], [{}], {}, {"": {}}]
ANYTHING += [{"type": {}}, {"type": []}, {"type": 1}, {"type": None}]
NESTED: list[Any] = [[{"role": value, "content": value, "type": "message"}] for value in ANYTHING]
NESTED += [[{"role": "user", "content": [value]}] for value in ANYTHING]
NESTED += [[{"role": "user", "content": [{"type": value, "text": value}]}] for value in ANYTHING]


@pytest.mark.parametrize("name", [*NewResponseFields.model_fields, *DEFAULTS, "surprise"])
def test_any_value_of_a_field(bench: ApiBench, name: str):
    for value in [*ANYTHING, *(NESTED if name == "input" else [])]:
        reply = bench.call("POST", "/v1/responses", {"background": True, "input": "x", name: value})
        assert reply.status in {200, 400}, (value, reply.body)
        if reply.status == 400:
            assert data(reply)["error"]["param"].startswith(name), (value, reply.body)


@pytest.mark.parametrize(
    "name", ["reasoning", "background_options", "text", "image", "onceover", "prompt_cache_options"]
)
def test_any_value_inside_a_field(bench: ApiBench, name: str):
    told = ("effort", "summary", "completion_window", "format", "context_compression", "mode", "chunk", "modelOptions")
    for within in (*told, ""):
        for value in ANYTHING:
            body = {"background": True, "input": "x", name: {within: value}}
            reply = bench.call("POST", "/v1/responses", body)
            assert reply.status in {200, 400}, (within, value, reply.body)
            assert reply.status == 200 or data(reply)["error"]["param"].startswith(name), (within, value, reply.body)
