"""The entries of the API's table for the calls about batches."""

from typing import Final

from ....kernel.api.base import problems
from ....kernel.api.base.endpoint import IDEMPOTENCY_KEY, Answer, Endpoint, Parameter
from ....kernel.api.base.exchange import Reach
from ....kernel.api.base.fields import LIMIT
from ....kernel.api.tasks.submission import JOINING
from ....kernel.domain import limits
from ....kernel.domain.ids import BATCH_ID_PATTERN
from ....kernel.domain.keys import Scope
from . import handlers
from .fields import NewBatchFields
from .shapes import BatchListView, BatchView

_ID = {"type": "string", "pattern": f"^{BATCH_ID_PATTERN}$"}
_OF_BATCH = (("readBatch", "id", "/id"), ("cancelBatch", "id", "/id"))
_LATER = ("Retry-After", "openai-poll-after-ms")

ENDPOINTS: Final = (
    Endpoint(
        method="POST",
        path="/v1/batches",
        summary="Start a batch over an uploaded file; once this answers, the batch is durable in the database",
        handler=handlers.create_batch,
        access=Scope.WRITE,
        reach=Reach.ONE,
        body=NewBatchFields,
        is_shed=True,
        parameters=(IDEMPOTENCY_KEY, *JOINING),
        answers=(Answer(200, "Accepted", (BatchView,), (*_LATER, "Idempotency-Replayed"), _OF_BATCH),),
        problems=(problems.UNSUPPORTED_PARAMETER,),
    ),
    Endpoint(
        method="GET",
        path="/v1/batches",
        summary="List the tenant's batches, newest first; with `tenant=*` one tenant after the other",
        handler=handlers.list_batches,
        access=Scope.READ,
        reach=Reach.EACH,
        parameters=(
            Parameter("after", "The id of the last batch of the previous page.", _ID),
            Parameter("limit", "How many batches at most.", LIMIT),
        ),
        answers=(Answer(200, "The batches", (BatchListView,)),),
    ),
    Endpoint(
        method="GET",
        path="/v1/batches/{id}",
        summary="Read a batch: its status, its counts and its files",
        handler=handlers.read_batch,
        access=Scope.READ,
        reach=Reach.ONE,
        answers=(Answer(200, "The batch", (BatchView,), _LATER, _OF_BATCH),),
        id_schema=_ID,
    ),
    Endpoint(
        method="POST",
        path="/v1/batches/{id}/cancel",
        summary="Cancel a batch: no model call starts afterwards, and the answers that it has are kept",
        handler=handlers.cancel_batch,
        seconds_most=limits.CANCEL_ANSWER_SECONDS,
        access=Scope.WRITE,
        reach=Reach.ONE,
        answers=(Answer(200, "The batch", (BatchView,), _LATER, _OF_BATCH),),
        problems=(problems.ALREADY_TERMINAL,),
        id_schema=_ID,
    ),
)
