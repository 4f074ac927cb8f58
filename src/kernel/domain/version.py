"""The version of this code, and the version of the database schema that it needs.

Tests compare the code's version with `pyproject.toml`, and the schema's version with `migrations/`.
"""

from typing import Final

VERSION: Final = "0.1.0"
MIGRATION: Final = "0008_names_health_costs.sql"  # the newest one
