"""Checks an account at Cloudflare with wrangler: login, queues, databases, migrations, secrets."""

import json
import os
import shutil
import subprocess
import tomllib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from ..shapes import many
from .findings import Check, fault, ok, skipped

SECONDS_MOST: Final = 60
_QUEUES: Final = ("ai-processing-queue", "ai-processing-dlq")
_NO_QUEUES: Final = "Queues are not available on the free plan"
_NO_QUEUES_FIX: Final = (
    "make deploy ENV=free (Durable Objects, no Queues), or change to the Workers Paid plan ($5 a month)"
)


@dataclass(frozen=True, slots=True)
class Said:
    """The output of a wrangler command on both streams, and whether the command succeeded."""

    is_good: bool
    text: str


type Wrangler = Callable[[Sequence[str]], Said]


def wrangler_in(folder: Path) -> Wrangler | None:
    """Return a function that runs wrangler, the folder's own or that of PATH, or None if there is no wrangler."""
    own = folder / "node_modules" / ".bin" / "wrangler"
    program = str(own) if own.is_file() else shutil.which("wrangler")
    if program is None:
        return None

    def ask(arguments: Sequence[str]) -> Said:
        quiet = {**os.environ, "NO_COLOR": "1", "WRANGLER_SEND_METRICS": "false", "CI": "1"}
        try:
            done = subprocess.run(  # noqa: S603 - the program is the clone's own, and no shell is used
                [program, *arguments],
                cwd=folder,
                env=quiet,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                timeout=SECONDS_MOST,
                check=False,
            )
        except subprocess.TimeoutExpired:
            return Said(False, f"wrangler gave no answer within {SECONDS_MOST} s")
        except OSError as error:
            return Said(False, f"wrangler cannot be started: {error.strerror}")
        return Said(done.returncode == 0, f"{done.stdout}\n{done.stderr}")

    return ask


def examine(folder: Path, env: str | None, ask: Wrangler | None) -> Iterator[Check]:
    """Check the account at Cloudflare to which the folder would be deployed."""
    if ask is None:
        yield skipped("login", "wrangler is not installed", "make install")
        return
    who = ask(["whoami"])
    if not who.is_good or "not authenticated" in who.text.lower():
        yield fault(
            "login", _line(who.text, "You are not logged in"), "npx wrangler login, or set CLOUDFLARE_API_TOKEN"
        )
        return
    yield ok("login", _line(who.text, "logged in", "associated with"))
    own = _environment(folder, env)
    flags = ["--env", env or ""]
    if own.get("queues", {}).get("producers"):
        yield _queues(ask(["queues", "list"]))
    yield from _database(ask, flags, own)
    if own.get("vars", {}).get("AI_PROVIDER") == "openai":
        yield _secrets(ask(["secret", "list", *flags]), env)


def _environment(folder: Path, env: str | None) -> dict[str, Any]:
    try:
        config = tomllib.loads((folder / "wrangler.toml").read_text("utf-8"))
    except (OSError, ValueError):
        return {}
    found: dict[str, Any] = config.get("env", {}).get(env, {}) if env else config
    return found


def _queues(listed: Said) -> Check:
    text = listed.text.lower()
    if "free plan" in text or ("paid plan" in text and not listed.is_good) or "[code: 100129]" in text:
        return fault("queues", _NO_QUEUES, _NO_QUEUES_FIX)
    if not listed.is_good:
        return fault("queues", _line(listed.text, "error"), "npx wrangler queues list")
    missing = [queue for queue in _QUEUES if queue not in listed.text]
    if missing:
        fix = " && ".join(f"npx wrangler queues create {queue}" for queue in missing)
        return fault("queues", f"AI_QUEUE binding is missing its queue: the account has no {', '.join(missing)}", fix)
    return ok("queues", "both queues exist")


def _database(ask: Wrangler, flags: list[str], own: dict[str, Any]) -> Iterator[Check]:
    database: dict[str, Any] = next((one for one in own.get("d1_databases", []) if one.get("binding") == "DB"), {})
    name = str(database.get("database_name", "onceover"))
    listed = ask(["d1", "list", "--json"])
    try:
        databases = {
            one["name"] for one in json.loads(listed.text[listed.text.index("[") : listed.text.rindex("]") + 1])
        }
    except (ValueError, KeyError, TypeError):
        yield fault("database", _line(listed.text, "error"), "npx wrangler d1 list")
        return
    if name not in databases:
        yield fault("database", f"the account has no database {name}", "make deploy, which creates it")
        return
    yield ok("database", f"the account has {name}")
    waiting = ask(["d1", "migrations", "list", "DB", "--remote", *flags])
    if not waiting.is_good:
        yield fault("migrations", _line(waiting.text, "error"), "npx wrangler d1 migrations list DB --remote")
    elif ".sql" in waiting.text:
        count = waiting.text.count(".sql")
        yield fault(
            "migrations",
            f"{many(count, 'migration')} not applied",
            "npx wrangler d1 migrations apply DB --remote, or make deploy",
        )
    else:
        yield ok("migrations", "all are applied")


def _secrets(listed: Said, env: str | None) -> Check:
    put = "npx wrangler secret put AI_API_KEY" + (f" --env {env}" if env else "")
    if not listed.is_good:
        return fault("secrets", _line(listed.text, "error"), put)
    if "AI_API_KEY" not in listed.text:
        return fault("secrets", "AI_PROVIDER is openai, and the secret AI_API_KEY is not set", put)
    return ok("secrets", "AI_API_KEY is set")


def _line(text: str, *words: str) -> str:
    """Return the first line of a text that has one of the words, or the text's first line if no line has one."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return next(
        (line for word in words for line in lines if word.lower() in line.lower()), lines[0] if lines else "no answer"
    )
