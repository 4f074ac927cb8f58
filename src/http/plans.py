"""What a submission would come to: `POST /api/tasks?dryRun=true`. Nothing is stored, sent or asked for."""

from ..core import limits
from ..core.chunks import chunks, cuts
from ..core.settings import Settings
from ..core.task import minimum_calls
from ..core.tokens import estimated_tokens
from ..processing.submission import DEFAULT_INSTRUCTIONS, Request
from .calls import json_reply
from .ports import Reply
from .schemas import PlannedChunkView, PlanView


def show(request: Request, settings: Settings) -> Reply:
    """Show the plan of a checked request. Raises TooManyChunks, as its submission would."""
    max_chars = request.max_chars if request.max_chars is not None else settings.chunk_chars
    ends = cuts(request.text, max_chars, request.overlap_chars, most=limits.CHUNKS_MOST)
    planned = chunks(ends, request.overlap_chars)
    instructions = request.instructions if request.instructions is not None else DEFAULT_INSTRUCTIONS
    view = PlanView(
        chunks=[PlannedChunkView(index=chunk.index, start=chunk.start, end=chunk.end) for chunk in planned],
        minimumCalls=minimum_calls(len(planned), request.reduce),
        characters=len(request.text),
        estimatedTokens=estimated_tokens(request.text, planned, instructions),
    )
    return json_reply(200, view)
