"""How long to wait before trying again. `chance` is a number from 0 to 1: jitter comes from the caller."""

from . import limits


def backoff_seconds(attempts: int, chance: float) -> float:
    """Wait after the `attempts`-th transient failure: doubling, capped, half of it jitter.

    Half is kept fixed, unlike AWS's "full jitter", so that a server in trouble always gets some rest.
    """
    assert attempts >= 1
    ceiling = min(limits.BACKOFF_SECONDS_MOST, limits.BACKOFF_SECONDS_FIRST * 2.0 ** min(attempts - 1, 16))
    return ceiling * (0.5 + 0.5 * chance)


def rate_limit_seconds(asked: float | None, waits: int, chance: float) -> float:
    """Wait after a 429: what the provider asked for and never less, else doubling with each wait in a row."""
    if asked is not None:
        return min(limits.RATE_LIMIT_SECONDS_MOST, asked + 0.1 * chance)
    doubled = limits.RATE_LIMIT_SECONDS_FIRST * 2.0 ** min(waits, 16)
    return min(limits.RATE_LIMIT_SECONDS_MOST / 12, doubled) * (0.5 + 0.5 * chance)
