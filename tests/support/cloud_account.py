"""A stand-in for wrangler 4.164: an account in a JSON file. `python -m tests.support.cloud_account STATE …`."""

import functools
import json
import os
import sqlite3
import sys
import tomllib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from local.node import ROOT
from local.remote.cloud import CommandResult

type When = Literal["before", "half", "after"]

ID = "0123456789abcdef0123456789abcdef"
EMPTY: dict[str, Any] = {
    "loggedIn": True,
    "accounts": [{"name": "Example", "id": ID}],
    "databases": {},  # For each database, the migrations that were applied.
    "queues": {},  # For each queue, the Workers that consume it.
    "buckets": {},  # The buckets of R2; None if R2 is not enabled.
    "workers": {},  # For each Worker, its versions, bindings, objects, secrets and crons.
    "startup": 612,  # How many ms of CPU the import of an upload takes; None if this is not printed.
    "refuse": [],  # A refusal is [beginning of a command, wrangler's message, how often; -1 always].
    "created": [],
    "calls": [],
}
_NOT_LOGGED_IN = (
    "In a non-interactive environment, it's necessary to set a CLOUDFLARE_API_TOKEN environment variable for wrangler "
    "to work."
)


@functools.cache
def _wrangler_toml() -> dict[str, Any]:
    return tomllib.loads((ROOT / "wrangler.toml").read_text("utf-8"))


class Killed(BaseException):
    """The whole process, including `make deploy`, ended at this point."""


@dataclass(frozen=True)
class Refused(Exception):
    """wrangler prints an error and ends with status 1."""

    text: str


