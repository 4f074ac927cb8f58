"""The filters of the list of tasks: their query parameters, and how each is read."""

import json
import re
from collections.abc import Mapping, Sequence
from typing import Final

from ...domain import limits
from ...domain.codes import TaskCode
from ...domain.task import Route, Status
from ...store.rows import ListFilter, Span, folded
from ..base import fields
from ..base.endpoint import Parameter
from ..base.fields import NO_NUL, one_of, refused
from ..base.messages import Query


def _texts(most: int) -> Mapping[str, object]:
    return {"type": "string", "minLength": 1, "maxLength": most, **NO_NUL}


# The beginning of a task's id, up to its first dash or further, which no searched name looks like.
_ID_BEGINS = re.compile("[0-9a-f]{8}-[0-9a-f-]{0,27}")

PARAMETERS: Final = (
    Parameter(
        "q",
        "Only tasks whose id begins so, or whose name contains this. A to Z count like a to z. From the first dash of "
        "an id on (`019f3b52-`) only ids are searched, and no other task is read.",
        _texts(limits.SEARCH_CHARS_MOST),
    ),
    Parameter("status", "Only tasks of this status.", {"type": "string", "enum": list(Status)}),
    Parameter("code", "Only tasks that failed with this code.", {"type": "string", "enum": list(TaskCode)}),
    Parameter(
        "model",
        "Only tasks whose calls go to this model; a task that names none has the deployment's.",
        _texts(limits.MODEL_CHARS_MOST),
    ),
    Parameter("route", "Only tasks that this route worked on last.", {"type": "string", "enum": list(Route)}),
)
# All parameters of a list but those for extra fields.
_OWN: Final = {
    *(one.name for one in PARAMETERS),
    *("createdAfter", "createdBefore", "limit", "cursor", "counts", "tenant"),
}


def of_extras(names: Sequence[str]) -> tuple[Parameter, ...]:
    """Return the parameters for the extra fields of a body."""
    schema = _texts(limits.EXTRA_CHARS_MOST)
    return tuple(Parameter(name, f"Only tasks with this `{name}`.", schema) for name in names)


def read(query: Query, default_model: str) -> ListFilter:
    """Read all filters of a list. Raises Refusal (422) for a value that no task can have."""
    text, model = _text(query, "q", limits.SEARCH_CHARS_MOST), _text(query, "model", limits.MODEL_CHARS_MOST)
    extras = {name: _text(query, name, limits.EXTRA_CHARS_MOST) for name in query.keys() - _OWN}
    return ListFilter(
        status=one_of(query, "status", Status),
        route=one_of(query, "route", Route),
        error_code=one_of(query, "code", TaskCode),
        model=model,
        text=None if text is None or _id_prefix(query) else folded(text),
        default_model=None if model is None else default_model,
        extras=json.dumps(extras) if extras else None,
    )


def span(tenant: str, query: Query, before_id: str | None = None) -> Span:
    """Read the span of the tenant's tasks that the query asks for. Tasks from `before_id` on are left out."""
    return fields.created_span(tenant, query, before_id, _id_prefix(query))


def _id_prefix(query: Query) -> str:
    """Return `q` if it is the beginning of a task's id, so that only ids are searched; else ''."""
    text = query.get("q", "").lower()
    return text if _ID_BEGINS.fullmatch(text) else ""


def _text(query: Query, name: str, most: int) -> str | None:
    text = query.get(name)
    if text is not None and (len(text) > most or "\0" in text):
        raise refused(name, f"must have at most {most} characters, and no NUL")
    return text
