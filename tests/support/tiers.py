"""The tiers of the suite: `make quick`, `make test`, `make campaign`. Each holds what the one before it holds."""

import os
from typing import Literal

type Tier = Literal["quick", "test", "campaign"]
VARIABLE = "ONCEOVER_TIER"  # which tier runs; without it that of `make test`


def tier() -> Tier:
    """The tier that runs. Raises ValueError for a name that is none."""
    match os.environ.get(VARIABLE, "test"):
        case "quick" | "test" | "campaign" as name:
            return name
        case other:
            raise ValueError(f"{VARIABLE} is {other!r}: quick, test or campaign")


def sized[T](*, quick: T, test: T, campaign: T) -> T:
    """Choose how much a test draws in the tier that runs."""
    return {"quick": quick, "test": test, "campaign": campaign}[tier()]
