"""Sets small limits for the Worker, so that a short run reaches what otherwise takes hours or hundreds of chunks."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from simulator.campaign.subject.patches import Patch, patched
from src.kernel.domain import limits
from src.kernel.text import merge
from src.kernel.work import submission

LEASE_SECONDS = 40
TIMEOUT_SECONDS = 15
MAX_ATTEMPTS = 3
SMALL_LANE_CHUNKS = 6
SMALL_LANE_CALLS = 3

MERGE_CHARS = 70  # A merge call takes three outputs, so that merges have several levels.
MERGE_CHARS_OF_FORMS = 240  # A merge call takes two or three of most values.

# Short slices make runs give their tasks back and continue them. Slices of the usual length are longer than any task
# here.
_SLICES = {"QUEUE_SLICE_SECONDS": 5.0, "DIRECT_SLICE_SECONDS": 4.0, "OBJECT_SLICE_SECONDS": 5.0}
# These sizes make pieces of one or two outputs, and segments of a few pieces.
_PARTS = {"PIECE_BYTES_MOST": 60, "SEGMENT_BYTES": 120}
# These sizes make windows of about two chunks, and merges that keep one or two outputs, so that runs read texts and
# outputs again between calls.
_WINDOWS = {"WINDOW_CHARS_MOST": 20, "OUTPUTS_KEPT_CHARS": 60, "MERGE_CALLS_READ": 2}
_ALWAYS: dict[str, Any] = {
    "LANE_CHUNKS": SMALL_LANE_CHUNKS,
    "LANES_FROM_CHUNKS": 2 * SMALL_LANE_CHUNKS,
    "LANE_CALLS": SMALL_LANE_CALLS,
    "COORDINATOR_IDLE_SECONDS": 240.0,
    "SWEEP_BACKOFF_DOUBLINGS_MOST": 2,
    "SWEEP_SLICE_SECONDS": 30.0,
    "RATE_LIMIT_SECONDS_MOST": 240.0,
    "STAND_IN_SECONDS": 5.0,  # A poll works for less time than a slow model call takes.
    "STORE_SECONDS": 12.0,  # The store's time limit is well below the lease, as in production.
    "DELIVERY_WAITS_SECONDS": (5.0, 10.0, 30.0, 60.0),
    "BREAKER_SECONDS_MOST": 120.0,
}


@contextmanager
def small_limits(
    *, short_slices: bool, small_parts: bool, small_windows: bool, batches: bool = False, merge_chars: int = MERGE_CHARS
) -> Iterator[None]:
    """Replace the Worker's limits by small limits during one run. A merge call takes `merge_chars`. The limits of
    batches are replaced only in runs with batches.

    The Worker's logger is disabled, because the tracebacks of errors that the Worker catches would flood a campaign's
    output. `adapter.MISTAKES` selects the logged errors that only a bug explains.
    """
    chosen = (
        _ALWAYS
        | (_SLICES if short_slices else {})
        | (_PARTS if small_parts else {})
        | (_WINDOWS if small_windows else {})
    )
    patches: list[Patch] = [(limits, name, value) for name, value in chosen.items()]
    if batches:
        from simulator.campaign.subject import small_batches

        patches += small_batches.patches()
    patches.append((merge, "MERGE_CHARS_LEAST", merge_chars))
    # With this patch the API refuses no budget as too small, as in older code.
    patches.append((submission, "check_budget", lambda options, minimum: None))
    patches.append((logging.getLogger("onceover"), "disabled", True))
    with patched(patches):
        yield


def variables(
    *, plan: str = "paid", concurrency: int = 3, retention_days: float = 30, keyed: bool = False
) -> dict[str, str]:
    """Return the variables of a simulated deployment."""
    return {
        "LEASE_SECONDS": str(LEASE_SECONDS),
        "AI_TIMEOUT_SECONDS": str(TIMEOUT_SECONDS),
        "MAX_ATTEMPTS": str(MAX_ATTEMPTS),
        "MODEL_PATIENCE_SECONDS": "0",
        "AI_CONCURRENCY": str(concurrency),
        "CHUNK_MAX_CHARS": "10",
        "RETENTION_DAYS": str(retention_days),
        "PLAN": plan,
        "AI_PROVIDER": "workers-ai",  # The Worker never calls this provider, because the world has its own model.
        "REQUIRE_KEYS": str(keyed).lower(),
    }
