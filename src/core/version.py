"""The version of this code, and the schema it needs. Tests compare both with `pyproject.toml` and `migrations/`."""

from typing import Final

VERSION: Final = "0.1.0"
MIGRATION: Final = "0003_structured_output.sql"  # the newest one
