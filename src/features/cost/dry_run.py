"""What the calls of a planned task cost at least and at most, and whether a task with a cap can begin."""

import json

from ...kernel.api.base.problems import NO_PRICE, FieldError, Refusal, field_refusal
from ...kernel.api.base.services import Api
from ...kernel.api.base.views import PlannedCostView
from ...kernel.calls.asking import sent_bytes
from ...kernel.calls.protocol import ModelCall, OutputForm
from ...kernel.domain.prices import Price, price_of, written
from ...kernel.domain.settings import Settings
from ...kernel.feature import KindApi
from ...kernel.text.merge import merge_chars, merge_system
from ...kernel.work.submission import Planned, TaskRequest
from .gate import has_most

# The most bytes of JSON that a character takes, and a byte of a text in a file, which is not read. Control characters,
# which take six, are rare.
_BYTES_A_CHARACTER = 4
_BYTES_A_BYTE = 2


def first_most(request: TaskRequest, first: str, settings: Settings, default_model: str) -> int:
    """Return the most that the first call can cost, -1 without a price. A text in a file is not read: it needs 1."""
    model, price, output = _terms(request, settings, default_model)
    if price is None or not has_most(price, output):
        return -1
    if request.input_file is not None:
        return 1
    return price.most(sent_bytes(_call(request, settings, model)._replace(user=first)), output)


class CostApi(KindApi):
    """Adds costs to a dry run, and refuses a cap that cannot hold."""

    async def check(self, request: TaskRequest, api: Api) -> None:
        """Refuse (422) a cap without a price or a limit of output, or below the most of the first call."""
        assert request.options.max_cost is not None
        model, price, output = _terms(request, api.settings, api.provider.default_model)
        if price is None or not has_most(price, output):
            lacks = "a price (PRICES)" if price is None else "a limit of output (maxOutputTokens)"
            raise Refusal(NO_PRICE, f"A task with maxCost needs {lacks} for the model {model}.")
        if request.input_file is not None:
            return  # its text is read by the task's worker
        first = request.text[: (await request.cut(api.settings))[0]]
        most = price.most(sent_bytes(_call(request, api.settings, model)._replace(user=first)), output)
        if request.options.max_cost < most:
            message = f"must be at least {written(most)}: the first call can cost that much"
            raise field_refusal([FieldError("maxCost", message)])

    def plan_cost(self, request: TaskRequest, api: Api, planned: Planned, calls: int) -> PlannedCostView | None:
        """Return the costs of a plan with so many calls, None without a price."""
        _, price, output = _terms(request, api.settings, api.provider.default_model)
        if price is None:
            return None
        output = output or price.max_output
        least = price.cost(planned.tokens, 0)
        most = None if output is None else price.most(_bytes(request, api, planned, calls), calls * output)
        return PlannedCostView(least=written(least), most=None if most is None else written(most))


def _terms(request: TaskRequest, settings: Settings, default_model: str) -> tuple[str, Price | None, int | None]:
    """Return the model of a task's calls, its price, and the limit of their output."""
    options = request.options
    model = options.model or default_model
    price = price_of(settings.prices, model, options.model_options.get("service_tier"))
    return model, price, options.max_output_tokens or settings.max_output_tokens


def _bytes(request: TaskRequest, api: Api, planned: Planned, calls: int) -> int:
    """Return the most bytes that calls send: text, overlap or context, outputs to merge, and what each repeats."""
    chunks = len(planned.chunks)
    text = len(json.dumps(request.text, ensure_ascii=False).encode()) if request.text else 0
    repeated = request.repeated(chunks)
    text += _BYTES_A_BYTE * request.file_bytes + _BYTES_A_CHARACTER * (repeated["overlaps"] + repeated["context"])
    empty = _call(request, api.settings, request.options.model or api.provider.default_model)
    merge = empty._replace(system=merge_system(request.system()))
    merged = _BYTES_A_CHARACTER * merge_chars(request.max_chars(api.settings))
    return text + chunks * sent_bytes(empty) + (calls - chunks) * (sent_bytes(merge) + merged)


def _call(request: TaskRequest, settings: Settings, model: str) -> ModelCall:
    """Return a call of the task without a text."""
    options, form = request.options, None
    if request.output_schema is not None:
        form = OutputForm(json.loads(request.output_schema), "output", True, settings.structured_output)
    return ModelCall(request.system(), "", model, temperature=1.0, options=options.model_options, form=form)
