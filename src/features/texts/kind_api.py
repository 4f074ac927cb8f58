"""Retries and plans of tasks whose text is in a file."""

from ...core.task import Task
from ...http.base.exchange import Exchange
from ...http.base.messages import Reply
from ...http.base.problems import NOT_RETRYABLE, Refusal
from ...http.base.services import Api
from ...kernel.feature import KindApi
from ...processing.files import file_store
from ...processing.task_request import Planned, TaskRequest

_NO_TEXT = "The file with the text of the task is gone. Upload the text again, and submit a new task."


class TextsApi(KindApi):
    """Refuses a retry without the file, and plans a text that is read from its file."""

    async def plan(self, request: TaskRequest, api: Api, repeated: str) -> Planned | None:
        """Plan a task whose text is in a file."""
        if request.input_file is None:
            return None
        from ...http.tasks.file_plans import plan_file  # noqa: PLC0415 - only texts in files need it

        return await plan_file(request, api, repeated)

    async def retry(self, exchange: Exchange, task: Task, _max_calls: int | None) -> Reply | None:
        """Refuse (409) to retry a task whose text was in a file that is gone."""
        if task.text_file is not None and await file_store(exchange.api.invocation).file(task.text_file) is None:
            raise Refusal(NOT_RETRYABLE, _NO_TEXT)
        return None
