"""What a submission would come to: `POST /api/tasks?dryRun=true`. Nothing is stored, sent or asked for."""

from dataclasses import replace
from typing import Annotated, TypedDict

from pydantic import Field

from ..core.chunks import chunks
from ..core.task import Source, minimum_calls
from ..core.tokens import estimated_tokens
from ..processing.submission import Request, check_budget
from .messages import Reply, json_reply
from .request_views import RequestView, request_view
from .services import Api
from .views import Count, shown


@shown
class PlannedChunkView(TypedDict):
    """A chunk that a task would have: the span of `input` that it covers, in code points."""

    index: Count
    start: Count
    end: Annotated[int, Field(ge=1)]


@shown
class PlanView(TypedDict):
    """What a submission would come to. `characters` are code points of `input`. `estimatedTokens` is a rough estimate
    of what the chunks' calls take in, instructions included: a token for a Chinese, Japanese or Korean character, and
    one for four others. Calls that merge come on top, and outputs.
    """

    request: RequestView
    chunks: list[PlannedChunkView]
    minimumCalls: Annotated[int, Field(ge=1)]
    characters: Annotated[int, Field(ge=1)]
    estimatedTokens: Annotated[int, Field(ge=1)]


def show(request: Request, api: Api) -> Reply:
    """Show the plan of a checked request. Raises what its submission would."""
    planned = chunks(request.cut(api.settings), request.overlap_chars)
    options = replace(request.options, chunk_chars=request.max_chars(api.settings))
    check_budget(options, minimum_calls(len(planned), options.reduce))
    source = Source(request.system(), request.overlap_chars, len(request.text))
    view = PlanView(
        request=request_view(options, source, api),
        chunks=[PlannedChunkView(index=chunk.index, start=chunk.start, end=chunk.end) for chunk in planned],
        minimumCalls=minimum_calls(len(planned), request.options.reduce),
        characters=len(request.text),
        estimatedTokens=estimated_tokens(request.text, planned, request.system()),
    )
    return json_reply(200, view)
