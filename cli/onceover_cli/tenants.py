"""Exports a tenant's tasks and list of files, or erases its tasks and files. Repeating either continues its work."""

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import BinaryIO, Final

from .backoff import Backoff
from .connection import ApiClient
from .errors import CommandError, ServerRefused, Unreachable
from .shapes import Json

PATIENCE_SECONDS: Final = 600.0
PAGE: Final = 100
_TASKS: Final = "/api/tasks"
_FILES: Final = "/v1/files"
_FILES_PAGE: Final = "1000"


@dataclass(slots=True)
class Tenant:
    """Sends requests for one tenant. A request is repeated while the server is away or limits the requests."""

    api: ApiClient
    say: Callable[[str], None]
    backoff: Backoff = field(default_factory=lambda: Backoff(PATIENCE_SECONDS))

    def ask(self, method: str, path: str, params: Json | None = None, body: Json | None = None) -> Json | None:
        """Send a request until it is answered. Returns None for an answer 404. Raises `CommandError`.

        If the answer to an erasure was lost or was 5xx, and the repeated request gets 404, the erasure counts as done,
        because the first request has probably erased the task.
        """
        may_be_done = False
        while True:
            try:
                answer = self.api.ask(method, path, params=params, body=body)
            except (ServerRefused, Unreachable) as error:
                if isinstance(error, ServerRefused) and error.status == 404:
                    return {} if may_be_done and method == "DELETE" else None
                may_be_done |= error.is_lost if isinstance(error, Unreachable) else error.status >= 500
                if isinstance(error, ServerRefused) and not error.may_pass:
                    raise
                if not self.backoff.is_away:
                    self.say(f"{error}; trying again …")
                self.backoff.wait(self.backoff.pause(error))
            else:
                self.backoff.succeed()
                return answer

    def page(self, **query: str | None) -> Json:
        """Read a page of the tenant's tasks, newest first."""
        given = {name: value for name, value in query.items() if value is not None}
        return self.ask("GET", _TASKS, {"limit": str(PAGE), **given}) or {"tasks": [], "nextCursor": None}

    def newer_than(self, task_id: str | None) -> int:
        """Count the tasks that are newer than one task, or all tasks with None, but at most one page of them."""
        return sum(task_id is None or one["id"] > task_id for one in self.page()["tasks"])


# --- Export ----------------------------------------------------------------------------------------------------


@dataclass(slots=True)
class Exported:
    """The counts of an export, and the place from which a repeated run continues it.

    `newest` is the tenant's newest task when the export began.
    """

    newest: str | None = None
    cursor: str | None = None
    tasks: int = 0
    gone: int = 0
    going_on: int = 0
    files: int = 0
    is_begun: bool = False
    is_whole: bool = False

    def count(self, line: Json) -> None:
        """Count a line of the export that was written to the file."""
        match line["kind"]:
            case "begin":
                self.is_begun, self.newest = True, line["newest"]
            case "task":
                self.tasks += 1
                self.going_on += not line["task"]["terminal"]
            case "gone":
                self.gone += 1
            case "file":
                self.files += 1
            case "page":
                self.cursor = line["nextCursor"]
            case "end":
                self.is_whole = True


def export(tenant: Tenant, name: str, so_far: Exported) -> Iterator[Json]:
    """Yield the lines of an export, from where `so_far` ends: each task with its texts, result, calls and deliveries.

    The task of a batch has the batch. After the tasks come the files, without their bytes. A line `page` says where a
    repeated export continues. The last line, `end`, counts tasks that were erased before they were read, that had not
    ended, and that were submitted during the export (at most a hundred are counted), and files.
    """
    page = tenant.page(cursor=so_far.cursor)
    if not so_far.is_begun:
        newest = page["tasks"][0]["id"] if page["tasks"] else None
        yield from _counted(so_far, {"kind": "begin", "tenant": name, "newest": newest})
    while True:
        for one in page["tasks"]:
            yield from _counted(so_far, _whole(tenant, one["id"]))
        if page["nextCursor"] is None:
            break
        yield from _counted(so_far, {"kind": "page", "nextCursor": page["nextCursor"]})
        page = tenant.page(cursor=page["nextCursor"])
    for file in (one for listed in _files(tenant) for one in listed["data"]):
        yield from _counted(so_far, {"kind": "file", "file": file})
    yield from _counted(
        so_far,
        {
            "kind": "end",
            "tasks": so_far.tasks,
            "gone": so_far.gone,
            "goingOn": so_far.going_on,
            "newer": tenant.newer_than(so_far.newest),
            "files": so_far.files,
        },
    )


def _counted(so_far: Exported, line: Json) -> Iterator[Json]:
    yield line
    so_far.count(line)  # a line of the export is counted only after it was written


def _whole(tenant: Tenant, task_id: str) -> Json:
    path = f"{_TASKS}/{task_id}"
    task = tenant.ask("GET", path, {"include": "chunks,input"})
    attempts = [] if task is None else _attempts(tenant, path)
    told = None if task is None else tenant.ask("GET", f"{path}/deliveries")
    if task is None or told is None:
        return {"kind": "gone", "id": task_id}
    line = {"kind": "task", "task": task, "attempts": attempts, "deliveries": told["deliveries"]}
    batch = {"batch": tenant.ask("GET", f"/v1/batches/{task['batch']}")} if task.get("batch") else {}
    return line | batch


