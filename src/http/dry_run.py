"""What a submission would come to: `POST /api/tasks?dryRun=true`. Nothing is stored, sent or asked for."""

from ..core.chunks import chunks
from ..core.settings import Settings
from ..core.task import minimum_calls
from ..core.tokens import estimated_tokens
from ..processing.submission import Request
from .exchange import json_reply
from .ports import Reply
from .schemas import PlannedChunkView, PlanView


def show(request: Request, settings: Settings) -> Reply:
    """Show the plan of a checked request. Raises what its submission would."""
    planned = chunks(request.cut(settings), request.overlap_chars)
    view = PlanView(
        chunks=[PlannedChunkView(index=chunk.index, start=chunk.start, end=chunk.end) for chunk in planned],
        minimumCalls=minimum_calls(len(planned), request.reduce),
        characters=len(request.text),
        estimatedTokens=estimated_tokens(request.text, planned, request.system()),
    )
    return json_reply(200, view)
