"""The filters of the list of tasks: their query parameters, and how each is read."""

from typing import Final

from ...core.states import Status
from ...store.records.pages import ListFilter
from ..base.endpoint import Parameter
from ..base.messages import Query
from ..base.queries import refused

PARAMETERS: Final = (Parameter("status", "Only tasks of this status.", {"type": "string", "enum": list(Status)}),)


def read(query: Query) -> ListFilter:
    """Read all filters. Read the filters; raises Refusal (422) for a value that no task can have."""
    return ListFilter(status=_status(query))


def _status(query: Query) -> Status | None:
    text = query.get("status")
    if text is not None and text not in Status:
        raise refused("status", f"must be one of {', '.join(Status)}")
    return None if text is None else Status(text)
