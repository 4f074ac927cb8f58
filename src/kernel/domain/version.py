"""The version of the code (`pyproject.toml`), and of the schema that it needs (`migrations/`); tests compare them."""

from typing import Final

VERSION: Final = "0.1.0"
MIGRATIONS: Final = (
    *("0001_initial.sql", "0002_attempts.sql", "0003_structured_output.sql", "0004_files.sql", "0005_batches.sql"),
    *("0006_file_texts.sql", "0007_mends.sql", "0008_names_health_costs.sql"),
    "0009_caps_quotes.sql",
)
MIGRATION: Final = MIGRATIONS[-1]
