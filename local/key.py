"""`make key`: makes an API key, writes its digest into D1, and shows the key once.

wrangler writes the digest. Locally `make key` writes the files that `make dev` uses, even while `make dev` runs,
because SQLite locks them. For a deployment wrangler uses the account's API. The API key itself leaves this process only
on standard output.
"""

import json
import os
import re
import secrets
import subprocess
import sys
from collections.abc import Sequence

from src.kernel.domain import limits
from src.kernel.domain.keys import ID_BYTES, SECRET_BYTES, digest, make, ordered
from src.kernel.store.d1 import BoundStatement
from src.kernel.store.keys import DELETE_EXPIRED_KEYS, INSERT_KEY, INSERTED_KEY, as_scopes, grave

from .arguments import UsageError, fail, stopped
from .key_arguments import KeyOptions, parse
from .lock import is_in_use
from .node import ROOT, NodeMissing, wrangler
from .remote.cloud import plain, told_by
from .remote.fixes import fix_for
from .remote.former_state import refuse_former_state

_ENVIRONMENT = {"WRANGLER_SEND_METRICS": "false", "NO_COLOR": "1"}
_SAID_MOST = 2_000
# How many times wrangler is run if a running server writes at the same moment. Each run of wrangler takes seconds,
# because wrangler starts slowly.
_BUSY_TRIES_MOST = 5
_BUSY = "SQLITE_BUSY"

_PARAMETER = re.compile(r"\?([0-9]+)")


def literal(value: str | int | float | None) -> str:
    """Return a value as SQL. Text is written in hexadecimal, which has no character with a meaning in SQL."""
    match value:
        case None:
            return "NULL"
        case int() | float():
            return str(value)
        case str():
            return f"CAST(X'{value.encode().hex()}' AS TEXT)"


def with_values(bound: BoundStatement) -> str:
    """Return a statement's text with its values in it, because `wrangler d1 execute` takes no parameters."""
    return _PARAMETER.sub(lambda found: literal(bound.values[int(found[1]) - 1]), bound.sql)


def insertion(options: KeyOptions, key_id: str, key_digest: str) -> str:
    """Return the SQL that inserts a key.

    The last statement of this SQL returns the key's row, or no row if the tenant has too many keys.
    """
    statements = (
        DELETE_EXPIRED_KEYS.bind(tenant=options.tenant),
        INSERT_KEY.bind(
            key_id=key_id,
            tenant=options.tenant,
            digest=key_digest,
            scopes=as_scopes(options.scopes),
            label=options.label,
            valid_ms=options.valid_ms,
            keys_most=limits.KEYS_MOST,
            grave=grave(key_id),
        ),
        INSERTED_KEY.bind(key_id=key_id, digest=key_digest),
    )
    return ";\n".join(map(with_values, statements))


def _run(options: KeyOptions, *command: str) -> str:
    """Run `wrangler d1 …` on the database, and return its output. Raises `UsageError` if wrangler fails.

    The command of wrangler must be safe to run twice, because it is repeated if a local server had locked the database.
    """
    place = ["--remote"] if options.persist_to is None else ["--local", "--persist-to", str(options.persist_to)]
    said = ""
    for _ in range(_BUSY_TRIES_MOST):
        done = subprocess.run(
            wrangler("d1", *command, *place, f"--env={options.env or ''}"),
            cwd=ROOT,
            env={**os.environ, **_ENVIRONMENT},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode == 0:
            return done.stdout
        said = f"{done.stdout.strip()}\n{done.stderr.strip()}".strip()
        if _BUSY not in said:
            break
    if "no such table" in said:
        raise UsageError("the database has no tables yet: run `make deploy` first; it applies the migrations")
    if "has no column named" in said:
        raise UsageError("the database is older than this checkout: run `make deploy`; it applies the migrations")
    told = told_by(plain(said))
    if options.persist_to is None:
        fix = fix_for(told)
        raise UsageError(f"wrangler could not write the key. It said:\n{told}\nfix ({fix.id}): {fix.text}")
    raise UsageError(f"wrangler could not write the key. It said:\n{told}")


def write(options: KeyOptions, key_id: str, key_digest: str) -> None:
    """Write a key into the database.

    Before a write to a local database, its migrations are applied. Raises `UsageError`.
    """
    if options.persist_to is not None:
        refuse_former_state(options.persist_to)
        _run(options, "migrations", "apply", "DB")
    printed = _run(options, "execute", "DB", "--json", "--command", insertion(options, key_id, key_digest))
    try:
        inserted = json.loads(printed[printed.index("[\n") :])[-1]["results"]
    except (ValueError, LookupError, TypeError):
        raise UsageError(f"wrangler's output has no key:\n{printed[-_SAID_MOST:]}") from None
    if not inserted:
        raise UsageError(
            f"tenant {options.tenant} has {limits.KEYS_MOST} keys already; delete one with DELETE /api/keys/ID first"
        )


def show(options: KeyOptions, key_id: str, text: str) -> None:
    """Print the key on standard output, and facts about it on standard error."""
    place = (
        "the deployed Worker's database" if options.persist_to is None else f"the local database, {options.persist_to}"
    )
    expiry = "no expiry" if options.valid_ms is None else f"valid {options.valid_ms / 86_400_000:g} days"
    about = f"{', '.join(ordered(options.scopes))}; {expiry}"
    print(
        f"This is a key of tenant {options.tenant} ({about}). Only its digest is stored, in {place}.", file=sys.stderr
    )
    print("It is shown only once:", file=sys.stderr)
    print(text, flush=True)
    print("Send it with each request, as the header `Authorization: Bearer KEY`.", file=sys.stderr)
    if options.persist_to is not None:
        print(
            '`make dev` checks keys only with ARGS="--var REQUIRE_KEYS:true".',
            file=sys.stderr,
        )
        if not is_in_use(options.persist_to):
            print(
                f"No `make dev` serves {options.persist_to} now. One with another --persist-to does not know this key: "
                "give `make key` the same flag.",
                file=sys.stderr,
            )
    print(f"To revoke it: DELETE /api/keys/{key_id}, with a key of scope admin.", file=sys.stderr)


def main(arguments: Sequence[str]) -> int:
    """Parse the command line, make a key, write its digest, and show the key. Returns the exit status."""
    try:
        options = parse(arguments, ROOT)
        parts, text = make(secrets.token_bytes(ID_BYTES + SECRET_BYTES))
        write(options, parts.id, digest(parts.secret))
        show(options, parts.id, text)
    except (KeyboardInterrupt, EOFError):
        return stopped()
    except (UsageError, NodeMissing) as error:
        fail(str(error))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
