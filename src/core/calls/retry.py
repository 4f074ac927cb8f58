"""How long to wait before a retry. `chance` is a number from 0 to 1: the caller draws the jitter."""

from .. import limits


def backoff_seconds(attempts: int, chance: float) -> float:
    """Return the wait after the `attempts`-th transient failure: doubling, capped, half of it jitter.

    Half is fixed, unlike AWS's "full jitter", so that a server in trouble always gets some rest.
    """
    assert attempts >= 1
    ceiling = min(limits.BACKOFF_SECONDS_MOST, limits.BACKOFF_SECONDS_FIRST * 2.0 ** min(attempts - 1, 16))
    return ceiling * (0.5 + 0.5 * chance)


def away_seconds(waits: int, chance: float) -> float:
    """Return the pause before the next probe of a model that is away: doubling, capped, half of it jitter.

    `waits` probes in a row have failed.
    """
    assert waits >= 1
    ceiling = min(limits.AWAY_SECONDS_MOST, limits.AWAY_SECONDS_FIRST * 2.0 ** min(waits - 1, 16))
    return ceiling * (0.5 + 0.5 * chance)


def rate_limit_seconds(asked: float | None, waits: int, chance: float) -> float:
    """Return how many seconds to wait after a 429. `waits` waits in a row came before this one.

    The provider's own wait, `asked`, is obeyed to a tenth of a second, up to RATE_LIMIT_SECONDS_MOST (an hour). The
    wait is never less than a floor. The floor starts low, doubles with each wait in a row up to five minutes, and gets
    up to half of itself as jitter on top. So a provider that keeps asking for no wait gets a growing pause, and
    RATE_LIMIT_WAITS_MOST waits take hours. Without `asked` we choose the wait: it doubles in the same way, and half of
    it is jitter.
    """
    ceiling = limits.RATE_LIMIT_SECONDS_MOST / 12
    doubling = 2.0 ** min(waits, 16)
    if asked is None:
        return min(ceiling, limits.RATE_LIMIT_SECONDS_FIRST * doubling) * (0.5 + 0.5 * chance)
    floor = min(ceiling, limits.RATE_LIMIT_SECONDS_LEAST * doubling) * (1 + 0.5 * chance)
    return min(limits.RATE_LIMIT_SECONDS_MOST, max(asked + 0.1 * chance, floor))
