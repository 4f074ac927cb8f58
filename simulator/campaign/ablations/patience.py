"""Ablations of the safeguards that let a task wait for a model that is away, and that limit its calls to it."""

from functools import partial

from simulator.campaign.ablations import impatience as without
from simulator.campaign.ablations.circumstances import (
    ONE_CHUNK_FAILS,
    bearing_absence,
    beside_greed,
    beside_trouble,
    one_fails,
    resuming,
)
from simulator.campaign.ablations.definition import Ablation
from simulator.campaign.ablations.substitutes import swapped
from simulator.engine.fault_kinds import MODEL_AWAY
from src.kernel.calls import model_health
from src.kernel.calls.model_health import ModelHealths, Patience
from src.kernel.store import claiming
from src.objects.sender import Slots

AWAY = {MODEL_AWAY: 0.1}

ABLATIONS = (
    Ablation(
        "failures_while_away",
        "failures count against a chunk only where the model answers other chunks at the same time",
        ((Patience, "counts", without.count_all),),
        AWAY,
        bearing_absence,
    ),
    Ablation(
        "one_probe_at_a_time",
        "one call at a time asks for a model that is away",
        ((Patience, "narrow", without.never_narrow),),
        AWAY,
        bearing_absence,
    ),
    Ablation(
        "growing_pauses",
        "the pauses between the calls that ask for a model double",
        ((model_health, "away_seconds", without.a_second),),
        AWAY,
        bearing_absence,
    ),
    Ablation(
        "stored_wait",
        "a task's next claim knows since when its model has been away, and how often it was asked for",
        ((claiming, "claim", without.claim_without_wait),),
        AWAY,
        bearing_absence,
    ),
    Ablation(
        "end_of_patience",
        "a task fails once its model has been away for too long",
        ((Patience, "over", without.never_over),),
        AWAY,
        partial(bearing_absence, seconds=60),
    ),
    Ablation(
        "chunk_that_fails_alone",
        "a chunk's failures count while the model answers other chunks",
        ((Patience, "counts", without.count_none),),
        {},
        one_fails,
        ONE_CHUNK_FAILS,
    ),
    Ablation(
        "trouble_by_tenant",
        "what an isolate knows of a model's trouble is one tenant's, and no other tenant's task waits for it",
        ((ModelHealths, "of", without.one_for_all),),
        {},
        beside_trouble,
    ),
    Ablation(
        "resume_spares_calls",
        "an operator ends no pause of a task that has calls out",
        (swapped("PAUSED", "AND in_flight = '[]'", ""), swapped("END_PAUSES", "AND in_flight = '[]'", "")),
        AWAY,
        resuming,
    ),
    Ablation(
        "slots_of_who_works",
        "a task that only waits for a pause to end has no object slot",
        (swapped("FREE_SLOTS", "status = 'pending' AND not_before <=", "status = 'pending' OR not_before <="),),
        {},
        beside_greed,
    ),
    Ablation(
        "slots_passed_on",
        "an object that is done with its task, or that waits, passes its slot on at once",
        ((Slots, "pass_on", without.keep),),
        {},
        beside_greed,
    ),
)
