"""`make campaign` runs all tests that take too long for each commit, in parts.

A part is one command. `.build/campaign` keeps the log and the outcome of each part, with a digest of the judged files.
The program skips a part of the campaign that has passed, until a judged file changes. Ctrl-C ends the running part, but
keeps the outcomes of the others. The exit status of `make campaign` is 1 if a part failed, and 130 after Ctrl-C.
"""

import argparse
import fnmatch
import json
import os
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from simulator import figures
from tests.support import tiers

ROOT = Path(__file__).resolve().parents[1]
RECORDS = ROOT / ".build" / "campaign"
# What the simulator's parts read.
_SIMULATED = ("src/*", "simulator/*", "migrations/*", "requirements/*", "pyproject.toml", "wrangler.toml")
# No part judges these files.
_ASIDE = ("docs/*", "*.md", "ops/*", "examples/*", "LICENSE")
# The whole campaign takes about a night on two cores. Each night draws further seeds (.github/workflows/nightly.yml).
SCHEDULES, BLOCK = 20_000, 5_000
BUSY_RUNS = 2  # the number of runs of the whole suite on a busy machine
# The tests of these modules draw many more cases, or have more to do, in the campaign.
LONG_DRAWS = (
    "tests/api_fuzz",
    "tests/property/test_file_cuts.py",
    "tests/property/test_joined_outputs.py",
    "tests/property/test_resends.py",
    "tests/property/test_schema_oracle.py",
    "tests/property/test_store_model.py",
    "tests/unit/features/context/test_headings.py",
    "tests/unit/features/quotes/test_matching.py",
    "tests/unit/features/structured/test_evil_schemas.py",
    "tests/api/test_hostile.py",
    "tests/api/test_tenants.py",
    "tests/simulator/campaign/test_campaign.py::TestSchedules",
    "tests/simulator/campaign/test_dead_triggers.py",
    "tests/simulator/campaign/test_full_database.py",
    "tests/simulator/campaign/test_innocence.py",
    "tests/simulator/campaign/test_other_bucket.py",
    "tests/simulator/campaign/test_restores.py",
    "tests/simulator/campaign/test_storage_shares.py",
    "tests/simulator/campaign/test_webhooks.py",
    "tests/simulator/campaign/test_workloads.py",
    "tests/runtime/test_burst.py",
    "tests/runtime/test_files.py",
    "tests/runtime/test_large_answers.py",
    "tests/runtime/test_large_joins.py",
    "tests/runtime/test_real_model.py",
)
_PYTEST = "-m pytest -n 2 --dist loadscope --no-loadscope-reorder"


@dataclass(frozen=True, slots=True)
class Part:
    """One Python command with its environment variables. A nightly job runs the parts of one `group`."""

    group: str
    name: str
    command: str
    environ: tuple[tuple[str, str], ...] = ()

    @property
    def judges(self) -> tuple[str, ...]:
        return _SIMULATED if self.command.startswith("-m simulator") else ("*",)


@dataclass(frozen=True, slots=True)
class Record:
    """How a part ended, when it began in seconds since 1970, and the digest of the files that it judged."""

    part: str
    command: str
    status: int
    began: float
    seconds: float
    digest: str
    figures: dict[str, Any] = field(default_factory=dict)  # what the part's program kept, see simulator/figures.py

    @property
    def path(self) -> Path:
        return RECORDS / f"{self.part}.json"


def parts() -> list[Part]:
    return [
        Part("tests", "long-tests", f"{_PYTEST} -m campaign tests", ((tiers.VARIABLE, "campaign"),)),
        Part("tests", "long-draws", f"-m pytest {' '.join(LONG_DRAWS)}", ((tiers.VARIABLE, "campaign"),)),
        Part("clock", "moving-clock", f"{_PYTEST} tests/runtime", (("ONCEOVER_LOCAL_CLOCK", "moving"),)),
        Part("suites", "suites", "-m tests.suites"),
        Part("chaos", "chaos", "-m tests.chaos --kills 20 --tasks 200"),
        Part("chaos", "batch-chaos", "-m tests.batch_chaos --lines 20000 --kills 20"),
        Part("chaos", "upgrade", "-m tests.upgrade --turns 20 --tasks 200"),
        Part("chaos", "model-away", "-m tests.away"),
        Part("chaos", "sdk-matrix", "-m tests.clients"),
        Part("chaos", "sdk-chaos", "-m tests.clients.chaos"),
        *(
            Part("schedules", f"schedules-{first}", f"-m simulator --first {first} --seeds {BLOCK}")
            for first in range(0, SCHEDULES, BLOCK)
        ),
        *(
            Part("faults", f"{faults}-schedules", f"-m simulator --faults {faults} --seeds 2000")
            for faults in ("late", "away", "full", "dead-triggers", "webhooks", "overload")
        ),
        *(
            Part("faults", f"{work}-schedules", f"-m simulator --{work} --seeds 5000")
            for work in ("terms", "forms", "batches")
        ),
        *(
            Part("states", f"states-{work}-{acts}", f"-m simulator.states --work {work} --acts {acts}")
            for work in ("plain", "merge", "batch")
            for acts in ("cancel", "delete", *(("retry",) if work != "batch" else ()))
        ),
        Part("states", "states-ablations", "-m simulator.states --ablations"),
        Part("loads", "brownouts", "-m simulator.brownouts"),
        Part("loads", "overload", "-m simulator.overload"),
        Part("loads", "innocence", "-m simulator.innocence --runs 1000"),
        *(Part("busy", f"busy-{number}", "-m tests.busy") for number in range(1, BUSY_RUNS + 1)),
        Part("mutants", "mistakes", "-m mutation.mistakes"),
        Part("mutants", "mutants", "-m mutation --mutants 300 --seed 1"),
    ]


