"""Makes the plan of a submission, for `POST /api/tasks?dryRun=true`. A dry run stores nothing and calls no service."""

import json
from dataclasses import replace

from ...calls.asking import messages
from ...calls.protocol import ModelCall, OutputForm
from ...domain.task import minimum_calls
from ...text.chunks import chunks
from ...text.tokens import estimated_tokens
from ...work.submission import Planned, TaskRequest, check_budget
from ..base.messages import Reply, json_reply
from ..base.services import Api
from .views import PlannedChunkView, PlanView, request_view


async def show(request: TaskRequest, api: Api) -> Reply:
    """Show the plan of a checked request. Raises the Refusals that cutting the input in a real submission raises."""
    planned = await _planned(request, api)
    options = replace(request.options, chunk_chars=request.max_chars(api.settings))
    least = minimum_calls(len(planned.chunks), options.reduce)
    check_budget(options, least)
    source = request.source()._replace(characters=planned.characters)
    view = PlanView(
        request=request_view(options, source, api, request.input_file),
        chunks=[PlannedChunkView(index=chunk.index, start=chunk.start, end=chunk.end) for chunk in planned.chunks],
        minimumCalls=least,
        characters=planned.characters,
        estimatedTokens=planned.tokens,
        cost=next((found for kind in api.kind_apis() if (found := kind.plan_cost(request, api, planned, least))), None),
    )
    return json_reply(200, view)


async def _planned(request: TaskRequest, api: Api) -> Planned:
    repeated = repeated_text(request)
    for kind in api.kind_apis():
        if (planned := await kind.plan(request, api, repeated)) is not None:
            return planned
    ends = await request.cut(api.settings)
    found, sent = chunks(ends, request.overlap_chars), request.options.long_text
    if request.prepare is not None:
        await request.prepare(request, ends)
    with_context = chunks(ends, request.overlap_chars + (sent.context_chars if sent is not None else 0))
    return Planned(found, len(request.text), estimated_tokens(request.text, with_context, repeated))


def repeated_text(request: TaskRequest) -> str:
    """Return what each chunk's call repeats: the instructions, and the schema, which servers put into prompts."""
    if request.output_schema is None:
        return request.system()
    form = OutputForm(json.loads(request.output_schema), "output", True, "prompt")
    return messages(ModelCall(request.system(), "", "", form=form))[0]["content"]
