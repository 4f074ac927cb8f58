"""Retries and plans of tasks whose text is in a file."""

from ...kernel.api.base.exchange import Exchange
from ...kernel.api.base.messages import Reply
from ...kernel.api.base.problems import NOT_RETRYABLE, Refusal
from ...kernel.api.base.services import Api
from ...kernel.domain.task import Task
from ...kernel.feature import KindApi
from ...kernel.work.submission import Planned, TaskRequest
from ..files.store import file_store

_NO_TEXT = "The file with the text of the task is gone. Upload the text again, and submit a new task."


class TextsApi(KindApi):
    """Refuses a retry without the file, and plans a text that is read from its file."""

    async def plan(self, request: TaskRequest, api: Api, repeated: str) -> Planned | None:
        """Plan a task whose text is in a file."""
        if request.input_file is None:
            return None
        from .plans import plan_file  # noqa: PLC0415 - only texts in files need it

        return await plan_file(request.input_file, request, api, repeated)

    async def retry(
        self, exchange: Exchange, task: Task, _max_calls: int | None, _max_cost: int | None
    ) -> Reply | None:
        """Refuse (409) to retry a task whose text was in a file that is gone."""
        if task.text_file is not None and await file_store(exchange.api.invocation).file(task.text_file) is None:
            raise Refusal(NOT_RETRYABLE, _NO_TEXT)
        return None
