"""Requests to `/v1/responses` as OpenAI's SDKs make them: a request without an answer is sent again, with a count."""

from collections.abc import Callable, Mapping
from typing import Any

from simulator.campaign.clients import forms, tenants
from simulator.campaign.clients.workload import TaskSpec
from simulator.campaign.subject.arrivals import ClientRequest
from src.kernel.domain.ids import TaskKey, split_task_key, task_id_of_batch, task_key_of

PATH = "/v1/responses"
PAUSE_SECONDS = 0.4  # The shortest time for which the SDKs wait before they send a request again.
_PREFIX = "resp_"
COUNT = "x-stainless-retry-count"


def body(spec: TaskSpec, tag: str) -> dict[str, Any]:
    """Return the body of a request for a task in OpenAI's form."""
    native = forms.body(spec, tag)
    given = {name: native.pop(name) for name in ("input", "instructions")}
    schema = native.pop("outputSchema", None)
    if schema is not None:
        given["text"] = {"format": {"type": "json_schema", "name": spec.form, "schema": schema, "strict": True}}
    own = native | {"reduce": "concat" if spec.reduce == "none" else spec.reduce}
    return {"background": True, **given, "onceover": own}


def sendings(spec: TaskSpec, new_tag: Callable[[], str]) -> Callable[[int], ClientRequest]:
    """Return a function that makes a client's sends of one request; its argument is how many sends came before.

    All sends have one tag. All sends of a request with an idempotency key are the same. Each send of a request without
    a key has its retry count. If the network repeats a send without a key, the repeat is a separate request with a tag
    of its own.
    """
    wish, headers = body(spec, new_tag()), tenants.headers(spec.tenant)
    if spec.idempotent:
        keyed = headers | {"idempotency-key": f"key-{wish['instructions']}"}
        return lambda _count: ClientRequest("POST", PATH, lambda: wish, keyed)

    def sending(count: int) -> ClientRequest:
        first = iter([wish])
        counted = headers | {COUNT: str(count)}
        return ClientRequest("POST", PATH, lambda: next(first, None) or body(spec, new_tag()), counted)

    return sending


def count_of(headers: Mapping[str, str]) -> int:
    """Return how often a request was sent before, according to the retry count in its headers."""
    return int(headers.get(COUNT, 0))


def path_of(task_key: TaskKey) -> str:
    """Return the path of the response that a task is under `/v1`."""
    _, task_id = split_task_key(task_key)
    return f"{PATH}/{_PREFIX}{task_id}"


def key_of(tenant: str, told_id: str) -> TaskKey:
    """Return the key of a task from its id in `/api/tasks`, in `/v1/responses` or in `/v1/batches`."""
    return task_key_of(tenant, task_id_of_batch(told_id) or told_id.removeprefix(_PREFIX))
