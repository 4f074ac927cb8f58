"""Property test of the store of files: uploads, erasures and sweeps in any order, with lost answers and late writes."""

from collections.abc import Coroutine
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    invariant,
    rule,
    run_state_machine_as_test,
)

from src.features.files.file import File, FilePart, Purpose
from src.features.files.store import Deleted
from src.kernel.domain.errors import BlobUnavailable, StoreUnavailable
from src.kernel.domain.ids import FileKey
from src.kernel.domain.limits import FILE_ERASE_SECONDS, FILE_IN_USE_SECONDS, LATE_SECONDS_MOST, UPLOAD_SECONDS_MOST
from tests.support.file_bench import MOST, FileBench
from tests.support.memory_r2 import INTERNAL
from tests.support.same_loop import run_coroutine
from tests.support.sqlite_d1 import NETWORK_LOST
from tests.support.tiers import sized

RUNS, STEPS = sized(quick=(20, 40), test=(200, 40), campaign=(5_000, 80))
WHENS = st.sampled_from([*[""] * 7, "before", "after", "later", "later"])
RECENT = st.integers(0, 2)  # A step acts on one of the three newest files: 0 is the newest.
TENANTS = ("a", "b")
PARTS = 2
# No step takes longer than a late write may take, so each late write can land before it counts as lost.
SECONDS = st.sampled_from([0, 1, 60, FILE_ERASE_SECONDS, FILE_IN_USE_SECONDS, UPLOAD_SECONDS_MOST - 1])