def _attempts(tenant: Tenant, path: str) -> list[Json]:
    """Read the log of a task's calls. Returns an empty list if the task is gone, or if an older server has no log."""
    found: list[Json] = []
    query = {"limit": "100"}
    while (page := tenant.ask("GET", f"{path}/attempts", query)) is not None:
        found += page["attempts"]
        if page["nextCursor"] is None:
            break
        query["cursor"] = page["nextCursor"]
    return found


def resume(path: Path, name: str) -> tuple[BinaryIO, Exported]:
    """Open an export's file, cut it after its last whole page, and return its progress. Raises `CommandError`."""
    try:
        with path.open("a+b") as file:
            file.seek(0)
            so_far, kept = _read(file, path, name)
            file.truncate(kept)
        return path.open("ab"), so_far
    except OSError as error:
        raise CommandError(f"cannot write {path}: {error.strerror}") from None


def _read(file: BinaryIO, path: Path, name: str) -> tuple[Exported, int]:
    """Read an export's file up to the last line from which the export can continue.

    Also return where that line ends.
    """
    kept, end = Exported(), 0
    so_far, place = Exported(), 0
    for raw in file:
        place += len(raw)
        line = _line(raw)
        if line is None:
            break
        if not so_far.is_begun and (line["kind"], line.get("tenant")) != ("begin", name):
            break
        so_far.count(line)
        if line["kind"] in {"begin", "page", "end"}:
            kept, end = replace(so_far), place
    if place and not kept.is_begun:
        raise CommandError(f"{path} exists and is not an export of tenant {name}: name another file")
    return kept, end


def _line(raw: bytes) -> Json | None:
    """Read a line of an export's file, or return None if it was cut off or is not a line of an export."""
    if not raw.endswith(b"\n"):
        return None
    try:
        line = json.loads(raw)
    except ValueError:
        return None
    return line if isinstance(line, dict) and isinstance(line.get("kind"), str) else None


# --- Erasure ---------------------------------------------------------------------------------------------------


@dataclass(slots=True)
class Erased:
    """How many tasks an erasure of all of a tenant's tasks has cancelled, erased, found gone, and left as newer.

    `gone` counts tasks that another client had erased before. `newer` counts tasks that were submitted during the
    erasure and exist at its end, up to one page. `files` counts files that were erased, and `newer_files` those that
    exist at the end, up to one page: they were uploaded during the erasure, or a newer batch reads them.
    """

    cancelled: int = 0
    erased: int = 0
    gone: int = 0
    newer: int = 0
    files: int = 0
    newer_files: int = 0


def going_on(tenant: Tenant) -> int:
    """Count the tenant's unfinished tasks, up to the number that a dry run counts."""
    found = tenant.ask("POST", f"{_TASKS}/cancel", body={"dryRun": True})
    return 0 if found is None else int(found["tasks"])


def erase(tenant: Tenant, told: Callable[[Erased], None]) -> Erased:
    """Cancel and erase a tenant's present tasks, a hundred at a time, and then its files.

    A repeated erasure erases what is left. A file that a batch reads can be erased only after the batch's task.
    """
    done = Erased()
    _erase_tasks(tenant, done, told)
    _erase_files(tenant, done, told)
    return done


def _erase_tasks(tenant: Tenant, done: Erased, told: Callable[[Erased], None]) -> None:
    first = tenant.page()["tasks"]
    if not first:
        return
    # `before` is a time by the server's clock, from which on tasks are not erased. Tasks that are submitted later are
    # counted and not erased.
    latest = datetime.fromisoformat(first[0]["createdAt"]) + timedelta(milliseconds=1)
    before = latest.isoformat(timespec="milliseconds").replace("+00:00", "Z")
    while True:
        found = tenant.ask("POST", f"{_TASKS}/cancel", body={"createdBefore": before})
        done.cancelled += 0 if found is None else found["cancelled"]
        if found is None or not found["more"] or not found["cancelled"]:
            break
    cursor: str | None = None
    while True:
        page = tenant.page(createdBefore=before, cursor=cursor)
        for one in page["tasks"]:
            is_gone = tenant.ask("DELETE", f"{_TASKS}/{one['id']}") is None
            done.gone, done.erased = done.gone + is_gone, done.erased + (not is_gone)
        told(done)
        cursor = page["nextCursor"]
        if cursor is None:
            break
    # Comparing ids would not find all new tasks: an id is made before its task is stored, so a new task may have an
    # older id.
    done.newer = tenant.newer_than(None)


def _erase_files(tenant: Tenant, done: Erased, told: Callable[[Erased], None]) -> None:
    """Erase the files that a tenant has now, newest first. A server of an older version has no files."""
    for page in _files(tenant):
        for one in page["data"]:
            done.files += _erased_file(tenant, f"{_FILES}/{one['id']}")
        told(done)
    left = tenant.ask("GET", _FILES, {"limit": str(PAGE)})
    done.newer_files = 0 if left is None else len(left["data"])


def _files(tenant: Tenant) -> Iterator[Json]:
    """Read the pages of a tenant's files, newest first: none from a server that knows no files."""
    query: dict[str, str] = {"limit": _FILES_PAGE}
    while (page := tenant.ask("GET", _FILES, query)) is not None and page["data"]:
        yield page
        if not page["has_more"]:
            break
        query["after"] = page["data"][-1]["id"]


def _erased_file(tenant: Tenant, path: str) -> bool:
    """Erase a file. Returns False if the file was already gone, or if a newer batch reads the file."""
    try:
        return tenant.ask("DELETE", path) is not None
    except ServerRefused as error:
        if error.code != "file_in_use":
            raise
        return False
