"""The hooks and checks that schemathesis loads through `SCHEMATHESIS_HOOKS=tests.api_fuzz.checks`."""

import os
import re

import schemathesis
from schemathesis.generation import GenerationMode
from schemathesis.specs.openapi.checks import negative_data_rejection, positive_data_acceptance, use_after_free

# Rules that JSON Schema cannot state, such as a comparison of two fields, a size in bytes, or the characters that are
# printable. Each of these rules is given by its field and the beginning of its message.
UNSAYABLE = (
    ("chunk.overlapChars", "must be less than maxChars"),
    ("chunk.maxChars", "is too small: the input would need more than"),
    ("metadata", "has "),
    ("metadata", "contains a NUL character"),
    ("model", "must have printable characters only"),
    ("model", "is not here"),
    ("modelOptions", "has "),
    ("modelOptions", "is not allowed"),
    ("modelOptions", "contains a NUL character"),
    ("input", "is required, or inputFile"),
    ("input", "must have a visible character"),
    ("inputFile", "is not the id of an uploaded file"),
    ("inputFile", "needs a bucket for files"),
    ("errorCode", "must not be budget_exhausted"),
    ("outputSchema", ""),
    ("join", ""),
    ("strict", "has no effect"),
    ("maxGapShare", "has no effect"),
    ("modelOptions", "is a name that contains a NUL character"),
    ("cursor", "needs tenant=*"),
    ("cursor", "must be the nextCursor of an earlier"),
    ("after, Last-Event-ID", "is not the id of an event of this task"),
    ("after, Last-Event-ID", "must be the id of an event of this task"),
)
# The same kind of rules for `/v1`, which answers 400. Each of the rules of `/v1` is given by its parameter and a part
# of its message.
UNSAYABLE_COMPATIBLE = (
    ("input", "input"),
    ("onceover", ""),
    ("text", ""),
    ("model", "must have printable characters only"),
    ("model", "is not here"),
    ("metadata", "contains a NUL character"),
    ("instructions", "is too long for this many chunks"),
    ("starting_after", "is not the sequence_number of an event"),
    ("starting_after", "needs stream=true"),
    ("after", "must be the id of an endpoint"),
    ("after", "is not the id of an item of this list"),
    ("expires_after", "is required with the other field"),
    ("offset", "and limit are only for the output file of a batch"),
    ("input_file_id", "is not the id of an uploaded file"),
    ("input_file_id", "is a file of the purpose"),
    ("url", "must be a URL of"),
    ("url", "must have a host name of at most"),
    ("url", "must not have a host name that"),
)

# These paths may refuse valid queries, because no schema can state which events a task has had, which elements a list
# has, which files are a batch's output, or that some cursors are valid only with all tenants.
UNSAYABLE_OF_HEAD = frozenset(
    {
        "/api/tasks",
        "/api/tenants",
        "/api/tasks/{id}/events",
        "/v1/files/{id}/content",
        "/v1/models",
        "/v1/responses/{id}",
        "/v1/responses/{id}/input_items",
        "/v1/webhook_endpoints",
    }
)


@schemathesis.hook
def before_call(context: schemathesis.HookContext, case: schemathesis.Case, kwargs: dict[str, object]) -> None:
    """Replace generated hosts and input files, which must exist."""
    if not _is_valid(case) or not isinstance(case.body, dict):
        return
    if case.operation.label == "POST /v1/webhook_endpoints":
        case.body["url"] = os.environ["FUZZ_RECEIVER"]
    elif case.operation.label == "POST /v1/batches":
        case.body["input_file_id"] = os.environ["FUZZ_INPUT_FILE"]


def _is_valid(case: schemathesis.Case) -> bool:
    return case.meta is not None and case.meta.generation.mode == GenerationMode.POSITIVE


@schemathesis.check
def sayable_data_acceptance(
    ctx: schemathesis.CheckContext, response: schemathesis.Response, case: schemathesis.Case
) -> bool | None:
    if case.method.upper() == "HEAD" and case.path in UNSAYABLE_OF_HEAD and response.status_code in {400, 422}:
        return None  # an answer to HEAD has no body that could name the broken rule
    if response.status_code == 400 and response.content and case.path.startswith("/v1/"):
        if _is_unsayable_compatible(response.json()["error"]):
            return None
    elif response.status_code == 422 and response.content:
        problem = response.json()
        problem = problem.get("error", problem)
        # The error `idempotency_mismatch` depends on earlier requests, not on the form of the present request.
        # `no_price` depends on the deployment's prices.
        if problem["code"] in {"idempotency_mismatch", "no_price"} or all(
            map(_is_unsayable, problem.get("errors", [{}]))
        ):
            return None
    return positive_data_acceptance(ctx, response, case)


@schemathesis.check
def data_rejection(
    ctx: schemathesis.CheckContext, response: schemathesis.Response, case: schemathesis.Case
) -> bool | None:
    if case.path == "/api/tenants/{name}/limits" and response.status_code == 200:
        return None  # in a path null is a text, and a tenant may be called so
    return negative_data_rejection(ctx, response, case)


@schemathesis.check
def use_of_erased_task(
    ctx: schemathesis.CheckContext, response: schemathesis.Response, case: schemathesis.Case
) -> bool | None:
    return None if case.method.upper() == "OPTIONS" else use_after_free(ctx, response, case)


def _is_unsayable_compatible(error: dict[str, str | None]) -> bool:
    param, message = error["param"] or "", error["message"] or ""
    return any(re.match(rf"{field}(?:[.\[]|$)", param) and part in message for field, part in UNSAYABLE_COMPATIBLE)


def _is_unsayable(error: dict[str, str]) -> bool:
    name = error.get("field", "")
    named = name.partition(".")[0] if name.startswith(("modelOptions.", "outputSchema.", "join.")) else name
    return any(named == field and error["message"].startswith(rule) for field, rule in UNSAYABLE)
