"""Lists below `/v1`: their pages, and `/v1/models`, which lists the deployment's model and those of AI_MODELS."""

from collections.abc import Sequence

from ...kernel.api.base import fields
from ...kernel.api.base.endpoint import Parameter
from ...kernel.api.base.exchange import Exchange
from ...kernel.api.base.messages import Query, Reply, json_reply
from ...kernel.api.base.problems import NOT_FOUND, Refusal
from ...kernel.api.base.services import Api
from ...kernel.domain import limits
from .shapes import ListedModelsView, ListedModelView

# The parameters of lists as OpenAI's SDKs send them.
ITEMS = (
    Parameter("after", "The id of the last item of the previous page.", {"type": "string"}),
    Parameter("limit", "How many items at most.", fields.LIMIT),
    Parameter("order", "Without effect: the list has one item.", {"type": "string", "enum": ["asc", "desc"]}),
)
MODELS = (
    Parameter("after", "The id of the last model of the previous page.", {"type": "string"}),
    Parameter(
        "limit",
        "How many models at most; by default all.",
        {"type": "integer", "minimum": 1, "maximum": limits.LIST_LIMIT_MOST},
    ),
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


async def list_models(exchange: Exchange) -> Reply:
    """List the deployment's models. If AI_MODELS is not set, a task may name a model that is not listed."""
    names = _names(exchange.api)
    places, more = page(exchange.query, names)
    found = [_view(names[place], exchange.api) for place in places]
    ends = (found[0]["id"], found[-1]["id"]) if found else (None, None)
    view = ListedModelsView(object="list", data=found, first_id=ends[0], last_id=ends[1], has_more=more)
    return json_reply(200, view)


async def read_model_by_id(exchange: Exchange) -> Reply:
    """Show one of the listed models."""
    name = exchange.parts["id"]
    if name not in _names(exchange.api):
        raise Refusal(NOT_FOUND, "There is no such model in the list of models.")
    return json_reply(200, _view(name, exchange.api))


def _names(api: Api) -> list[str]:
    return list(dict.fromkeys((api.provider.default_model, *api.settings.models)))


def _view(name: str, api: Api) -> ListedModelView:
    return ListedModelView(id=name, object="model", created=0, owned_by=api.provider.name)
