"""Which code this is, and which schema it needs. Tests hold both to `pyproject.toml` and `migrations/`."""

from typing import Final

VERSION: Final = "0.1.0"
MIGRATION: Final = "0001_initial.sql"  # the newest one
