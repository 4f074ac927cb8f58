"""Checks that the newly deployed Worker answers as its environment requires."""

import json
import os
import re
import shlex
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from ..node import ROOT
from .account import Needs

# A new workers.dev name gets its certificate after about a minute. A new version of the Worker is everywhere within
# seconds.
SECONDS_MOST = 150.0
_PAUSE_SECONDS = 3.0
# How many good answers in a row the check needs. A single good answer may come from the old version, whose bindings are
# the same.
GOOD_IN_A_ROW = 5
_ANSWER_SECONDS = 20.0
# Cloudflare refuses an upload whose import takes more milliseconds of CPU time than this. Because Cloudflare's machines
# differ, an upload close to the limit may be accepted today and refused tomorrow.
STARTUP_MS_MOST = 1_000
STARTUP_MS_WARNED = 700
_STARTUP = re.compile(r"^Worker Startup Time: (\d+) ms", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class DeploymentReply:
    """The answer to a request. `status` is 0 if no answer came, and `body` is empty unless it is a JSON object."""

    status: int
    body: Mapping[str, Any]
    text: str


@dataclass(frozen=True, slots=True)
class Web:
    """The functions for access to the web, which tests replace."""

    get: Callable[[str], DeploymentReply]
    now: Callable[[], float]
    pause: Callable[[float], None]


def get(url: str) -> DeploymentReply:
    """Send one GET request, over http or https only."""
    request = urllib.request.Request(url, headers={"User-Agent": "onceover-deploy"})  # noqa: S310 - wrangler printed it
    try:
        with urllib.request.urlopen(request, timeout=_ANSWER_SECONDS) as answer:  # noqa: S310
            status, content = answer.status, answer.read()
    except urllib.error.HTTPError as error:
        status, content = error.code, error.read()
    except OSError as error:
        return DeploymentReply(0, {}, str(error))
    text = content.decode("utf-8", "replace")
    try:
        body = json.loads(text)
    except ValueError:
        body = {}
    return DeploymentReply(status, body if isinstance(body, dict) else {}, text[:300])


WEB = Web(get, time.monotonic, time.sleep)


def status_fault(reply: DeploymentReply, wanted: Needs) -> str | None:
    """Return what is wrong with an answer of `/api/async-status`, or None."""
    if reply.status == 0:
        return f"no answer: {reply.text}"
    if reply.body.get("code") == "bad_configuration" or reply.body.get("status") == "unhealthy":
        return str(reply.body.get("detail", reply.text))
    if reply.status != 200:
        return f"status {reply.status}: {reply.body.get('detail', reply.text.strip())}"
    check = reply.body.get("queueCheck")
    if check != wanted.queue_check:
        return f"bindings {json.dumps(check)}, and wrangler.toml has {json.dumps(wanted.queue_check)}"
    return None


def _settled(web: Web, url: str, wanted: Needs, say: Callable[[str], None], good_in_a_row: int) -> str | None:
    """Send requests until `good_in_a_row` answers in a row are good.

    Returns the last fault if there are not enough good answers in time, otherwise None.
    """
    end, good = web.now() + SECONDS_MOST, 0
    told: str | None = None
    while True:
        fault = status_fault(web.get(f"{url}/api/async-status"), wanted)
        good = 0 if fault else good + 1
        if good >= good_in_a_row:
            return None
        if fault and web.now() >= end:
            return fault
        if fault and fault != told:
            say(f"    not yet: {fault}")
            told = fault
        web.pause(_PAUSE_SECONDS)


def verify(
    web: Web, url: str, wanted: Needs, say: Callable[[str], None], good_in_a_row: int = GOOD_IN_A_ROW
) -> str | None:
    """Send requests until the deployed Worker answers as it should.

    Returns the fault if the Worker does not answer as it should in time, otherwise None.
    """
    fault = _settled(web, url, wanted, say, good_in_a_row)
    if fault is not None:
        return fault
    say(f"    {url}/api/async-status is as wrangler.toml says")
    model = web.get(f"{url}/api/ai-status")
    if model.status == 200 and model.body.get("status") == "healthy":
        say(f"    {url}/api/ai-status is healthy")
        return None
    unknown = "a key with the scope read sees why" if model.status == 200 else model.text.strip()
    why = model.body.get("detail", unknown)
    say(f"    warning: {url}/api/ai-status is {model.body.get('status', model.status)}: {why}")
    say("    Tasks are accepted and wait for the model. `make secrets` sets the key for its server.")
    return None


def startup(said: str) -> list[str]:
    """Return the lines to print about the start-up time that `wrangler deploy` reported, if it reported one."""
    found = _STARTUP.search(said)
    if found is None:
        return []
    lines = [f"    start-up took {found[1]} ms of CPU; Cloudflare allows {STARTUP_MS_MOST}"]
    if int(found[1]) > STARTUP_MS_WARNED:
        lines += [
            f"    warning: start-up is above {STARTUP_MS_WARNED} ms, and an upload above 1 s of CPU is refused.",
            "    Deploy again first: the figure varies by machine. If it stays, check what your last change imports at",
            "    the top of a module, and import it where it is used: docs/decisions/python.md#d0033.",
        ]
    return lines


def has_key() -> bool:
    """Whether ONCEOVER_KEY has a key, without which no task can be submitted."""
    return bool(os.environ.get("ONCEOVER_KEY", "").strip())


def _trial(url: str, env: str) -> list[str]:
    """Return the command that runs a small task in the deployment."""
    return [".venv/bin/onceover", "doctor", url, "--env", env, "--task"]


def doctor_command(url: str, env: str) -> str:
    """Return the command that checks the deployment again, as a user of the clone types it."""
    return shlex.join(_trial(url, env)[:-1])


def trial_offer(url: str, env: str) -> list[str]:
    """Return the lines to print if no task was run: the command that runs a task, and the task's cost."""
    if has_key():
        return []
    return [
        "No task was tried, because ONCEOVER_KEY is not set. Once you have a key, try one small task:",
        f"    ONCEOVER_KEY=oo_… {shlex.join(_trial(url, env))}",
        "It costs 1 model call, and at most 3 if calls fail. The task is erased afterwards.",
    ]


def prove(url: str) -> int:
    """Run `onceover verify` on the deployment with VERIFY=1, and return its exit status; else name it and its price."""
    command = [".venv/bin/onceover", "verify", "--url", url, "--report", "verify"]
    if os.environ.get("VERIFY") == "1":
        return subprocess.run([ROOT / command[0], *command[1:]], check=False).returncode
    print("To see what works there, in at most ten minutes and 60 model calls (or add VERIFY=1 to make deploy):")
    print(f"    ONCEOVER_KEY=oo_… {shlex.join(command)}")
    return 0


def doctor(url: str, env: str) -> int | None:
    """Run `onceover doctor` on the deployment, and return its exit status, or None if it is not installed.

    Only faults that a deployment can cause count as failures of the check. The task of the flag `--task` costs a model
    call and needs a key, so it is run only if there is a key.
    """
    program, *arguments = _trial(url, env)
    if not (ROOT / program).exists():
        return None
    if not has_key():
        arguments.remove("--task")
    return subprocess.run([ROOT / program, *arguments, "--deployed"], check=False).returncode
