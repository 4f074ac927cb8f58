"""Checks a folder with a deployment's configuration: wrangler.toml with its environments, .dev.vars, migrations."""

import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from .bindings import bindings
from .dotenv import assignments, idle_lines
from .files import bucket
from .findings import Check, Level, fault, ok, warning
from .sources import assets, migrations, packages, python
from .variables import variables

type Table = dict[str, Any]

CONFIGURATION: Final = "wrangler.toml"


def examine(folder: Path, env: str | None) -> Iterator[Check]:
    """Check a folder. `env` is the environment to check, None for each environment of wrangler.toml."""
    path = folder / CONFIGURATION
    if not path.is_file():
        yield fault("configuration", f"there is no {CONFIGURATION} in {folder}", "name a clone of onceover, or a URL")
        return
    try:
        config = tomllib.loads(path.read_text("utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        yield fault(
            "configuration", f"{CONFIGURATION} cannot be read: {error}", f"correct that line of {CONFIGURATION}"
        )
        return
    known = list(config.get("env", {}))
    if env and env not in known:
        there = ", ".join(known) or "only the top level"
        yield fault(
            "configuration",
            f"{CONFIGURATION} has no environment {env}; there are {there}",
            "leave --env out, or name one",
        )
        return
    yield from _whole(config, folder)
    for name in [env] if env is not None else ["", *known]:
        yield from _environment(config, name, folder)
    yield from _secrets(config, env, folder)


def _whole(config: Table, folder: Path) -> Iterator[Check]:
    """Check the settings of wrangler.toml that all environments share."""
    complaints = []
    main = str(config.get("main", ""))
    if not main or not (folder / main).is_file():
        complaints.append(
            fault("configuration", f"main is {main!r}, but there is no such file", 'main = "src/entry.py"')
        )
    else:
        complaints += packages(folder, main)
    complaints += python(config)
    if not config.get("name"):
        complaints.append(fault("configuration", "the Worker has no name", 'name = "onceover"'))
    yield from complaints or [ok("configuration", f"{CONFIGURATION} can be read; main is {main}")]
    yield assets(config, folder)
    if "* * * * *" not in config.get("triggers", {}).get("crons", []):
        fix = '[triggers] crons = ["* * * * *"]'
        yield fault("cron", "no cron trigger runs every minute, so nothing finds the tasks of a dead worker", fix)
    else:
        yield ok("cron", "runs every minute")
    if not config.get("observability", {}).get("enabled"):
        yield warning(
            "logs",
            "[observability] is not enabled, so Cloudflare keeps no log of failures",
            "[observability] enabled = true",
        )


def _environment(config: Table, name: str, folder: Path) -> Iterator[Check]:
    """Check one environment's bindings and variables, which an environment does not inherit from the top level."""
    own: Table = config["env"][name] if name else config
    where = f"[env.{name}]" if name else "the top level"
    yield from bindings(own, name, where)
    yield bucket(own, where)
    yield from variables(own.get("vars", {}), where, has_ai="ai" in own)
    yield from _database(own, where, folder)


def _database(own: Table, where: str, folder: Path) -> Iterator[Check]:
    """Check an environment's binding of the database, and the folder of migrations that it names."""
    found = next((one for one in own.get("d1_databases", []) if one.get("binding") == "DB"), None)
    if found is None:
        yield fault(
            "database", f"{where}: DB binding is missing", '[[d1_databases]] binding = "DB", database_name = "onceover"'
        )
        return
    database_id = found.get("database_id")
    if database_id is not None and not re.fullmatch(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", str(database_id)):
        yield fault("database", f"{where}: database_id is not an id", "npx wrangler d1 list")
    elif database_id is not None and set(str(database_id)) <= {"0", "-"}:
        yield Check(
            "database",
            Level.NOTE,
            f"{where}: database_id is a placeholder. Leave it out: wrangler finds DB by its name",
        )
    else:
        yield ok("database", f"{where}: DB is {found.get('database_name')}")
    yield migrations(folder / str(found.get("migrations_dir", "migrations")), where)


def _secrets(config: Table, env: str | None, folder: Path) -> Iterator[Check]:
    """Check the file .dev.vars, whose values count before the variables of wrangler.toml."""
    names = (*([f".dev.vars.{env}"] if env else []), ".dev.vars")
    path = next((folder / name for name in names if (folder / name).is_file()), None)
    if path is None:
        return
    text = path.read_text("utf-8", errors="replace").replace("\r\n", "\n").replace("\r", "\n")
    idle = idle_lines(text)
    if idle:
        yield fault(
            "dev-vars", f"line {idle[0]} of {path.name} sets nothing", "write NAME=value, or # before a comment"
        )
    elif path.stat().st_mode & 0o004:
        yield warning("dev-vars", f"every user of this machine can read {path.name}", f"chmod 600 {path.name}")
    else:
        yield ok("dev-vars", f"{path.name} can be read")
    own: Table = config["env"][env] if env else config
    yield from variables(assignments(text), path.name, is_secret=True, below=own.get("vars", {}))
