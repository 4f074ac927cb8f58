"""Plans a task whose text is in a file, for a dry run: reads the whole file in portions, and keeps only the cuts."""

from ...kernel.api.base.problems import FieldError, field_refusal
from ...kernel.api.base.services import Api
from ...kernel.api.tasks.submission import no_such_file
from ...kernel.domain import limits
from ...kernel.domain.errors import BlobMissing
from ...kernel.domain.ids import FileKey
from ...kernel.text.chunks import Chunk, chunks
from ...kernel.text.tokens import estimated_tokens
from ...kernel.work.submission import Planned, TaskRequest, TooMuchRepeated
from ..files.file import File
from ..files.store import file_store
from .file_cuts import CutAt, FileCuts, TextFault

_FIELD = "inputFile"


async def plan_file(key: FileKey, request: TaskRequest, api: Api, repeated: str) -> Planned:
    """Plan a request whose text is in a file. `repeated` is what each call repeats besides overlaps.

    Raises the Refusals with which a real task would fail, and `BlobUnavailable`, StoreError, TooManyChunks and
    TooMuchRepeated.
    """
    file = await file_store(api.invocation).file(key)
    if file is None:
        raise field_refusal([no_such_file()])
    if api.settings.plan == "free" and file.bytes > limits.INPUT_BYTES_MOST:
        message = (
            f"has more than {limits.INPUT_BYTES_MOST} bytes, which a dry run cannot read on PLAN=free, because a "
            "request has too little CPU time there"
        )
        raise field_refusal([FieldError(_FIELD, message)])
    try:
        return await _planned(request, api, file, repeated)
    except TextFault as fault:
        raise field_refusal([FieldError(_FIELD, str(fault))]) from None
    except BlobMissing:
        raise field_refusal([no_such_file()]) from None


async def _planned(request: TaskRequest, api: Api, file: File, repeated: str) -> Planned:
    overlap = request.overlap_chars
    before = overlap + (request.options.long_text.context_chars if request.options.long_text is not None else 0)
    cuts = FileCuts(file.bytes, request.max_chars(api.settings), overlap, CutAt())
    ends: list[int] = []
    tail, tokens = "", 0
    while not cuts.is_over:
        start = cuts.at.chars
        found = cuts.feed(await file_store(api.invocation).read(file, *cuts.wanted))
        text, origin = tail + found.text, start - len(tail)
        spans = chunks((start, *found.ends), before)[1:]
        within = (Chunk(one.index, one.start - origin, one.end - origin) for one in spans)
        tokens += estimated_tokens(text, within, repeated)
        ends += found.ends
        tail = text[max(0, len(text) - before) :] if before else ""
        repeats = request.repeated(len(ends))
        if sum(repeats.values()) > limits.SENT_CHARS_MOST:
            raise TooMuchRepeated(max(repeats, key=repeats.__getitem__))
    return Planned(chunks(tuple(ends), overlap), cuts.at.chars, tokens)
