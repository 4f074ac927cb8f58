"""The parameters of lists below `/v1`: `after`, `limit` and `order`, as OpenAI's SDKs send them."""

import re

from ...core import limits
from ..endpoint import Parameter
from ..messages import Query
from ..problems import FieldError, field_refusal

_WHOLE = re.compile(r"[0-9]{1,6}")

PARAMETERS = (
    Parameter("after", "The id of the last item that was seen.", {"type": "string"}),
    Parameter(
        "limit",
        "How many items at most.",
        {"type": "integer", "minimum": 1, "maximum": limits.LIST_LIMIT_MOST, "default": limits.LIST_LIMIT_DEFAULT},
    ),
    Parameter("order", "Of one item there is one order.", {"type": "string", "enum": ["asc", "desc"]}),
)


def check(query: Query) -> int:
    """Return how many items are wanted at most. Raises Refusal (400) for a bad value."""
    limit = query.get("limit", str(limits.LIST_LIMIT_DEFAULT))
    if not _WHOLE.fullmatch(limit) or not 1 <= int(limit) <= limits.LIST_LIMIT_MOST:
        raise field_refusal([FieldError("limit", f"must be a whole number from 1 to {limits.LIST_LIMIT_MOST}")])
    if query.get("order", "asc") not in {"asc", "desc"}:
        raise field_refusal([FieldError("order", "must be asc or desc")])
    return int(limit)
