"""Ablations of files and batches: one move of each line, objects before rows, and nothing erased that is named."""

import asyncio
from collections.abc import Callable
from random import Random
from types import ModuleType
from typing import Any, Final

from simulator.campaign.ablations import substitutes as without
from simulator.campaign.ablations.definition import Ablation
from simulator.campaign.clients.batches.batch_spec import BatchSpec
from simulator.campaign.clients.shares import hooked
from simulator.campaign.clients.workload import DEPLOYMENTS, SLOW_VARIABLES, Workload
from simulator.campaign.subject import small_batches
from simulator.campaign.subject.patches import Patch
from simulator.platform.choices import FREE
from simulator.platform.isolate import Isolate
from src.features.batches.store import batch_files
from src.features.batches.work import growth
from src.features.batches.work.early_lines import _Reader
from src.features.batches.work.growth import PartWriter
from src.features.files.erasure import FileErasure
from src.features.files.file import FilePart
from src.features.files.sql import IN_USE
from src.features.files.store import file_store
from src.kernel.run.memory import MemoryAllowance, MemoryShare
from src.kernel.store.d1 import Statement, statement
from src.kernel.work.sweep.duty import SweepAllowance

LOST: Final = {"d1_failed_after_commit": 0.2}
_freeze = Isolate.freeze
_OF_LINES = "SELECT 1 FROM segments WHERE task_id = :task_key AND level = 0 AND part"
_NAMED_AGAIN = {
    f" AND EXISTS ({_OF_LINES} = :last AND object IS NULL)": "",
    f" AND NOT EXISTS ({_OF_LINES} BETWEEN :first AND :last AND object IS NOT NULL)": "",
    "part = :last AND object IS NULL": "part = :last",
}
# The sweep shuts the same workers out when it puts their calls in doubt, if it comes before the writer.
_SWEPT_LATE = without.swapped("SILENT", "announced_at + :claim_ms", "announced_at + :claim_ms + 60000")
_BY_ANY_WRITER = {
    batch_files.BY_WRITER: ":writer_fence = :writer_fence AND :writer = :writer",
    "written_places = :from_place": ":from_place = :from_place",
}


def _batches(*lines: int, kept: int = 0, **options: Any) -> Callable[[Random], Workload]:
    """Draw two batches of so many lines each, with a bucket. With `kept`, the run lasts for this many seconds."""

    def draw(rng: Random) -> Workload:
        first = rng.choice(DEPLOYMENTS)
        actions = ((float(kept), "poll"),) if kept else ()
        specs = tuple(
            BatchSpec(rng.uniform(0, 5), rng.choice(lines), **{"readers": 1, "actions": actions} | options)
            for _ in range(2)
        )
        return Workload(tasks=(), first=first, last=first, batches=specs, bucket=True, short_slices=False)

    return draw


def _cancelling(rng: Random) -> Workload:
    """Draw batches that their clients cancel while calls are out."""
    first = rng.choice(DEPLOYMENTS)
    specs = tuple(BatchSpec(0, 30, readers=0, actions=((rng.uniform(1, 8), "cancel"),)) for _ in range(3))
    return Workload(tasks=(), first=first, last=first, batches=specs, bucket=True, short_slices=False)


def _cancelled_on_objects(rng: Random) -> Workload:
    """Draw batches without lanes on objects, which their clients cancel while calls are out."""
    cancels = [(rng.uniform(1, 5), "cancel") for _ in range(4)]
    specs = tuple(BatchSpec(0, 8, readers=0, actions=(cancel, (200.0, "poll"))) for cancel in cancels)
    return Workload(tasks=(), first=FREE, last=FREE, batches=specs, bucket=True, short_slices=False)


def _cancelling_slow(rng: Random) -> Workload:
    """Draw batches that their clients cancel while the first call is out, which takes a minute."""
    first = rng.choice(DEPLOYMENTS)
    specs = tuple(BatchSpec(0, 5, mark="z", readers=0, actions=((rng.uniform(3, 12), "cancel"),)) for _ in range(3))
    return Workload(
        tasks=(),
        first=first,
        last=first,
        batches=specs,
        bucket=True,
        short_slices=False,
        variables=SLOW_VARIABLES,
    )


