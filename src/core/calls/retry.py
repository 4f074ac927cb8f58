"""How long to wait before a model call is tried again.

`chance` is the caller's random number from 0 to 1, for jitter.
"""

from .. import limits


def backoff_seconds(attempts: int, chance: float) -> float:
    """Return the seconds to wait after the `attempts`-th transient failure.

    The wait doubles with each failure, up to a limit. Half of the wait is fixed and up to half is jitter, unlike AWS's
    "full jitter", so that a server in trouble always gets some rest.
    """
    assert attempts >= 1
    ceiling = min(limits.BACKOFF_SECONDS_MOST, limits.BACKOFF_SECONDS_FIRST * 2.0 ** min(attempts - 1, 16))
    return ceiling * (0.5 + 0.5 * chance)


def away_seconds(waits: int, chance: float) -> float:
    """Return the seconds before the next probe of a model that is away.

    `waits` is how many probes of the model have failed in a row. The wait doubles with each of them, up to a limit, and
    up to half of the wait is jitter.
    """
    assert waits >= 1
    ceiling = min(limits.AWAY_SECONDS_MOST, limits.AWAY_SECONDS_FIRST * 2.0 ** min(waits - 1, 16))
    return ceiling * (0.5 + 0.5 * chance)


def rate_limit_seconds(asked: float | None, waits: int, chance: float) -> float:
    """Return how many seconds to wait after a 429.

    `waits` is how many waits after a 429 in a row precede this one. The provider's own wait, `asked`, is
    obeyed to a tenth of a second, up to RATE_LIMIT_SECONDS_MOST (an hour). The wait after a 429 is never less than a
    floor. The floor starts at RATE_LIMIT_SECONDS_LEAST, doubles with each wait in a row up to five minutes, and gets up
    to half of itself as jitter on top. Because of the floor, the waits after 429s grow even if the provider keeps
    asking for no wait, and RATE_LIMIT_WAITS_MOST such waits take hours. If `asked` is None, the wait starts at
    RATE_LIMIT_SECONDS_FIRST and also doubles, and up to half of the wait is jitter.
    """
    ceiling = limits.RATE_LIMIT_SECONDS_MOST / 12
    doubling = 2.0 ** min(waits, 16)
    if asked is None:
        return min(ceiling, limits.RATE_LIMIT_SECONDS_FIRST * doubling) * (0.5 + 0.5 * chance)
    floor = min(ceiling, limits.RATE_LIMIT_SECONDS_LEAST * doubling) * (1 + 0.5 * chance)
    return min(limits.RATE_LIMIT_SECONDS_MOST, max(asked + 0.1 * chance, floor))