def judged_files(part: Part) -> list[str]:
    """List the files that git has or would add, if the part judges them."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    names = sorted(filter(None, listed.stdout.split("\0")))
    return [name for name in names if _matches(name, part.judges) and not _matches(name, _ASIDE)]


def _matches(name: str, patterns: Sequence[str]) -> bool:
    return any(fnmatch.fnmatch(name, pattern) for pattern in patterns)


def digest(part: Part) -> str:
    found = sha256()
    for name in judged_files(part):
        if (path := ROOT / name).is_file():
            found.update(f"{name}\0".encode() + sha256(path.read_bytes()).digest())
    return found.hexdigest()[:16]


def known(part: Part) -> Record | None:
    """Return how the part ended on these files, or None if it has not run on them."""
    try:
        record = Record(**json.loads((RECORDS / f"{part.name}.json").read_text("utf-8")))
    except (OSError, ValueError, TypeError):
        return None
    return record if record.digest == digest(part) else None


def run(part: Part) -> Record:
    RECORDS.mkdir(parents=True, exist_ok=True)
    began, judged, kept = time.time(), digest(part), RECORDS / f"{part.name}.figures.json"
    kept.unlink(missing_ok=True)
    with (RECORDS / f"{part.name}.log").open("w") as log:
        process = subprocess.Popen(
            [sys.executable, *shlex.split(part.command)],
            cwd=ROOT,
            env={**os.environ, **dict(part.environ), figures.VARIABLE: str(kept)},
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            status = process.wait()
        except BaseException:
            os.killpg(process.pid, signal.SIGINT)
            process.wait()
            raise
    seconds = round(time.time() - began, 1)
    found = json.loads(kept.read_text()) if kept.exists() else {}
    record = Record(part.name, part.command, status, began, seconds, judged, found)
    record.path.write_text(json.dumps(asdict(record), indent=2) + "\n")
    return record


def chosen(patterns: Sequence[str]) -> list[Part]:
    """Return the parts whose name or group matches, all without a pattern. Raises ValueError without any."""
    if not patterns:
        return parts()
    found = [part for part in parts() if _matches(part.name, patterns) or _matches(part.group, patterns)]
    if not found:
        raise ValueError(f"no part is called {' or '.join(patterns)}")
    return found


def show(selected: Sequence[Part]) -> int:
    table = Table("part", "command", "what became of it", "minutes")
    failed = 0
    for part in selected:
        record = known(part)
        if record is None:
            table.add_row(part.name, part.command, "not run on these files", "")
            continue
        failed += record.status != 0
        became = "passed" if record.status == 0 else f"FAILED, see .build/campaign/{part.name}.log"
        table.add_row(part.name, part.command, became, f"{record.seconds / 60:.1f}")
    Console(width=140).print(table)
    return failed


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="make campaign", description=__doc__)
    parser.add_argument("parts", nargs="*", help="names of parts or groups, * for any characters; default: all")
    parser.add_argument("--list", action="store_true", help="show what is known of the parts, and run nothing")
    parser.add_argument("--again", action="store_true", help="run parts that have passed, too")
    options = parser.parse_args(arguments)
    try:
        selected = chosen(options.parts)
    except ValueError as error:
        parser.error(str(error))
    if not options.list:
        try:
            go(selected, again=options.again)
        except KeyboardInterrupt:
            show(selected)
            return 130
    return 1 if show(selected) and not options.list else 0


def go(selected: Sequence[Part], *, again: bool) -> None:
    for number, part in enumerate(selected, 1):
        before = known(part)
        head = f"{number} of {len(selected)}: {part.name}"
        if before and not again and before.status == 0:
            print(f"{head} has passed", flush=True)
            continue
        print(f"{head} …", flush=True)
        record = run(part)
        print(f"  {'passed' if record.status == 0 else 'FAILED'} after {record.seconds / 60:.1f} minutes", flush=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
