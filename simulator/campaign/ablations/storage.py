"""Ablations of what keeps calls from a database that has no room for what they give."""

from functools import partial

from simulator.campaign.ablations import substitutes as without
from simulator.campaign.ablations.circumstances import HELD_BRIEFLY, TIDY, waiting_long
from simulator.campaign.ablations.definition import Ablation
from src.core.storage import Storage
from src.processing import pace

FULL = {"d1_full": 0.03}

ABLATIONS = (
    Ablation(
        "room_before_calls",
        "where the database is nearly full, a call starts only once room was found for its output",
        ((Storage, "is_tight", without.never_tight),),
        FULL,
        partial(waiting_long, seconds=1_200),
        TIDY,
    ),
    Ablation(
        "outputs_held_when_full",
        "outputs that find no room are held for as long as the lease lasts",
        ((pace, "StoreFull", without.Never),),
        FULL,
        waiting_long,
        (*TIDY, *HELD_BRIEFLY),
    ),
)
