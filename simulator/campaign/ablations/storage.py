"""Ablations of the safeguards for a full database: no calls without space for outputs, no erasure within a day."""

from functools import partial
from typing import Any

from simulator.campaign.ablations.circumstances import HELD_BRIEFLY, TIDY, waiting_long
from simulator.campaign.ablations.definition import Ablation
from src.kernel.domain.database_state import StorageUse
from src.kernel.domain.errors import StoreUnavailable
from src.kernel.run import write_pacer
from src.kernel.run.write_pacer import StorageGuard
from src.kernel.store import early_erasure as store
from src.kernel.store.tasks import TaskStore

FULL = {"d1_full": 0.03}


def _never_tight(_storage: Any, _most: int) -> bool:
    return False


def _no_room_wanted(_room: Any, _calls: int) -> int:
    return 0


async def _keep_the_claim(_store: Any, *_what: Any) -> bool:
    return True


class _Never(StoreUnavailable):
    """An error that the simulated database never raises; it replaces `StoreFull`."""


ABLATIONS = (
    Ablation(
        "room_before_calls",
        "where the database is nearly full, a call starts only once room was found for its output",
        ((StorageUse, "is_tight", _never_tight),),
        FULL,
        partial(waiting_long, seconds=1_200),
        TIDY,
    ),
    Ablation(
        "outputs_held_when_full",
        "outputs that find no room are held for as long as the lease lasts",
        ((write_pacer, "StoreFull", _Never),),
        FULL,
        waiting_long,
        (*TIDY, *HELD_BRIEFLY),
    ),
    Ablation(
        "room_in_the_announcement",
        "the transaction that announces calls fails where there is no room for their outputs",
        ((StorageGuard, "room_for", _no_room_wanted),),
        FULL,
        partial(waiting_long, seconds=1_200),
        TIDY,
    ),
    Ablation(
        "full_is_no_crash",
        "a run that found no room gives its task back, without a stall",
        ((TaskStore, "stand_down", _keep_the_claim),),
        FULL,
        partial(waiting_long, seconds=3_600),
        TIDY,
    ),
    Ablation(
        "kept_for_a_day",
        "however full the database is, no task is erased within a day of its end",
        ((store, "_KEPT_MS", 0),),
        FULL,
        partial(waiting_long, seconds=1_200),
    ),
)
