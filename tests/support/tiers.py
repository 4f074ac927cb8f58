"""The tiers `make quick`, `make test` and `make campaign`, each with the one before."""

import os
from typing import Literal

type Tier = Literal["quick", "test", "campaign"]
VARIABLE = "ONCEOVER_TIER"  # Names the tier that is running; without it, the tier is `test`.


def tier() -> Tier:
    """Return the tier of this test run. Raises ValueError for an unknown tier."""
    match os.environ.get(VARIABLE, "test"):
        case "quick" | "test" | "campaign" as name:
            return name
        case other:
            raise ValueError(f"{VARIABLE} is {other!r}: quick, test or campaign")


def sized[T](*, quick: T, test: T, campaign: T) -> T:
    return {"quick": quick, "test": test, "campaign": campaign}[tier()]
