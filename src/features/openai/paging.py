"""The parameters of lists below `/v1` (`after`, `limit` and `order`), as OpenAI's SDKs send them."""

import re
from collections.abc import Sequence

from ...kernel.api.base.endpoint import Parameter
from ...kernel.api.base.messages import Query
from ...kernel.api.base.problems import FieldError, field_refusal
from ...kernel.domain import limits

_WHOLE = re.compile(r"[0-9]{1,6}")

PARAMETERS = (
    Parameter("after", "The id of the last item of the previous page.", {"type": "string"}),
    Parameter(
        "limit",
        "How many items at most.",
        {"type": "integer", "minimum": 1, "maximum": limits.LIST_LIMIT_MOST, "default": limits.LIST_LIMIT_DEFAULT},
    ),
    Parameter("order", "Without effect: the list has one item.", {"type": "string", "enum": ["asc", "desc"]}),
)


def page(query: Query, names: Sequence[str]) -> tuple[range, bool]:
    """Return the positions in `names` of the items on the page, and whether more items follow.

    Without `limit`, the page may have all items. Raises Refusal (400) for a bad value of a parameter, and for an
    `after` that names no item of the list.
    """
    most, after = check(query) if "limit" in query else len(names), query.get("after")
    if after is not None and after not in names:
        raise field_refusal([FieldError("after", "is not the id of an item of this list")])
    first = 0 if after is None else names.index(after) + 1
    wanted = range(first, min(len(names), first + most))
    return wanted, wanted.stop < len(names)


def check(query: Query) -> int:
    """Check `limit` and `order`, and return the most items of a page. Raises Refusal (400)."""
    limit = query.get("limit", str(limits.LIST_LIMIT_DEFAULT))
    if not _WHOLE.fullmatch(limit) or not 1 <= int(limit) <= limits.LIST_LIMIT_MOST:
        raise field_refusal([FieldError("limit", f"must be a whole number from 1 to {limits.LIST_LIMIT_MOST}")])
    if query.get("order", "asc") not in {"asc", "desc"}:
        raise field_refusal([FieldError("order", "must be asc or desc")])
    return int(limit)
