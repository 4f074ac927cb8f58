"""Retries and plans of tasks whose text is in a file."""

from ...kernel.api.base.exchange import Exchange
from ...kernel.api.base.messages import Reply
from ...kernel.api.base.problems import NOT_RETRYABLE, FieldError, Refusal, field_refusal
from ...kernel.api.base.services import Api
from ...kernel.api.tasks.submission import no_such_file
from ...kernel.domain import limits
from ...kernel.domain.errors import BlobMissing
from ...kernel.domain.task import Task
from ...kernel.feature import KindApi
from ...kernel.text.chunks import Chunk, chunks
from ...kernel.text.tokens import estimated_tokens
from ...kernel.work.submission import Planned, TaskRequest, TooMuchRepeated
from ..files.file import File
from ..files.store import file_store
from .file_cuts import CutAt, FileCuts, TextFault

_NO_TEXT = "The file with the text of the task is gone. Upload the text again, and submit a new task."
_FIELD = "inputFile"


class TextsApi(KindApi):
    """Refuses a retry without the file, and plans a text that is read from its file."""

    async def plan(self, request: TaskRequest, api: Api, repeated: str) -> Planned | None:
        """Plan a task whose text is in a file: read the whole file in portions, and keep only the cuts.

        `repeated` is what each call repeats besides overlaps. Raises the Refusals with which a real task would fail,
        and `BlobUnavailable`, StoreError, TooManyChunks and TooMuchRepeated.
        """
        if request.input_file is None:
            return None
        file = await file_store(api.invocation).file(request.input_file)
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

    async def retry(
        self, exchange: Exchange, task: Task, _max_calls: int | None, _max_cost: int | None
    ) -> Reply | None:
        """Refuse (409) to retry a task whose text was in a file that is gone."""
        if task.text_file is not None and await file_store(exchange.api.invocation).file(task.text_file) is None:
            raise Refusal(NOT_RETRYABLE, _NO_TEXT)
        return None


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