class CloudAccount:
    """One account. `die` names a call, from 1, and the moment in it at which everything ends."""

    def __init__(self, file: Path, die: tuple[int, When] | None = None, *, with_sqlite: bool = False) -> None:
        self.file = file
        self.die = die
        self.calls = 0
        self.sqlite = file.with_suffix(".sqlite") if with_sqlite else None
        self.state: dict[str, Any] = json.loads(file.read_text()) if file.exists() else json.loads(json.dumps(EMPTY))
        self.save()

    def save(self) -> None:
        self.file.write_text(json.dumps(self.state, indent=1))

    def refuse(self, command: str, text: str, times: int = -1) -> None:
        self.state["refuse"].append([command, text, times])
        self.save()

    def __call__(self, *arguments: str, told: str | None = None, is_shown: bool = False) -> CommandResult:
        self.calls += 1
        words = [word for word in arguments if not word.startswith("-")]
        self.state["calls"].append(" ".join(arguments))
        try:
            self._kill("before")
            self._refuse(" ".join(words), needs_login="--dry-run" not in arguments)
            out = self._command(words)(words, arguments, told)
            self._kill("after")
        except Refused as refused:
            self._kill("after")
            return CommandResult(1, "", f"✘ [ERROR] {refused.text}\n")
        finally:
            self.save()
        return CommandResult(0, out, out)

    def _kill(self, when: When) -> None:
        if self.die == (self.calls, when):
            raise Killed

    def _refuse(self, command: str, *, needs_login: bool = True) -> None:
        for rule in self.state["refuse"]:
            if command.startswith(rule[0]) and rule[2] != 0:
                rule[2] -= 1
                raise Refused(rule[1])
        if needs_login and not self.state["loggedIn"] and command not in {"login", "whoami"}:
            raise Refused(_NOT_LOGGED_IN)

    def _command(self, words: list[str]) -> Callable[[list[str], tuple[str, ...], str | None], str]:
        name = "_".join(words[:3] if words[0] == "d1" and words[1] == "migrations" else words[:2])
        method = getattr(self, f"_{name}", None) or getattr(self, f"_{words[0]}", None)
        assert method is not None, f"a command that the stand-in does not know: {words}"
        return method

    def _config(self, arguments: tuple[str, ...]) -> dict[str, Any]:
        """Return the named environment's configuration, which inherits no bindings, as in wrangler."""
        (flag,) = [one for one in arguments if one.startswith("--env=")]
        files = [one.removeprefix("--config=") for one in arguments if one.startswith("--config=")]
        whole = tomllib.loads((ROOT / files[0]).read_text("utf-8")) if files else _wrangler_toml()
        env = flag.removeprefix("--env=")
        part = whole["env"][env] if env else whole
        return {"migrations": whole["migrations"], "triggers": whole["triggers"], **part}

    def _create(self, kind: str, name: str, place: str, value: Any, taken: str) -> None:
        if name in self.state[place]:
            raise Refused(taken)
        self.state[place][name] = value
        self.state["created"].append(f"{kind} {name}")

    # --- the commands ------------------------------------------------------------------------------------------

    def _login(self, words: list[str], arguments: tuple[str, ...], told: str | None) -> str:
        self.state["loggedIn"] = True
        return "Successfully logged in.\n"

    def _whoami(self, words: list[str], arguments: tuple[str, ...], told: str | None) -> str:
        if not self.state["loggedIn"]:
            raise Refused('{"loggedIn":false}')
        return json.dumps({"loggedIn": True, "email": "a@example.com", "accounts": self.state["accounts"]}, indent=2)

    def _d1_list(self, words: list[str], arguments: tuple[str, ...], told: str | None) -> str:
        return json.dumps([{"uuid": f"uuid-{name}", "name": name} for name in self.state["databases"]], indent=2)

    def _d1_create(self, words: list[str], arguments: tuple[str, ...], told: str | None) -> str:
        self._create("database", words[2], "databases", [], "A database with that name already exists")
        return f"✅ Successfully created DB '{words[2]}'\n"

    def _queues_info(self, words: list[str], arguments: tuple[str, ...], told: str | None) -> str:
        if words[2] not in self.state["queues"]:
            raise Refused(f'Queue "{words[2]}" does not exist. To create it, run: wrangler queues create {words[2]}')
        return f"Queue Name: {words[2]}\nNumber of Consumers: {len(self.state['queues'][words[2]])}\n"

    def _queues_create(self, words: list[str], arguments: tuple[str, ...], told: str | None) -> str:
        taken = f"Queue name '{words[2]}' is already taken. Please use a different name and try again. [code: 11009]"
        self._create("queue", words[2], "queues", [], taken)
        return f"🌀 Creating queue '{words[2]}'\n✅ Created queue '{words[2]}'\n"

    def _r2_bucket(self, words: list[str], arguments: tuple[str, ...], told: str | None) -> str:
        if self.state["buckets"] is None:
            raise Refused(
                f"A request to the Cloudflare API (/accounts/{ID}/r2/buckets) failed.\n"
                "Please enable R2 through the Cloudflare Dashboard. [code: 10042]"
            )
        if words[2] == "list":
            listed = [f"name:           {name}\ncreation_date:  2026-11-25" for name in self.state["buckets"]]
            return "Listing buckets...\n" + "\n\n".join(listed) + "\n"
        taken = "The bucket you tried to create already exists, and you own it. [code: 10004]"
        self._create("bucket", words[3], "buckets", [], taken)
        return f"Creating bucket '{words[3]}'...\n✅ Created bucket '{words[3]}'\n"

    def _queues_list(self, words: list[str], arguments: tuple[str, ...], told: str | None) -> str:
        return "".join(f"│ {name} │\n" for name in self.state["queues"])

    def _database(self, config: dict[str, Any]) -> str:
        name: str = config["d1_databases"][0]["database_name"]
        if name not in self.state["databases"]:
            raise Refused(
                f"Couldn't find a D1 DB named '{name}' (bound as 'DB') in the API. "
                f"Run 'wrangler d1 create {name}' to create it."
            )
        return name

    def _d1_migrations_apply(self, words: list[str], arguments: tuple[str, ...], told: str | None) -> str:
        applied = self.state["databases"][self._database(self._config(arguments))]
        missing = [path for path in sorted((ROOT / "migrations").glob("*.sql")) if path.name not in applied]
        if not missing:
            return "✅ No migrations to apply!\n"
        for number, path in enumerate(missing):
            if number == len(missing) // 2:
                self._kill("half")
            self._refuse(f"migration {path.name}")
            if self.sqlite is not None:
                with sqlite3.connect(self.sqlite) as database:
                    database.executescript("PRAGMA synchronous = OFF;" + path.read_text("utf-8"))
                database.close()
            applied.append(path.name)
        return "Migrations to be applied:\n" + "".join(f"│ {path.name} │ ✅ │\n" for path in missing)

    def _d1_execute(self, words: list[str], arguments: tuple[str, ...], told: str | None) -> str:
        applied = self.state["databases"][self._database(self._config(arguments))]
        command = arguments[arguments.index("--command") + 1]
        if "FROM d1_migrations" in command:
            if not applied:
                raise Refused("no such table: d1_migrations: SQLITE_ERROR [code: 7500]")
            named = [{"name": name} for name in applied if f"'{name}'" in command]
            return json.dumps([{"results": named, "success": True}], indent=2)
        assert self.sqlite is not None
        database = sqlite3.connect(self.sqlite)
        database.row_factory = sqlite3.Row
        try:
            results = [
                {"results": [dict(row) for row in database.execute(statement)], "success": True}
                for statement in command.split(";\n")
            ]
            database.commit()
        except sqlite3.OperationalError as error:
            raise Refused(f"{error}: SQLITE_ERROR [code: 7500]") from None
        finally:
            database.close()
        return json.dumps(results, indent=2)

    def _deploy(self, words: list[str], arguments: tuple[str, ...], told: str | None) -> str:
        config = self._config(arguments)
        if "--dry-run" in arguments:
            return "Total Upload: 7826.35 KiB / gzip: 2135.50 KiB\n--dry-run: exiting now.\n"
        database, queues = self._database(config), config.get("queues", {})
        for queue in [*queues.get("producers", []), *queues.get("consumers", [])]:
            self._queues_info(["queues", "info", queue["queue"]], arguments, None)
        buckets = config.get("r2_buckets", [])
        for bound in buckets:
            if bound["bucket_name"] not in (self.state["buckets"] or {}):
                raise Refused(f"R2 bucket '{bound['bucket_name']}' not found. [code: 10085]")
        worker = self.state["workers"].setdefault(
            config["name"], {"versions": [], "objects": [], "secrets": [], "crons": []}
        )
        worker["versions"].append(f"version-{len(worker['versions']) + 1}")
        worker["live"] = worker["versions"][-1]
        worker["bindings"] = sorted(
            [f"d1 {database}"]
            + [f"queue {queue['binding']}" for queue in queues.get("producers", [])]
            + [f"bucket {bound['bucket_name']}" for bound in buckets]
            + [f"object {bound['name']}" for bound in config.get("durable_objects", {}).get("bindings", [])]
        )
        # Without a migration, a deployment never removes classes of objects.
        new = [name for migration in config["migrations"] for name in migration["new_sqlite_classes"]]
        worker["objects"] = sorted({*worker["objects"], *new})
        self._kill("half")
        worker["crons"] = config["triggers"]["crons"]
        for queue in queues.get("consumers", []):  # a deployment does not remove consumers of queues either
            consumers = self.state["queues"][queue["queue"]]
            if [name for name in consumers if name != config["name"]]:
                raise Refused(f"Queue {queue['queue']} already has a consumer [code: 11004]")
            if config["name"] not in consumers:
                consumers.append(config["name"])
        startup = self.state["startup"]
        return (
            f"{'' if startup is None else f'Worker Startup Time: {startup} ms'}\n"
            f"Uploaded {config['name']} (4.21 sec)\nDeployed {config['name']} triggers (1.02 sec)\n"
            f"  https://{config['name']}.example.workers.dev\n  schedule: * * * * *\n"
            f"Current Version ID: {worker['live']}\n"
        )

    def _worker(self, arguments: tuple[str, ...]) -> dict[str, Any]:
        name = self._config(arguments)["name"]
        if name not in self.state["workers"]:
            raise Refused("This Worker does not exist on your account. [code: 10007]")
        found: dict[str, Any] = self.state["workers"][name]
        return found

    def _deployments_list(self, words: list[str], arguments: tuple[str, ...], told: str | None) -> str:
        return json.dumps(
            [{"versions": [{"version_id": self._worker(arguments)["live"], "percentage": 100}]}], indent=2
        )

    def _rollback(self, words: list[str], arguments: tuple[str, ...], told: str | None) -> str:
        worker = self._worker(arguments)
        assert words[1] in worker["versions"]
        worker["live"] = words[1]
        return f"Worker Version {words[1]} has been deployed to 100% of traffic.\n"

    def _secret_list(self, words: list[str], arguments: tuple[str, ...], told: str | None) -> str:
        return json.dumps(
            [{"name": name, "type": "secret_text"} for name in self._worker(arguments)["secrets"]], indent=2
        )

    def _secret_put(self, words: list[str], arguments: tuple[str, ...], told: str | None) -> str:
        assert told, "a secret comes by standard input"
        worker = self._worker(arguments)
        worker["secrets"] = sorted({*worker["secrets"], words[2]})
        worker.setdefault("values", {})[words[2]] = told
        return f"✨ Success! Uploaded secret {words[2]}\n"


def main() -> int:
    """Act as the program `wrangler` on an account's file; its death is a SIGKILL's exit status."""
    kill = os.environ.get("STAND_IN_DIES", "")
    call, _, when = kill.partition(" ")
    account = CloudAccount(Path(sys.argv[1]), with_sqlite="STAND_IN_SQLITE" in os.environ)
    if kill:
        account.die = (int(call) - len(account.state["calls"]), when)  # type: ignore[assignment]
    told = None if sys.stdin.isatty() or sys.argv[2:4] != ["secret", "put"] else sys.stdin.read()
    try:
        answer = account(*sys.argv[2:], told=told)
    except Killed:
        return 137
    print(answer.said if answer.status == 0 else "", end="")
    print(answer.said if answer.status else "", end="", file=sys.stderr)
    return answer.status


if __name__ == "__main__":
    sys.exit(main())
