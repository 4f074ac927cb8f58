"""Clients whose tasks have their texts in files: each uploads its text, and names the file as `inputFile`."""

import json
from codecs import BOM_UTF8
from dataclasses import replace
from random import Random
from typing import Any, Final

from simulator.campaign.clients import tenants
from simulator.campaign.clients.batches.readers import Fetch
from simulator.campaign.clients.batches.uploads import form, upload
from simulator.campaign.clients.workload import CHUNK_CHARS, TaskSpec, Workload
from simulator.campaign.subject.arrivals import ClientRequest
from simulator.campaign.subject.row_changes import InvariantBroken
from src.kernel.api.base.messages import Reply
from src.kernel.domain.ids import TaskKey
from src.kernel.text.chunks import cuts

FILED_SHARE: Final = 0.5
_NO_UTF8: Final = b"\xff"


class FileTextClients:
    """The clients of texts in files of one world, and how many chunks each text has."""

    def __init__(self, fetch: Fetch) -> None:
        self._fetch = fetch
        self._chunks: dict[TaskKey, int] = {}

    async def upload(self, spec: TaskSpec) -> str | None:
        """Upload the text of a task. Returns the file's id, None if the upload is refused."""
        text = text_of(spec).encode()
        text = text + _NO_UTF8 if spec.text_in_file == "broken" else text
        text = BOM_UTF8 + text if spec.text_in_file == "marked" else text
        return await upload(self._fetch, tenants.headers(spec.tenant), form(text, "user_data"))

    async def delete(self, spec: TaskSpec, file_id: str) -> None:
        """Delete the file of a task, which is refused as long as the task has not ended."""
        path = f"/v1/files/{file_id}"
        await self._fetch(ClientRequest("DELETE", path, headers=tenants.headers(spec.tenant)))

    def accepted(self, task_key: TaskKey, spec: TaskSpec) -> None:
        """Note the task of a text, to compare what clients are told of it."""
        self._chunks[task_key] = len(cuts(text_of(spec), CHUNK_CHARS, spec.overlap))

    def told(self, task_key: TaskKey, reply: Reply | None) -> None:
        """Check that the answer to a poll says how many chunks there are, or null before the text is cut."""
        if task_key not in self._chunks or reply is None or reply.status != 200:
            return
        task = json.loads(reply.body)
        if "progress" not in task:  # the list of a task's chunks
            return
        total = task["progress"]["total"]
        if total not in {None, self._chunks[task_key]} or (total is None and task["status"] == "completed"):
            raise InvariantBroken(f"{task_key}: {total} of {self._chunks[task_key]} chunks are shown: {task}")


def text_of(spec: TaskSpec) -> str:
    """Return the text of a task in a file, with code points of one to three bytes."""
    return str(spec.body("")["input"]).replace("abc", "äb€")


def body_with(given: dict[str, Any], file_id: str | None) -> dict[str, Any]:
    """Return the body of a submission, which names a file in place of the text if there is one."""
    if file_id is None:
        return given
    return {name: value for name, value in given.items() if name != "input"} | {"inputFile": file_id}


def filed(workload: Workload, rng: Random) -> Workload:
    """In a share FILED_SHARE of the runs with a bucket, let some tasks have their texts in files, or add such a task.

    The release before knows no texts in files: it refuses them, and would not be worth a run. So these runs have no
    isolates of that release.
    """
    if not workload.bucket or rng.random() >= FILED_SHARE:
        return workload
    tasks = [_filed(spec, rng) if _is_plain(spec) else spec for spec in workload.tasks]
    if not any(spec.text_in_file for spec in tasks):
        tenant = rng.choice([batch.tenant for batch in workload.batches])
        tasks.append(_filed(TaskSpec(rng.uniform(0, 10), 1, tenant=tenant), rng))
    return replace(workload, tasks=tuple(tasks), older_isolates=0.0)


def _is_plain(spec: TaskSpec) -> bool:
    return not spec.response and not spec.form and spec.gap_share is None


def _filed(spec: TaskSpec, rng: Random) -> TaskSpec:
    return replace(
        spec,
        chunks=rng.choice((1, 3, 8, 14, 20)),
        text_in_file="broken" if rng.random() < 0.08 else rng.choice(("whole", "marked")),
        drops_file=rng.random() < 0.3,
    )
