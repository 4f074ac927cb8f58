"""Sends lines of a batch's output file, also while it grows: each line once, in the order that the file keeps for ever.

The headers say where a client goes on: `X-Last-Line` is the number of the last line of the answer, which is the
`offset` of the next request, and `X-Incomplete` says whether lines may follow.
"""

import re
from collections.abc import AsyncGenerator, AsyncIterator
from typing import NamedTuple

from ...core import limits
from ...core.batches.status import ENDED
from ...core.files import File, Piped
from ...core.ids import TaskKey
from ...processing.batches.early_lines import read_lines
from ...store.batch_files import BatchFileStore
from ...store.batches import BatchStore
from ...store.records.batches import Batch
from ..base.endpoint import Parameter
from ..base.exchange import Exchange
from ..base.messages import Query, Reply
from ..base.problems import FieldError, field_refusal

OFFSET, LIMIT = "offset", "limit"
INCOMPLETE, LAST_LINE = "X-Incomplete", "X-Last-Line"
_WHOLE = re.compile("[0-9]{1,9}")
_LINES_MOST = limits.BATCH_LINES_MOST

PARAMETERS = (
    Parameter(
        OFFSET,
        "Only of the output file of a batch: how many lines to leave out.",
        {"type": "integer", "minimum": 0, "maximum": 999_999_999},
    ),
    Parameter(
        LIMIT,
        "Only of the output file of a batch: how many lines at most. An answer may have fewer.",
        {"type": "integer", "minimum": 1, "maximum": _LINES_MOST},
    ),
)


class WantedLines(NamedTuple):
    """The lines that a request asks for. `limit` is None for all."""

    offset: int
    limit: int | None


def wanted(query: Query) -> WantedLines | None:
    """Read which lines a request asks for, None if it asks for the whole file. Raises Refusal (400) for a bad value."""
    if OFFSET not in query and LIMIT not in query:
        return None
    offset, limit = query.get(OFFSET, "0"), query.get(LIMIT)
    if not _WHOLE.fullmatch(offset):
        raise field_refusal([FieldError(OFFSET, "must be a whole number, the count of lines to leave out")])
    if limit is not None and not (_WHOLE.fullmatch(limit) and 1 <= int(limit) <= _LINES_MOST):
        raise field_refusal([FieldError(LIMIT, f"must be a whole number from 1 to {_LINES_MOST}")])
    return WantedLines(int(offset), None if limit is None else int(limit))


async def lines_reply(
    exchange: Exchange, file: File, asked: WantedLines | None, headers: dict[str, str]
) -> Reply | None:
    """Send lines of an output file: as many of those asked for as an invocation may send, but at least one.

    Without `asked` all lines are sent, and None is returned for a file that is no output file. Raises Refusal (400) if
    lines of such a file are asked for, and BlobUnavailable.
    """
    batch = None if file.owner is None else await exchange.api.store.beside(BatchStore).batch(TaskKey(file.owner))
    if batch is None or batch.output_file != file.key:
        if asked is None:
            return None
        raise field_refusal([FieldError(OFFSET, "and limit are only for the output file of a batch")])
    api, lines = exchange.api, asked or WantedLines(0, None)
    most = limits.EARLY_BYTES_MOST[api.settings.plan]
    store = api.store.beside(BatchFileStore)
    found = await read_lines(api.files, store, batch, lines.offset, lines.limit, most)
    headers = {
        **headers,
        "Content-Length": str(found.size),
        INCOMPLETE: "true" if _may_follow(batch) or not found.reaches_end else "false",
        LAST_LINE: str(found.behind),
    }
    if exchange.request.method == "HEAD" or not found.size:
        return Reply(200, headers=headers)
    # The first lines are read before the answer begins, so that a bucket that does not answer refuses the request.
    return Reply(200, headers=headers, content=_content(await anext(found.chunks), found.chunks))


def _may_follow(batch: Batch) -> bool:
    """Whether the batch may add lines to its output file."""
    return batch.status not in ENDED


async def _content(first: bytes, rest: AsyncIterator[bytes]) -> AsyncGenerator[bytes | Piped]:
    yield first
    del first
    async for chunk in rest:
        yield chunk
