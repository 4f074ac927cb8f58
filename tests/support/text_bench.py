"""A bench for tasks whose text is in a file: the bench of batches, with a model that answers chunks of a text."""

from typing import Any

import pytest

from src.features.files.file import Purpose
from src.features.texts import file_cuts
from src.features.texts.store import FileTextStore
from src.kernel.calls.protocol import ModelCall, ModelReply
from src.kernel.domain.ids import FileKey, TaskKey
from src.kernel.domain.task import Failure, NewTask, Reduce, Route, Task, TaskOptions
from src.kernel.run.context import Released
from src.kernel.store.admission import UNCONDITIONAL, Conditions
from src.kernel.store.claims import Unclaimed
from src.kernel.text import chunks
from src.kernel.work.worker import Host
from tests.support.batch_bench import HOST, BatchBench, LineModel
from tests.support.store_bench import START_MS

TEXT_TASK = TaskKey("local:01900000-0000-7000-8000-000000000002")
TEXT_FILE = FileKey("local:01900000-0000-7000-8000-0000000000b1")


def look_near(patch: pytest.MonkeyPatch, mark_chars: int = 12) -> int:
    look = 2 * mark_chars + 48
    patch.setattr(chunks, "MARK_CHARS_MOST", mark_chars)
    patch.setattr(chunks, "LOOK_CHARS", look)
    patch.setattr(file_cuts, "LOOK_CHARS", look)
    patch.setattr(file_cuts, "_LOOK_BYTES", file_cuts.CODE_POINT_BYTES * look)
    return look


class ChunkModel(LineModel):
    """A model that answers each chunk with the text in brackets. `act` may return an error, or another text."""

    def text_of(self, call: ModelCall) -> str:
        return call.user

    def reply(self, text: str) -> ModelReply:
        return ModelReply(text, 10, 5, "stop")


class TextBench(BatchBench):
    """One database, one bucket and one model, with one task over the text of a file."""

    def __init__(self, *, part_bytes: int = 2_000, **settings: Any) -> None:
        super().__init__(part_bytes=part_bytes, **settings)
        self.model = ChunkModel(self.points)

    @property
    def texts(self) -> FileTextStore:
        return self.store().beside(FileTextStore)

    def submit_text(
        self,
        *,
        chunk_chars: int = 50,
        overlap: int = 0,
        on: Conditions = UNCONDITIONAL,
        key: TaskKey = TEXT_TASK,
        file: FileKey = TEXT_FILE,
        file_bytes: int = 10,
        instructions: str = "",
        **options: Any,
    ) -> Any:
        new = NewTask(
            task_key=key,
            route=Route.QUEUE,
            text="",
            instructions=instructions,
            cuts=(),
            overlap=overlap,
            merge_chars=4_000,
            created_at=START_MS,
            options=TaskOptions(**{"reduce": Reduce.NONE, "chunk_chars": chunk_chars, **options}),
            text_file=file,
            file_bytes=file_bytes,
        )
        return self.do(self.texts.submit(new, self.settings.lease_ms, on))

    def begin_text(self, content: bytes, **options: Any) -> None:
        self.upload(content, TEXT_FILE, Purpose.USER_DATA)
        self.submit_text(file_bytes=len(content), **options)

    def task(self) -> Task:
        found = self.do(self.store().task(TEXT_TASK))
        assert found is not None
        return found

    @property
    def failure(self) -> Failure:
        found = self.task().failure
        assert found is not None
        return found

    def work(self, host: Host = HOST) -> Any:
        return self.do(self.worker().run(TEXT_TASK, host))

    def work_to_end(self, most: int = 50, host: Host = HOST) -> Task:
        for _ in range(most):
            outcome = self.work(host)
            if isinstance(outcome, Released):
                self.pass_seconds(outcome.delay_seconds)
            elif isinstance(outcome, Unclaimed) and not self.task().status.terminal:
                self.pass_seconds(outcome.left_ms / 1000 + 0.001)
            else:
                break
        task = self.task()
        assert task.status.terminal, task
        return task
