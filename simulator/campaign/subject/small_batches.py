"""Small limits for files and batches: a batch of twenty lines has several slices, segments and objects."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Final

from simulator.campaign.subject.patches import Patch
from src.features.batches.api import handlers
from src.features.batches.api.fields import NewBatchFields, new_request
from src.features.batches.work.submission import BatchRequest
from src.features.files import store as files
from src.features.files.blobs.d1 import D1Bucket
from src.features.files.blobs.r2 import R2Bucket
from src.features.files.file import File
from src.features.texts import file_cuts
from src.kernel.domain import limits
from src.kernel.text import chunks

HURRY: Final = 120  # By how much the times of batches are shorter: an hour is half a minute.
_PART_BYTES = 1_500
# The buffers of an isolate may have so many bytes: the allowance, and the part of a lone run or request beside it.
ISOLATE_MEMORY_BYTES: Final = 5 * _PART_BYTES
_LOOK_CHARS = 8  # The rules look at so few code points of the clients' texts, whose sentences have nine.
# An orphan is older than an upload or a claim can live, with clocks that jump and isolates that stand still.
LIMITS: Final[dict[str, Any]] = {
    "BATCH_PORTION_BYTES": 600,
    "SEGMENT_CHARS_OF_BATCH": 700,
    "BATCH_LINES_KEPT_BYTES": 2_000,
    "BATCH_PORTIONS_A_RUN": {"free": 3, "paid": 5},
    "RETRY_READ_BYTES_MOST": 600,
    "EARLY_BYTES_MOST": {"free": 1_000, "paid": 2_000},
    "TEXT_PORTION_BYTES": 1,
    "TEXT_PORTIONS_A_RUN": {"free": 1, "paid": 2},
    "MEMORY_BYTES": 4 * _PART_BYTES,
    "MEMORY_UPLOAD_BYTES": 0,
    "MEMORY_WRITER_BYTES": 0,
    "UPLOAD_SECONDS_MOST": 180,
    "FILE_ERASE_SECONDS": 60,
    "FILE_IN_USE_SECONDS": 60,
    "ORPHAN_SECONDS": 1_800,
    "ORPHANS_APART_SECONDS": 60,
}


def patches() -> Sequence[Patch]:
    """Return the patches that set the small limits. Some modules have copied limits when they were imported."""
    changed: list[Patch] = [(limits, name, value) for name, value in LIMITS.items()]
    apart_ms = 1000 * LIMITS["ORPHANS_APART_SECONDS"]
    return [
        *changed,
        (R2Bucket, "part_bytes", _PART_BYTES),
        (D1Bucket, "part_bytes", _PART_BYTES),
        (files, "_UPLOAD_MS", 1000 * LIMITS["UPLOAD_SECONDS_MOST"]),
        (files, "APART_MS", apart_ms),
        (handlers, "new_request", _hurried),
        (chunks, "LOOK_CHARS", _LOOK_CHARS),
        (file_cuts, "LOOK_CHARS", _LOOK_CHARS),
        (file_cuts, "_LOOK_BYTES", file_cuts.CODE_POINT_BYTES * _LOOK_CHARS),
    ]


def _hurried(fields: NewBatchFields, input_file: File) -> BatchRequest:
    """Make the request for a batch, with a completion window of half a minute for an hour."""
    made = new_request(fields, input_file)
    output_ms = None if made.output_ms is None else made.output_ms // HURRY
    return replace(made, window_ms=made.window_ms // HURRY, output_ms=output_ms)
