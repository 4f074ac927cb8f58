"""Keeps the figures of a program of the campaign, for the report of a release."""

import json
import os
from pathlib import Path
from typing import Any

VARIABLE = "CAMPAIGN_FIGURES"  # Names the file for the figures. The campaign sets it for each of its parts.


def keep_figures(**figures: Any) -> None:
    """Write what a program found as JSON, if the campaign runs the program. Figures must be those of a whole run."""
    if path := os.environ.get(VARIABLE):
        Path(path).write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")
