"""Which features the Worker has. The kernel alone has none."""

from typing import Final

from src.features import FEATURES

NAMES: Final = frozenset(feature.name for feature in FEATURES)