def _deleting(rng: Random) -> Workload:
    """Draw batches whose clients delete the input file while it is read."""
    first = rng.choice(DEPLOYMENTS)
    specs = tuple(BatchSpec(0, 20, readers=0, actions=((rng.uniform(0, 8), "delete_input"),)) for _ in range(3))
    return Workload(tasks=(), first=first, last=first, batches=specs, bucket=True)


def _swapped(user: ModuleType, name: str, parts: dict[str, str]) -> Patch:
    """Return a patch that replaces parts of the statements of a group; fails if a part is in none of them.

    `user` is the module that looks the group up when it writes.
    """
    known: tuple[Statement, ...] = getattr(user, name)
    for old in parts:
        assert any(old in one.text for one in known), f"{name} has no {old!r} any more"
    texts = [one.text for one in known]
    for old, new in parts.items():
        texts = [text.replace(old, new) for text in texts]
    return user, name, tuple(map(statement, texts))


def _freeze_objects(self: Isolate, _seconds: float) -> None:
    """Let an isolate of an object stand still for longer than a claim lasts, and no other isolate."""
    if self.name.startswith("AIProcessor/"):
        _freeze(self, 100)


async def _put_later(self: Any) -> None:
    """Store a part in the background, so that its row names it first."""
    part = FilePart(f"{self._name}-{len(self.added)}", len(self._buffer))
    body = bytes(self._buffer.content)
    self._buffer.clear()
    self.added.append(part)
    bucket, file = self._bucket, self._file

    async def put() -> None:
        await asyncio.sleep(1)
        await bucket.put(file, part.name, body)

    self.late = [asyncio.ensure_future(put())]


async def _search_nothing(self: Any, allowance: SweepAllowance) -> bool:
    """Erase files, and search no orphans."""
    if self._is_wanted:
        files = file_store(self._invocation)
        await files.erase(await files.work(self._most(allowance)))
    return False


async def _read_what_is_left(self: Any, number: int, line: int, most: int) -> tuple[int, bytes]:
    """Read lines of a segment, and give lines of the next one if it has become an object since the plan."""
    part, behind = self._segments[number].part, self._segments[-1].part + 1
    found = await self._store.bodies(self._batch.task.task_key, range(part, behind))
    if not found:
        return 0, b""
    texts = found[0][line : line + min(most, len(self._segments[number].sizes) - line)]
    return len(texts), "".join(f"{text}\n" for text in texts).encode("ascii")


def _limited(**changes: Any) -> tuple[Patch, ...]:
    """Return the patch that gives runs with batches other small limits."""
    return ((small_batches, "LIMITS", small_batches.LIMITS | changes),)


def _crowding(rng: Random) -> Workload:
    """Draw many batches whose files are uploaded at the same time."""
    first = rng.choice(DEPLOYMENTS)
    specs = tuple(BatchSpec(0, 12, readers=0) for _ in range(20))
    return Workload(tasks=(), first=first, last=first, batches=specs, bucket=True, short_slices=False)


def _all_is_lent(self: MemoryAllowance, share: MemoryShare, size: int) -> bool:
    """Lend any amount of memory."""
    return True


