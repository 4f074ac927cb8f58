"""`/v1/models`: lists the deployment's model, and the models of AI_MODELS, which tasks may name."""

from ...kernel.api.base.endpoint import Parameter
from ...kernel.api.base.exchange import Exchange
from ...kernel.api.base.messages import Reply, json_reply
from ...kernel.api.base.problems import NOT_FOUND, Refusal
from ...kernel.api.base.services import Api
from ...kernel.domain import limits
from . import paging
from .shapes import ListedModelsView, ListedModelView

PARAMETERS = (
    Parameter("after", "The id of the last model of the previous page.", {"type": "string"}),
    Parameter(
        "limit",
        "How many models at most; by default all.",
        {"type": "integer", "minimum": 1, "maximum": limits.LIST_LIMIT_MOST},
    ),
)


async def list_models(exchange: Exchange) -> Reply:
    """List the deployment's models. If AI_MODELS is not set, a task may name a model that is not listed."""
    names = _names(exchange.api)
    places, more = paging.page(exchange.query, names)
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
