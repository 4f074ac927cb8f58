"""Sends lines of a batch's output file, also while it grows: each line once, in the order that the file keeps for ever.

The headers say where a client goes on: `X-Last-Line` is the number of the last line of the answer, which is the
`offset` of the next request, and `X-Incomplete` says whether lines may follow.
"""

from collections.abc import Mapping

from ....kernel.api.base.exchange import Exchange
from ....kernel.api.base.messages import Reply
from ....kernel.domain import limits
from ....kernel.domain.ids import TaskKey
from ...files.api.content import INCOMPLETE, LAST_LINE, begun
from ...files.store import file_store
from ..status import ENDED
from ..store.batch_files import BatchFileStore
from ..store.batches import Batch, BatchStore
from ..work.early_lines import read_lines


async def lines_reply(
    exchange: Exchange, owner: TaskKey, file: str, offset: int, limit: int | None, headers: Mapping[str, str]
) -> Reply | None:
    """Send as many lines of an output file as fit, but at least one; None of another file. Raises BlobUnavailable."""
    api = exchange.api
    batch = await api.store.beside(BatchStore).batch(owner)
    if batch is None or batch.output_file != file:
        return None
    most = limits.EARLY_BYTES_MOST[api.settings.plan]
    store = api.store.beside(BatchFileStore)
    found = await read_lines(file_store(api.invocation), store, batch, offset, limit, most)
    told = {
        **headers,
        "Content-Length": str(found.size),
        INCOMPLETE: "true" if _may_follow(batch) or not found.reaches_end else "false",
        LAST_LINE: str(found.behind),
    }
    if exchange.request.method == "HEAD" or not found.size:
        return Reply(200, headers=told)
    # The first lines are read before the answer begins, so that a bucket that does not answer refuses the request.
    return Reply(200, headers=told, content=begun(await anext(found.chunks), found.chunks))


def _may_follow(batch: Batch) -> bool:
    """Whether the batch may add lines to its output file."""
    return batch.status not in ENDED
