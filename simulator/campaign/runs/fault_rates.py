"""Sets how often each fault strikes in a schedule, by the schedule's profile and its seed.

The rate of each fault that was added later comes from its own random stream, so that schedules without the fault stay
the same.
"""

from random import Random

from simulator.campaign.checks.disturbances import CRASHES, MODEL
from simulator.engine.fault_kinds import (
    BROWN_OUT,
    CPU_LIMIT,
    DEAD_TRIGGERS,
    FOUND_BY_REVIEW,
    HOSTED,
    KINDS,
    LATE_ANSWER,
    MISFORMED,
    MODEL_AWAY,
    POISONED,
    R2,
    RATE_LIMITER,
    RECEIVER,
    RECEIVERS_HANG,
    STANDING,
    STORAGE,
    STREAM_CUT,
)

# The rates in this table are higher than those in `fault_kinds`, because a short run has too few messages to meet these
# faults otherwise.
_OFTENER = {
    "model_unreachable": 0.03,
    "retries_exhausted": 0.08,
    "consumer_exception": 0.12,
    "poison_message": 0.06,
    "message_reordered": 0.5,
    "queue_dead": 0.05,
    "cron_dead": 0.05,
}
PROFILES = ("calm", "harmless", "model", "swarm", "everything")
# Each of the profiles from `late` to `hanging` is for a special campaign. No seed draws them.
LATE = "late"
OVERLOAD = "overload"
FULL = "full"
DEAD = "dead-triggers"
AWAY = "away"
WEBHOOKS = "webhooks"
HANGING = "hanging"
_TEN_TIMES = {LATE: "d1_lands_later", OVERLOAD: "d1_shared", FULL: STORAGE}


def rates(profile: str, rng: Random, limiter_rng: Random, review_rng: Random) -> dict[str, float]:
    """Return the rates of faults for a profile.

    `calm` has no faults. The profile `harmless` has only the faults that cost no call. The profile `model` has only the
    faults of the model. The profile `swarm` has any faults, which are rare or frequent depending on the seed.
    The profile `everything` has all faults at their usual rates. The profile `late` is `swarm` with late writes at ten
    times their usual rate. The profile `overload` is `swarm` with a shared database that often stalls. The profile
    `full` is `swarm` with a database that often may not grow. The profile `dead-triggers` is `swarm`, or a run without
    other faults, in which one, several or all kinds of triggers always fail at entry. At least half of the `swarm` runs
    have no shared database, and in three quarters the database may always grow. The rates of the limiter's faults, and
    of faults that a review found, come from random streams of their own, so that seeds without these faults give the
    same runs.
    """
    apart = {
        MODEL_AWAY,
        STREAM_CUT,
        *RECEIVER,
        *HOSTED,
        BROWN_OUT,
        POISONED,
        LATE_ANSWER,
        CPU_LIMIT,
        STANDING,
        RECEIVERS_HANG,
        *MISFORMED,
        *R2,
    }
    usual = {kind.name: kind.rate for kind in KINDS.values() if kind.name not in apart} | _OFTENER
    if profile == "calm":
        return {}
    if profile == "harmless":
        return {
            name: min(0.5, 3 * rate) for name, rate in usual.items() if name not in CRASHES | MODEL | {"user_raced"}
        }
    if profile == "model":
        return {name: 3 * usual[name] for name in MODEL - apart}
    if profile == "everything":
        return usual

    def stream(name: str) -> Random:
        return limiter_rng if name in RATE_LIMITER else review_rng if name in FOUND_BY_REVIEW else rng

    earlier = [name for name in usual if name not in {*DEAD_TRIGGERS, STORAGE}]
    drawn = {name: min(0.5, usual[name] * stream(name).choice((0, 0.3, 1, 3))) for name in earlier}
    drawn[STORAGE] = usual[STORAGE] * Random(f"{sorted(drawn.items())}/{STORAGE}").choice((0, 0, 0, 1))
    if review_rng.random() < 0.5:
        drawn["d1_shared"] = 0.0
    drawn |= {name: usual[name] * review_rng.choice((0, 0.3, 1, 3)) for name in DEAD_TRIGGERS}
    if profile == DEAD:
        dead = review_rng.choice(
            (*((name,) for name in DEAD_TRIGGERS), DEAD_TRIGGERS[:2], DEAD_TRIGGERS, DEAD_TRIGGERS)
        )
        return review_rng.choice(({}, drawn)) | dict.fromkeys(dead, 1.0)
    return drawn | {name: 10 * usual[name] for own, name in _TEN_TIMES.items() if own == profile}


def away_rate(profile: str, rng: Random) -> float:
    """Return how often the model goes away for all callers: never in half of the runs, but always often in `away`."""
    usual = KINDS[MODEL_AWAY].rate
    if profile == AWAY:
        return 10 * usual
    return 0.0 if profile in {"calm", "harmless"} else usual * rng.choice((0, 0, 0, 1, 3, 3))


def brown_rates(profile: str, rng: Random) -> dict[str, float]:
    """Return the rates of brown-outs and of texts whose calls always fail: each of the two is 0 in half of the runs."""
    if profile in {"calm", "harmless"}:
        return {}
    return {name: KINDS[name].rate * rng.choice((0, 0, 0, 1, 3, 3)) for name in (BROWN_OUT, POISONED)}


def late_answer_rate(profile: str, rng: Random) -> float:
    """Return how often D1 answers long after a call took effect: never in half of the runs, but often in `late`."""
    usual = KINDS[LATE_ANSWER].rate
    if profile == LATE:
        return 10 * usual
    return 0.0 if profile in {"calm", "harmless", "model"} else usual * rng.choice((0, 0, 0, 1, 3, 3))


def cpu_rate(profile: str, rng: Random) -> float:
    """Return whether CPU time is limited to some slices of a file, with rate 1: in a third of the runs with files."""
    return 0.0 if profile in {"calm", "harmless", "model"} else KINDS[CPU_LIMIT].rate * rng.choice((0, 1))


def standing_rate(profile: str, rng: Random) -> float:
    """Return how often D1 stands still: never in three quarters of the runs, but often in `overload`."""
    usual = KINDS[STANDING].rate
    if profile == OVERLOAD:
        return 3 * usual
    return 0.0 if profile in {"calm", "harmless", "model"} else usual * rng.choice((0, 0, 0, 1))


def receiver_rates(rng: Random) -> dict[str, float]:
    """Return how often receivers of webhooks misbehave: each kind of fault never, at its usual rate, or often."""
    return {name: KINDS[name].rate * rng.choice((0, 1, 1, 3)) for name in RECEIVER}


def misformed_rates(profile: str, rng: Random) -> dict[str, float]:
    """Return how often the model misforms outputs and refuses what a call says: each kind never, as usual, or often."""
    if profile in {"calm", "harmless"}:
        return {}
    return {name: KINDS[name].rate * rng.choice((0, 1, 1, 3)) for name in MISFORMED}


def r2_rates(profile: str, rng: Random) -> dict[str, float]:
    """Return how often R2 fails in a run with batches, and how often the model refuses a line.

    In a third of the runs with other faults, R2 has none, so that checks that a fault of R2 excuses judge, too.
    """
    if profile == "calm":
        return {}
    scale = 0.0 if profile == "model" else rng.choice((0, 1, 3))
    refused = KINDS["call_refused"].rate * (0.0 if profile == "harmless" else rng.choice((0, 1, 3)))
    return {name: min(0.3, KINDS[name].rate * scale * rng.choice((0.3, 1, 1, 3))) for name in R2} | {
        "call_refused": refused
    }
