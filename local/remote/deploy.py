"""`make deploy`: creates what the account lacks, applies the migrations, deploys the Worker and tries it.

Each step of `make deploy` checks whether it is needed, or may be done twice. A run of `make deploy` that stopped
anywhere can therefore simply be repeated.
"""

import re
import shlex
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from ..node import ROOT
from .account import AccountState, Needs, look
from .cloud import Cloud, CommandResult, StepFailed, need
from .deploy_check import Web, startup, verify
from .fixes import FIXES
from .former_state import refuse_former_database

_URL = re.compile(r"^\s+(https://\S+|\S+(?= \(custom domain\)))", re.MULTILINE)
_VERSION = re.compile(r"Current Version ID: (\S+)")
# A copy of wrangler.toml without the binding of R2. The copy is in the same folder, because wrangler resolves paths
# from the folder of its configuration file.
WITHOUT_R2 = "wrangler.without-r2.toml"
_BUCKETS = re.compile(r"^\[\[(?:env\.[\w-]+\.)?r2_buckets\]\]\n(?:[^\[\n].*\n)*", re.MULTILINE)
_THERE = re.compile(r"already exists|already taken|\[code: (?:7502|11009)\]", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Step:
    """One step of a deployment: a command of wrangler, and a label that says what it does.

    With `creates` the step succeeds too if the database, queue or bucket that it creates exists already.
    """

    label: str
    command: tuple[str, ...]
    creates: bool = False


@dataclass(frozen=True, slots=True)
class Shape:
    """The flags of `make deploy`. With `replace`, a Worker without its database may be replaced."""

    dry_run: bool = False
    replace: bool = False


def _say(line: str) -> None:
    print(line, flush=True)


def steps(wanted: Needs, found: AccountState) -> Iterator[Step]:
    """Yield the needed steps in order. The Worker is deployed last, when everything that it needs exists."""
    if not found.has_database:
        yield Step(
            f"Creating the database {wanted.database}", ("d1", "create", wanted.database, wanted.flag), creates=True
        )
    for name in found.missing_queues:
        yield Step(f"Creating the queue {name}", ("queues", "create", name, wanted.flag), creates=True)
    if wanted.bucket is not None and found.has_r2 and not found.has_bucket:
        command = ("r2", "bucket", "create", wanted.bucket, wanted.flag)
        yield Step(f"Creating the bucket {wanted.bucket}", command, creates=True)
    yield Step("Applying the missing migrations", ("d1", "migrations", "apply", "DB", "--remote", wanted.flag))
    flags = (wanted.flag,) if _binds_bucket(wanted, found) else (wanted.flag, f"--config={WITHOUT_R2}")
    yield Step(f"Deploying the Worker {wanted.worker}", ("deploy", *flags))


def _binds_bucket(wanted: Needs, found: AccountState) -> bool:
    """Whether the Worker is deployed with all bindings: in an account without R2 the bucket is left out."""
    return wanted.bucket is None or found.has_r2


@contextmanager
def _configured(wanted: Needs, found: AccountState) -> Iterator[None]:
    """If the account has no R2, write a configuration without the bucket for wrangler, and delete it at the end."""
    if _binds_bucket(wanted, found):
        yield
        return
    file = ROOT / WITHOUT_R2
    file.write_text(_BUCKETS.sub("", (ROOT / "wrangler.toml").read_text("utf-8")), "utf-8")
    try:
        yield
    finally:
        file.unlink(missing_ok=True)


def shown(command: tuple[str, ...]) -> str:
    """Return a wrangler command as a user would type it."""
    return shlex.join(("npx", "wrangler", *command))


def deploy(cloud: Cloud, web: Web, wanted: Needs, shape: Shape, say: Callable[[str], None] = _say) -> str | None:
    """Do all steps. Returns the deployment's URL, or None if it has no URL or if nothing was done.

    Raises `StepFailed`, and `UsageError` for a database from before the first migration.
    """
    say("Checking what the account has …")
    try:
        found = look(cloud, wanted)
    except StepFailed:
        if shape.dry_run:
            _foresee(cloud, web, wanted, say)
        raise
    _describe(wanted, found, say)
    if found.version is not None and not found.has_database and not shape.replace:
        raise StepFailed(
            f"the account has a Worker named {wanted.worker} and no database named {wanted.database}: that "
            "Worker may be another project's, and deploying would replace it",
            FIXES["name-taken"],
        )
    if found.has_database:
        refuse_former_database(cloud, wanted)
    with _configured(wanted, found):
        return _carry_out(cloud, web, wanted, found, shape, say)


def _foresee(cloud: Cloud, web: Web, wanted: Needs, say: Callable[[str], None]) -> None:
    """Show the steps of a first deployment, and build the upload, although the account cannot be looked at."""
    say("The account cannot be read, so a deployment would stop here. In an empty account it would take these steps:")
    empty = AccountState("", None, has_database=False, missing_queues=wanted.queues, has_r2=True)
    _carry_out(cloud, web, wanted, empty, Shape(dry_run=True), say)


def _carry_out(
    cloud: Cloud, web: Web, wanted: Needs, found: AccountState, shape: Shape, say: Callable[[str], None]
) -> str | None:
    """Do the steps that the account needs, and check the deployment."""
    plan = list(steps(wanted, found))
    total = len(plan) + 1
    answer = CommandResult(0, "", "")
    for number, step in enumerate(plan, 1):
        say(f"[{number}/{total}] {step.label}: {shown(step.command)}")
        if shape.dry_run:
            continue
        answer = cloud(*step.command, is_shown=not step.creates)
        if not (step.creates and _THERE.search(answer.said)):
            need(answer, step.label)
    say(f"[{total}/{total}] Checking the deployment: GET /api/async-status, GET /api/ai-status")
    if shape.dry_run:
        _tried(cloud, wanted, found, say)
        return None
    return _verified(web, wanted, found, answer, say)


def _describe(wanted: Needs, found: AccountState, say: Callable[[str], None]) -> None:
    say(f"    account   {found.account}")
    runs = "does not exist yet" if found.version is None else f"version {found.version} runs"
    say(f"    worker    {wanted.worker}, {runs}")
    say(f"    database  {wanted.database}, {'exists' if found.has_database else 'does not exist yet'}")
    for name in wanted.queues:
        say(f"    queue     {name}, {'does not exist yet' if name in found.missing_queues else 'exists'}")
    if wanted.bucket is not None and found.has_r2:
        say(f"    bucket    {wanted.bucket}, {'exists' if found.has_bucket else 'does not exist yet'}")
    elif wanted.bucket is not None:
        say("    bucket    none, because R2 is not enabled in this account; files lie in D1, at most 1.5 MB each.")
        say("              For larger files and batches enable R2 in the dashboard, then run `make deploy` again")
    if not wanted.queues:
        say("    queue     none in this environment; consumers of an earlier deployment stay: docs/guide.md")


def _tried(cloud: Cloud, wanted: Needs, found: AccountState, say: Callable[[str], None]) -> None:
    """Build the upload in a dry run, which needs no account and finds faults of the build."""
    *_, step = steps(wanted, found)
    name, *flags = step.command
    need(cloud(name, "--dry-run", *flags), "Building the upload")
    say("The upload can be built. Nothing was changed: this was a dry run.")


def _verified(
    web: Web, wanted: Needs, found: AccountState, answer: CommandResult, say: Callable[[str], None]
) -> str | None:
    version = _VERSION.search(answer.said)
    say(f"    version {version[1] if version else 'unknown'} is deployed")
    for line in startup(answer.said):
        say(line)
    if found.version is not None:
        say(f"    to roll back to the previous one: {shown(('rollback', found.version, wanted.flag))}")
    url = _URL.search(answer.said)
    if url is None:
        say("    wrangler printed no address: open /api/async-status at your route yourself")
        return None
    address = url[1] if url[1].startswith("https://") else f"https://{url[1]}"
    fault = verify(web, address, wanted, say)
    if fault is not None:
        fix = FIXES["first-not-verified" if found.version is None else "not-verified"]
        raise StepFailed(f"the deployment at {address} does not answer as it should: {fault}", fix)
    say(f"Deployed: {address}")
    return address