class FileMachine(RuleBasedStateMachine):
    """A machine of hypothesis that uploads, deletes and sweeps files, lets batches read files, and lets time pass."""

    def __init__(self) -> None:
        super().__init__()
        self.bench = FileBench()
        self.keys: list[FileKey] = []
        self.bodies: dict[FileKey, list[bytes]] = {}  # The contents of the parts of each unfinished upload.
        self.deleted: set[FileKey] = set()
        self.readers: dict[FileKey, str] = {}
        self.batches = 0
        self.late_seconds = 0.0  # How old the oldest write that may still land is.

    def teardown(self) -> None:
        """Let every write land, sweep until nothing is due, and check that no remains are left."""
        self.bench.database.heal()
        self.bench.r2.heal()
        self.land()
        for task in self.readers.values():
            self.bench.end_batch(task)
        self.bench.pass_seconds(UPLOAD_SECONDS_MOST)
        for _ in range(4):
            self.bench.pass_seconds(FILE_IN_USE_SECONDS + FILE_ERASE_SECONDS)
            self.bench.sweep()
        self.bench.sweep_orphans()
        assert self.bench.misfits() == []
        assert self.bench.leftovers() == []
        self.bench.database.close()

    def attempt[T](self, database: str, bucket: str, work: Coroutine[Any, Any, T], times: int = 1) -> T | None:
        if database:
            self.bench.database.fail(NETWORK_LOST, database, times)  # type: ignore[arg-type]
        if bucket:
            self.bench.r2.fail(INTERNAL, bucket, 3)  # type: ignore[arg-type]
        try:
            with suppress(StoreUnavailable, BlobUnavailable):
                return run_coroutine(work)
            return None
        finally:
            self.bench.database.heal()
            self.bench.r2.heal()

    def pick(self, at: int) -> FileKey:
        """Return one of the newest files, or the key of a file whose upload never began."""
        return self.keys[-1 - at] if at < len(self.keys) else self.bench.key()

    @rule(tenant=st.sampled_from(TENANTS), when=WHENS, times=st.integers(1, 3))
    def begin(self, tenant: str, when: str, times: int) -> None:
        key = self.bench.key(tenant)
        self.attempt(when, "", self.bench.store.begin(key, self.bench.time_ms), times)
        if not when or times < 3:
            self.bodies[key] = []
        self.keys.append(key)

    @rule(tenant=st.sampled_from(TENANTS), parts=st.integers(1, PARTS), keeps=st.booleans(), when=WHENS)
    def upload(self, tenant: str, parts: int, keeps: bool, when: str) -> None:
        """Upload a whole file. The second send of the write of `begin` or of `ready` may land later."""
        self.begin(tenant, when, 1)
        for _ in range(parts):
            self.put(0, 100, "", False)
        self.ready(0, when, 1, False, keeps)

    @rule(at=RECENT, size=st.integers(0, 300), when=WHENS, repeated=st.booleans())
    def put(self, at: int, size: int, when: str, repeated: bool) -> None:
        """Store a part of an upload, once or twice. If the put fails, the upload is aborted."""
        file = self.pick(at)
        bodies = self.bodies.get(file)
        if bodies is None or len(bodies) == PARTS:
            return
        body = bytes([len(bodies)]) * size
        for _ in range(1 + repeated):
            if self.stored(file, str(len(bodies)), body, when):
                continue
            self.abort(at, "", "", 1)
            return
        bodies.append(body)

    def stored(self, file: FileKey, name: str, body: bytes, when: str) -> bool:
        async def work() -> bool:
            await self.bench.store.bucket.put(file, name, body)
            return True

        return bool(self.attempt("", when, work()))

    @rule(at=RECENT, when=WHENS, times=st.integers(1, 3), again=st.booleans(), keeps=st.booleans())
    def ready(self, at: int, when: str, times: int, again: bool, keeps: bool) -> None:
        file = self.pick(at)
        bodies = self.bodies.get(file)
        if bodies is None:
            return
        made = None
        for _ in range(1 + again):
            ready = self.bench.store.ready(
                file,
                purpose=Purpose.BATCH,
                filename="f",
                parts=[FilePart(str(at), len(body)) for at, body in enumerate(bodies)],
                keeps_ms=3_600_000 if keeps else None,
                use_most=MOST,
            )
            made = self.attempt(when, "", ready, times)
        del self.bodies[file]
        if not isinstance(made, File):
            self.attempt("", "", self.bench.store.abort(file))

    @rule(at=RECENT, when=WHENS, bucket=WHENS, times=st.integers(1, 3))
    def abort(self, at: int, when: str, bucket: str, times: int) -> None:
        file = self.pick(at)
        if self.bodies.pop(file, None) is not None:
            self.attempt(when, bucket, self.bench.store.abort(file), times)

    @rule(at=RECENT, when=WHENS, bucket=WHENS, times=st.integers(1, 3))
    def delete(self, at: int, when: str, bucket: str, times: int) -> None:
        """Delete a file, and note the key, because a deleted file must never come back."""
        file = self.pick(at)
        found = self.attempt(when, bucket, self.bench.store.delete(file), times)
        if found == Deleted():
            self.deleted.add(file)

    @rule(at=RECENT)
    def read(self, at: int) -> None:
        """If no batch reads the file, begin one; otherwise end the batch that reads the file."""
        file = self.pick(at)
        if file in self.readers:
            self.bench.end_batch(self.readers.pop(file))
        elif run_coroutine(self.bench.store.file(file)) is not None:
            self.batches += 1
            task = self.readers[file] = f"a:{self.batches}"
            self.bench.read_by_batch(file, task)

    @rule(when=WHENS, bucket=WHENS, times=st.integers(1, 3), passing=st.integers(0, 2))
    def sweep(self, when: str, bucket: str, times: int, passing: int) -> None:
        """Run a sweep in which the first, second or third call to D1 fails."""
        if when:
            self.bench.database.fail(NETWORK_LOST, when, times, passing=passing)  # type: ignore[arg-type]
        self.attempt("", bucket, self.bench.store.erase_due(3))

    @rule(when=WHENS, bucket=WHENS, times=st.integers(1, 3), passing=st.integers(0, 2))
    def sweep_orphans(self, when: str, bucket: str, times: int, passing: int) -> None:
        if when:
            self.bench.database.fail(NETWORK_LOST, when, times, passing=passing)  # type: ignore[arg-type]
        self.attempt("", bucket, self.bench.store.erase_orphans(3))

    @rule(seconds=SECONDS, days=st.integers(0, 9))
    def wait(self, seconds: int, days: int) -> None:
        """Let time pass, rarely more than a day.

        Writes that would be too old to land after this time land before it.
        """
        if days == 9:
            seconds = 90_000
        self.late_seconds += seconds
        if self.late_seconds >= LATE_SECONDS_MOST:
            self.land()
        self.bench.pass_seconds(seconds)

    @rule(most=st.integers(1, 3))
    def land_some(self, most: int) -> None:
        run_coroutine(self.bench.database.land(min(most, self.bench.database.late)))

    @rule()
    def land(self) -> None:
        run_coroutine(self.bench.database.land())
        self.bench.r2.land()
        self.late_seconds = 0.0

    @invariant()
    def visible_files_are_whole(self) -> None:
        assert self.bench.misfits() == []
        visible = {row["id"] for row in self.bench.rows() if row["state"] == "ready"}
        assert not visible & self.deleted
        assert set(self.readers) <= visible


def test_no_order_of_effects_breaks_a_file(monkeypatch: pytest.MonkeyPatch) -> None:
    """Uploads, erasures and sweeps in any order leave visible files complete, and no remains of other files."""
    monkeypatch.setattr("src.kernel.domain.limits.STORE_RESEND_SECONDS", 0.0)
    monkeypatch.setattr("src.kernel.domain.limits.BLOB_RESEND_SECONDS", 0.0)
    run_state_machine_as_test(
        FileMachine,
        settings=settings(
            max_examples=RUNS, stateful_step_count=STEPS, deadline=None, suppress_health_check=list(HealthCheck)
        ),
    )
