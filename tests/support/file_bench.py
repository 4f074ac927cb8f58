"""A bench with a store of files over SQLite, with a bucket in memory or in D1, and with a clock that a test moves."""

import json
from collections.abc import Coroutine
from typing import Any, NamedTuple

from src.features.files.blobs.r2 import R2Bucket
from src.features.files.file import File, FilePart, Purpose
from src.features.files.store import FilesFull, FileStore
from src.kernel.domain.ids import FileKey, new_task_id
from src.kernel.domain.limits import ORPHAN_SECONDS, ORPHANS_APART_SECONDS
from src.kernel.domain.meter import Meter
from src.kernel.store.d1 import Database
from tests.support.memory_r2 import MemoryR2
from tests.support.sqlite_d1 import SqliteD1, run_coroutine

START_MS = 1_800_000_000_000
TENANT = "local"
MOST = 1_000  # How many bytes all files of a tenant may have together.


class Misfit(NamedTuple):
    """A fault in what the store contains: the kind of the fault, and the file or tenant that has it."""

    what: str
    name: str


class FileBench:
    """One database with its store of files. Time passes only when a test calls `pass_seconds`."""

    def __init__(self, *, r2: bool = True) -> None:
        self.time_ms = START_MS
        self.database = SqliteD1(now_ms=lambda: self.time_ms)
        self.r2 = MemoryR2(lambda: self.time_ms)
        self.meter = Meter()
        self.has_r2 = r2
        self.store = FileStore(Database(self.database, self.meter), self.bucket() if r2 else None)
        self._made = 0

    def bucket(self, seconds: float = 30.0) -> R2Bucket:
        return R2Bucket(self.r2, self.meter, seconds=seconds)

    def pass_seconds(self, seconds: float) -> None:
        self.time_ms += round(seconds * 1000)

    def run[T](self, coroutine: Coroutine[Any, Any, T]) -> T:
        return run_coroutine(coroutine)

    def key(self, tenant: str = TENANT) -> FileKey:
        self._made += 1
        return FileKey(f"{tenant}:{new_task_id(self.time_ms, self._made.to_bytes(10))}")

    def upload(
        self,
        *bodies: bytes,
        key: FileKey | None = None,
        purpose: Purpose = Purpose.BATCH,
        keeps_ms: int | None = None,
        use_most: int = MOST,
    ) -> File:
        key = key or self.key()
        self.run(self.store.begin(key, self.time_ms))
        for at, body in enumerate(bodies):
            self.run(self.store.bucket.put(key, str(at), body))
        ready = self.ready(key, *bodies, purpose=purpose, keeps_ms=keeps_ms, use_most=use_most)
        assert isinstance(ready, File), ready
        return ready

    def ready(
        self,
        key: FileKey,
        *bodies: bytes,
        purpose: Purpose = Purpose.BATCH,
        keeps_ms: int | None = None,
        use_most: int = MOST,
    ) -> File | FilesFull | None:
        parts = [FilePart(str(at), len(body)) for at, body in enumerate(bodies)]
        made = self.store.ready(
            key, purpose=purpose, filename="name.jsonl", parts=parts, keeps_ms=keeps_ms, use_most=use_most
        )
        return self.run(made)

    def use(self, tenant: str = TENANT) -> int:
        found = self.database.rows("SELECT bytes FROM file_use WHERE tenant = ?", tenant)
        return int(found[0]["bytes"]) if found else 0

    def rows(self) -> list[dict[str, Any]]:
        return self.database.rows("SELECT * FROM files ORDER BY id")

    def stored(self) -> dict[tuple[str, str], int]:
        in_d1 = self.database.rows("SELECT file_id, name, length(body) AS size FROM file_parts")
        found = {(one["file_id"], one["name"]): int(one["size"]) for one in in_d1}
        for key, stored in self.r2.objects.items():
            tenant, name, part = key.split("/")
            digits = name.removeprefix("file-")
            uuid = "-".join((digits[:8], digits[8:12], digits[12:16], digits[16:20], digits[20:]))
            found[f"{tenant}:{uuid}", part] = len(stored.body)
        return found

    def read_by_batch(self, file: FileKey, task: str = "local:batch") -> None:
        self.database.rows(
            "INSERT INTO tasks (id, status, route, reduce, metadata, total, merge_chars, calls_minimum, "
            "created_at, wake_at)"
            " VALUES (?, 'pending', 'direct', 'none', '{}', 0, 1, 0, 0, 0) ON CONFLICT DO NOTHING",
            task,
        )
        self.database.rows(
            "INSERT INTO batches (task_id, endpoint, window_ms, input_file, output_file, error_file)"
            " VALUES (?, '/v1/responses', 1, ?, 'local:o', 'local:e')",
            *(task, file),
        )

    def end_batch(self, task: str = "local:batch") -> None:
        self.database.rows("UPDATE batches SET ended_at = 1 WHERE task_id = ?", task)

    def sweep(self, most: int = 100) -> int:
        return self.run(self.store.erase(self.run(self.store.work(most))))

    def sweep_orphans(self) -> int:
        self.pass_seconds(ORPHAN_SECONDS + 1)
        erased = 0
        for _ in range(4):
            self.pass_seconds(ORPHANS_APART_SECONDS + 1)
            erased += self.run(self.store.erase_orphans(1_000))
        return erased

    def misfits(self) -> list[Misfit]:
        """Return what is wrong: a visible file that names a missing part, or a tenant whose counted bytes are wrong."""
        stored, found, use = self.stored(), [], dict[str, int]()
        for row in self.rows():
            named = json.loads(row["parts"])
            if row["state"] in {"ready", "growing"}:
                use[row["tenant"]] = use.get(row["tenant"], 0) + row["bytes"]
                found += [
                    Misfit("missing part", row["id"]) for name, size in named if stored.get((row["id"], name)) != size
                ]
                if sum(size for _, size in named) != row["bytes"]:
                    found.append(Misfit("wrong size", row["id"]))
        counted = {one["tenant"]: one["bytes"] for one in self.database.rows("SELECT * FROM file_use WHERE bytes <> 0")}
        use = {tenant: size for tenant, size in use.items() if size}
        found += [Misfit("wrong use", tenant) for tenant in {*use, *counted} if use.get(tenant) != counted.get(tenant)]
        return found

    def leftovers(self) -> list[Misfit]:
        rows = self.rows()
        named = {(row["id"], part[0]) for row in rows for part in json.loads(row["parts"])}
        return [Misfit(row["state"], row["id"]) for row in rows if row["state"] in {"writing", "erasing"}] + [
            Misfit("orphan", f"{key} {name}") for key, name in self.stored() if (key, name) not in named
        ]
