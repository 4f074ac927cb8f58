"""Checks a deployment's files in a folder: the Worker's packages, the dashboard, the migrations."""

import re
from collections.abc import Iterator
from datetime import date
from pathlib import Path
from typing import Any, Final

from .findings import Check, fault, ok, warning

type Table = dict[str, Any]

# The names of the packages of the Worker's code in `src/`. A test compares `PACKAGES` with the folder `src/`.
PACKAGES: Final = ("features", "kernel", "objects", "platform", "queue")
# The compatibility date from which on Cloudflare runs the version of Python for which the packages in `python_modules/`
# are built.
PYTHON_DATE: Final = date(2026, 9, 8)
PYTHON_FLAG: Final = "python_workers_314"
# The paths of the API, which the Worker must answer even if a file of the dashboard has the same path.
API_PATHS: Final = ("/api/*", "/v1/*", "/openapi.json")
# The libraries that the dashboard loads to show Markdown. A test compares them with `local.page_libraries`.
MARKDOWN: Final = ("marked.js", "purify.js")
_RESTORE: Final = "git checkout --"
_MIGRATION = re.compile(r"(\d{4})_.+\.sql")
_LANDED = re.compile(r"^[0-9a-f]{64} [ *](\S+)$", re.MULTILINE)


def python(config: Table) -> Iterator[Check]:
    """Check the settings of wrangler.toml that decide which version of Python runs."""
    flags = config.get("compatibility_flags", [])
    if "python_workers" not in flags:
        fix = 'compatibility_flags = ["python_workers"]'
        yield fault("configuration", "the flag python_workers is missing: the Worker cannot start", fix)
    fix = f'compatibility_date = "{PYTHON_DATE}"'
    try:
        found = date.fromisoformat(str(config.get("compatibility_date", "")))
    except ValueError:
        yield fault("configuration", "compatibility_date is missing or not a date", fix)
        return
    if found < PYTHON_DATE and PYTHON_FLAG not in flags:
        text = (
            f"compatibility_date is {found}: before {PYTHON_DATE} an older Python runs, without the flag {PYTHON_FLAG}"
        )
        yield fault("configuration", text, f"{fix}, or add {PYTHON_FLAG} to compatibility_flags")


def packages(folder: Path, main: str) -> Iterator[Check]:
    """Check that the folder of the Worker's main module has all packages that the main module imports."""
    source = (folder / main).parent
    for name in PACKAGES:
        if not any((source / name).glob("*.py")):
            where = (source / name).relative_to(folder)
            yield fault("configuration", f"{where}/ is missing: the Worker cannot start", f"{_RESTORE} {where}")


def assets(config: Table, folder: Path) -> Check:
    """Check that the dashboard's files exist, and that no file of it can hide a path of the API."""
    block = '[assets] directory = "./public", run_worker_first = ' + str(list(API_PATHS)).replace("'", '"')
    found = config.get("assets")
    if not found:
        return fault("assets", "[assets] is missing: the deployment has no dashboard", block)
    directory = str(found.get("directory", ""))
    if not (folder / directory / "index.html").is_file():
        fix = f"{_RESTORE} public"
        return fault("assets", f"{directory or 'directory'} has no index.html: the deployment has no dashboard", fix)
    missing = [path for path in API_PATHS if path not in _worker_first(found)]
    if missing:
        return fault("assets", f"run_worker_first lacks {', '.join(missing)}: a file there would hide the API", block)
    lacking = [name for name in MARKDOWN if not (folder / directory / "vendor" / "markdown" / name).is_file()]
    if lacking:
        text = f"{directory}/vendor/markdown lacks {', '.join(lacking)}: the dashboard shows outputs as plain text"
        return warning("assets", text, "make install, then deploy again: the files are copies from npm")
    return ok("assets", f"the dashboard is in {directory}")


def _worker_first(found: Table) -> tuple[str, ...]:
    listed = found.get("run_worker_first", [])
    return API_PATHS if listed is True else tuple(listed or ())


def migrations(folder: Path, where: str) -> Check:
    """Check that no migration is missing, and that the migrations' numbers give their order."""
    files = sorted(path.name for path in folder.glob("*.sql")) if folder.is_dir() else []
    if not files:
        return fault(
            "migrations", f"{where}: there are no migrations in {folder.name}/", 'migrations_dir = "migrations"'
        )
    matches = {name: _MIGRATION.fullmatch(name) for name in files}
    odd = [name for name, match in matches.items() if match is None]
    numbers = [int(match[1]) for match in matches.values() if match is not None]
    twice = [number for number in set(numbers) if numbers.count(number) > 1]
    if odd or twice:
        what = f"{odd[0]} has no number" if odd else f"there are two with the number {min(twice):04}"
        fix = "give it the next number, as NNNN_name.sql"
        return fault("migrations", f"{where}: {folder.name}/: {what}, so the order is unclear", fix)
    # The numbers may have gaps. The file LANDED lists the migrations that databases have, with their digests.
    if gone := sorted(_landed(folder) - set(files)):
        text = f"{where}: {folder.name}/ lacks {', '.join(gone)}, so a new database would be incomplete"
        return fault("migrations", text, f"{_RESTORE} {folder.name}")
    return ok("migrations", f"{where}: {len(files)}, the last one is {files[-1]}")


def _landed(folder: Path) -> set[str]:
    """Return the migrations that some database has, from the file LANDED. Empty without this file."""
    path = folder / "LANDED"
    return set(_LANDED.findall(path.read_text("utf-8", errors="replace"))) if path.is_file() else set()
