"""The tiers of the suite: `make quick`, `make test`, `make campaign`. Each tier includes the one before it."""

import os
from typing import Literal

type Tier = Literal["quick", "test", "campaign"]
VARIABLE = "ONCEOVER_TIER"  # the tier that runs; by default the tier of `make test`


def tier() -> Tier:
    """Return the tier of this run. Raises ValueError for an unknown name."""
    match os.environ.get(VARIABLE, "test"):
        case "quick" | "test" | "campaign" as name:
            return name
        case other:
            raise ValueError(f"{VARIABLE} is {other!r}: quick, test or campaign")


def sized[T](*, quick: T, test: T, campaign: T) -> T:
    """Choose the number of a test's draws by the tier that runs."""
    return {"quick": quick, "test": test, "campaign": campaign}[tier()]
