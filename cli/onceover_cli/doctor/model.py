"""Checks the model with the deployment's own check of it, and compares the deployment's clock with this machine's."""

import re
from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Final

from .. import health
from ..connection import ApiClient
from ..errors import ServerRefused, Unreachable
from ..shapes import Json
from .findings import Check, fault, ok, warning

# The largest harmless difference between the server's clock and this machine's. Deadlines, retention and the life of
# keys are usually longer than this difference.
_APART_MOST: Final = timedelta(minutes=5)


def model(api: ApiClient, now: datetime) -> tuple[Iterable[Check], datetime]:
    """Check whether the deployment's model calls would work.

    Return the checks, and the present time for judging the server's times. The returned time is `now`, or the server's
    time if the server's clock and this machine's differ.
    """
    try:
        found = health.read(api)
    except (Unreachable, ServerRefused) as error:
        return [fault("ai-status", str(error), "npx wrangler tail")], now
    differing, served = clocks(found, now)
    return [_status(api, found, health.described(found)), *differing], served


def clocks(found: Json, now: datetime) -> tuple[list[Check], datetime]:
    """Compare the server's clock, by the health that it has just told, with this machine's. Returns as `model`."""
    try:
        served = datetime.fromisoformat(found["checkedAt"])
    except (KeyError, ValueError):
        served = now
    differing = _clock(served, now)
    return differing, served if differing else now


def _status(api: ApiClient, found: Json, said: str) -> Check:
    if found["status"] == "healthy":
        if found.get("provider") == "demo" and not api.where.is_local:
            return warning(
                "ai-status", f"{said}", "set AI_PROVIDER to workers-ai or openai in wrangler.toml, then make deploy"
            )
        return ok("ai-status", said)
    mended_by = model_fix(_cause(found), is_local=api.where.is_local)
    if mended_by:
        fix = mended_by
    elif "provider" not in found:
        fix = "set ONCEOVER_KEY to a key with the scope read, and repeat the command"
    elif found.get("codes"):
        fix = "onceover list --status failed; see what the model's server says; when it answers again: onceover resume"
    elif found["provider"] == "workers-ai":
        fix = 'put `[ai]` with `binding = "AI"` back into wrangler.toml, then make deploy'
    else:
        fix = "check AI_BASE_URL, and set the key: " + (
            "AI_API_KEY in .dev.vars" if api.where.is_local else "npx wrangler secret put AI_API_KEY"
        )
    return (fault if found["status"] == "unavailable" else warning)("ai-status", said, fix)


def _cause(found: Json) -> str:
    """Return what the probe said of the model; if the probe is content, the most frequent cause of failed calls."""
    codes = [one["code"] for one in found.get("codes", ())]
    return str(found.get("detail", "")) + (" AI_API_KEY" if codes[:1] == ["model_misconfigured"] else "")


def _clock(served: datetime, now: datetime) -> list[Check]:
    """Compare the server's clock with this machine's. If the two differ, it is unknown which one is wrong."""
    apart = abs(served - now)
    if apart <= _APART_MOST:
        return []
    text = f"the server's clock says {served:%Y-%m-%d %H:%M} UTC, this machine's {now:%Y-%m-%d %H:%M} UTC"
    fix = "correct the wrong clock: deadlines, retention and keys follow the server's (`timedatectl status` on Linux)"
    return [fault("clock", text, fix)]


def model_fix(said: str, *, is_local: bool) -> str:
    """Return the variable that causes a model's error, and where it is set; '' if the cause is unknown.

    `said` is the message of a model's error in a task, or the `detail` of `/api/ai-status`.
    """
    if re.search(r"AI_API_KEY|answered 40[13]\b", said):
        where = "AI_API_KEY in .dev.vars" if is_local else "make secrets, or npx wrangler secret put AI_API_KEY"
        return f"set the key that the model's server takes: {where}"
    if re.search(r"AI_MODEL\b|answered 404\b|no such model|\b(?:5007|model_not_found)\b", said, re.IGNORECASE):
        where = ".dev.vars or --var" if is_local else "wrangler.toml, then make deploy"
        return f"set AI_MODEL to a model of the server ({where}); GET AI_BASE_URL/models lists them"
    if re.search(r"\bdid not answer\b|\bconnection to the (?:server|provider) was\b", said):
        where = ".dev.vars or --var" if is_local else "wrangler.toml, then make deploy"
        return f"start the model's server, or correct AI_BASE_URL ({where}); tasks wait for it"
    return ""
