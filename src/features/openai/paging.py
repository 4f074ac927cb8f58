"""The parameters of lists below `/v1` (`after`, `limit` and `order`), as OpenAI's SDKs send them."""

from collections.abc import Sequence

from ...kernel.api.base import fields
from ...kernel.api.base.endpoint import Parameter
from ...kernel.api.base.messages import Query

PARAMETERS = (
    Parameter("after", "The id of the last item of the previous page.", {"type": "string"}),
    Parameter("limit", "How many items at most.", fields.LIMIT),
    Parameter("order", "Without effect: the list has one item.", {"type": "string", "enum": ["asc", "desc"]}),
)


def page(query: Query, names: Sequence[str]) -> tuple[range, bool]:
    """Return the page's places in `names`, all without `limit`, and whether more follow. Raises Refusal (400)."""
    most, after = check(query) if "limit" in query else len(names), query.get("after")
    if after is not None and after not in names:
        raise fields.refused("after", "is not the id of an item of this list")
    first = 0 if after is None else names.index(after) + 1
    wanted = range(first, min(len(names), first + most))
    return wanted, wanted.stop < len(names)


def check(query: Query) -> int:
    """Check `limit` and `order`, and return the most items of a page. Raises Refusal (400)."""
    limit = fields.page_limit(query)
    if query.get("order", "asc") not in {"asc", "desc"}:
        raise fields.refused("order", "must be asc or desc")
    return limit
