"""Prints how the platform ended the Worker's invocations of the last hour, as Prometheus text for a textfile collector.

An invocation that the platform ends for its CPU time writes no log line and no metric, so only Cloudflare's own
analytics know of it. `CLOUDFLARE_API_TOKEN` needs the permission `Account Analytics: Read`. The program needs only
Python.
"""

import json
import os
import sys
import urllib.error
import urllib.request
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

URL = "https://api.cloudflare.com/client/v4/graphql"
WINDOW = timedelta(hours=1)
# Cloudflare's analytics may not yet have invocations of the last minutes, so the window ends this long before now.
DELAY = timedelta(minutes=5)
METRIC = "onceover_platform_invocations"
QUERY = """
query ($account: string!, $worker: string!, $from: Time!, $to: Time!) {
  viewer { accounts(filter: {accountTag: $account}) {
    workersInvocationsAdaptive(limit: 100, filter: {scriptName: $worker, datetime_geq: $from, datetime_leq: $to}) {
      sum { requests }
      dimensions { status }
    }
  } }
}
"""
# Statuses that are printed with 0 if no invocation had them, so that an alert can tell a 0 from missing figures.
_ALWAYS = ("success", "exceededResources")
_SECONDS_MOST = 30.0


class NoFigures(Exception):
    """Cloudflare gave no figures. The message says why."""


def ask(account: str, worker: str, token: str, now: datetime, url: str = URL) -> Any:
    """Return the analytics of a time window. Raises `NoFigures`."""
    end = now - DELAY
    variables = {"account": account, "worker": worker, "from": _time(end - WINDOW), "to": _time(end)}
    request = urllib.request.Request(  # noqa: S310 - Cloudflare's address
        url,
        data=json.dumps({"query": QUERY, "variables": variables}).encode(),
        headers={"Authorization": f"Bearer {token}", "Content-Type": "application/json"},
    )
    try:
        with urllib.request.urlopen(request, timeout=_SECONDS_MOST) as answer:  # noqa: S310
            return json.loads(answer.read())
    except urllib.error.HTTPError as error:
        raise NoFigures(f"Cloudflare answered {error.code}: {error.read()[:300].decode('utf-8', 'replace')}") from None
    except (OSError, ValueError) as error:
        raise NoFigures(f"no answer from Cloudflare: {error}") from None


def _time(moment: datetime) -> str:
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def counted(answer: Any) -> dict[str, int]:
    """Return the invocations by status. Raises `NoFigures` for an answer without figures."""
    try:
        if answer.get("errors"):
            raise NoFigures(f"Cloudflare refused: {answer['errors'][0]['message']}")
        (account,) = answer["data"]["viewer"]["accounts"]
        found = dict.fromkeys(_ALWAYS, 0)
        for group in account["workersInvocationsAdaptive"]:
            status = str(group["dimensions"]["status"])
            found[status] = found.get(status, 0) + int(group["sum"]["requests"])
    except (AttributeError, KeyError, IndexError, TypeError, ValueError):
        raise NoFigures("Cloudflare's answer has no figures: is the account's id right?") from None
    return found


def exposition(found: Mapping[str, int], worker: str) -> str:
    """Write the figures in Prometheus' format."""
    lines = [
        f"# HELP {METRIC} Invocations of the last hour by the status that Cloudflare gives them, estimated.",
        f"# TYPE {METRIC} gauge",
    ]
    for status, count in sorted(found.items()):
        lines.append(f'{METRIC}{{status="{_escaped(status)}",worker="{_escaped(worker)}"}} {count}')
    return "\n".join(lines) + "\n"


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")


def main(arguments: Sequence[str], environ: Mapping[str, str] = os.environ, url: str = URL) -> int:
    """Print the figures of the named Worker, by default `onceover`."""
    worker = arguments[0] if arguments else "onceover"
    account, token = environ.get("CLOUDFLARE_ACCOUNT_ID", ""), environ.get("CLOUDFLARE_API_TOKEN", "")
    if not account or not token:
        sys.stderr.write("error: CLOUDFLARE_ACCOUNT_ID and CLOUDFLARE_API_TOKEN must be set\n")
        return 1
    try:
        text = exposition(counted(ask(account, worker, token, datetime.now(UTC), url)), worker)
    except NoFigures as error:
        sys.stderr.write(f"error: {error}\n")
        return 1
    sys.stdout.write(text)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