ABLATIONS = (
    Ablation(
        "memory_is_lent",
        "the requests and runs of an isolate together hold no more memory than it has",
        ((MemoryAllowance, "allows", _all_is_lent),),
        {},
        _crowding,
    ),
    Ablation(
        "object_named_once",
        "the write that names an object of lines names it once, also if it is sent again or lands late",
        (_swapped(growth, "GROW", _NAMED_AGAIN),),
        LOST,
        _batches(30, 45),
    ),
    Ablation(
        "lines_leave_with_the_move",
        "lines leave their segments in the write that names their object",
        ((growth, "GROW", (*batch_files.GROW[:2], batch_files.GROW[3])),),
        {},
        _batches(30, 45),
    ),
    Ablation(
        "use_counts_each_part",
        "the bytes of a part are counted in the write that names it",
        ((growth, "GROW", batch_files.GROW[1:]),),
        {},
        _batches(30, 45),
    ),
    Ablation(
        "object_before_row",
        "an object is stored before a row names it",
        ((PartWriter, "_put", _put_later),),
        {},
        _batches(30, 45),
    ),
    Ablation(
        "reader_plans_again",
        "a reader whose next lines have become an object plans again",
        ((_Reader, "_in_segments", _read_what_is_left),),
        {"d1_slow": 0.2},
        _batches(45, readers=4),
    ),
    Ablation(
        "error_part_named_once",
        "a part of the error file is named by the writer that has the batch, and once",
        (
            _swapped(batch_files, "ADD_ERRORS", _BY_ANY_WRITER),
            without.swapped_parts("WRITTEN", _BY_ANY_WRITER),
        ),
        LOST,
        _cancelling,
    ),
    Ablation(
        "late_workers_are_shut_out",
        "no late write of a worker adds a line once the files are written",
        (without.swapped("SHUT_OUT", "fence = fence + 1", "fence = fence"),),
        {"worker_frozen": 0.05},
        _cancelled_on_objects,
        ((Isolate, "freeze", _freeze_objects), _SWEPT_LATE),
    ),
    Ablation(
        "writer_waits_for_calls",
        "the files are completed once no call is out, or could record an answer",
        (
            without.swapped("TAKE_BATCH", "(in_flight = '[]' OR", "(:claim_ms OR"),
            without.swapped("SHUT_OUT", "(in_flight = '[]' OR", "(:claim_ms OR"),
        ),
        {},
        _cancelling_slow,
    ),
    Ablation(
        "refusals_leave",
        "the refusals of a batch leave the database with the lines of the error file",
        (without.swapped("DROP_REFUSALS", "SET refusal = NULL", "SET refusal = refusal"),),
        {"call_refused": 0.2},
        _batches(20),
    ),
    Ablation(
        "orphans_have_no_row",
        "the search for orphans erases no part that a row names",
        (without.swapped("UNNAMED", "WHERE NOT EXISTS", "WHERE 1 OR NOT EXISTS"),),
        {},
        _batches(5, 20, kept=300),
        _limited(ORPHAN_SECONDS=120, ORPHANS_APART_SECONDS=30),
    ),
    Ablation(
        "orphans_are_old",
        "a part is no orphan before its row has had the time to be written",
        _limited(ORPHAN_SECONDS=0, ORPHANS_APART_SECONDS=1),
        {"r2_hangs": 0.05, "d1_slow": 0.2},
        _batches(45, kept=200),
    ),
    Ablation(
        "orphans_are_searched",
        "a part that lands after its file was erased is found and erased",
        ((FileErasure, "advance", _search_nothing),),
        {"r2_lands_twice": 0.3, "user_raced": 0.2},
        _batches(20, 45),
    ),
    Ablation(
        "input_in_use",
        "the input file of a batch that goes on is not deleted",
        (
            without.swapped("GIVE_BACK", f"AND NOT {IN_USE}", ""),
            without.swapped("DELETE_FILE", f"AND NOT {IN_USE}", ""),
        ),
        {},
        _deleting,
    ),
    Ablation(
        "erased_uploads_stay_away",
        "the first write of an upload makes no row once the file was erased",
        (
            without.swapped(
                "BEGIN_UPLOAD", "NOT EXISTS (SELECT 1 FROM tombstones WHERE id = :grave)", ":grave = :grave"
            ),
        ),
        {"d1_lands_later": 0.2, "r2_failed_before": 0.3},
        _batches(20),
    ),
    Ablation(
        "told_of_complete_files",
        "a webhook tells of a batch when its files are complete",
        (without.swapped("OUTBOX", "(kind IS NOT 'batch' OR EXISTS", "(1 OR EXISTS"),),
        {},
        lambda rng: hooked(_batches(20, 30)(rng)),
    ),
)
