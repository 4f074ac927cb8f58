"""`make release`: checks the tree, writes the report of faults, builds the command line, and makes the tag.

The report takes the campaign's results that are stored for these files (`.build/campaign`), and runs the parts that are
missing, which takes hours; `--as-is` names them as not run instead. docs/releases keeps a page and a JSON file for each
release. The wheel, the sdist and the notes lie in `.build/release`. The tag is made in this clone and not pushed.
"""

import argparse
import json
import platform
import re
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from itertools import groupby
from pathlib import Path
from typing import Any

from simulator.engine.fault_kinds import KINDS
from src.kernel.domain.version import MIGRATION, VERSION
from tests import campaign

ROOT = Path(__file__).resolve().parents[1]
REPORTS = ROOT / "docs" / "releases"
BUILT = ROOT / ".build" / "release"
FAULTS = "../../simulator/README.md#the-faults"
NOT_SHOWN = "../verification.md#what-is-not-shown"


class NotReady(Exception):
    """The tree cannot be released. The message is one line for the user."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Release this tree, or say what is in the way. The exit status is 1 if it cannot be released."""
    parser = argparse.ArgumentParser(prog="make release", description=__doc__)
    parser.add_argument("--as-is", action="store_true", help="run no part of the campaign, and name what is missing")
    parser.add_argument("--dry-run", action="store_true", help="make everything but the tag")
    options = parser.parse_args(arguments)
    try:
        notes = notes_of(VERSION, (ROOT / "CHANGELOG.md").read_text("utf-8"))
        if not options.dry_run:
            _ready()
        _said(["make", "check"])
        judged = campaign.digest()
        if not options.as_is:
            campaign.go(campaign.parts(), judged, again=False)
        report = report_of({part.name: campaign.known(part) for part in campaign.parts()}, judged)
        _write(report, notes)
        if not options.dry_run:
            _tag(notes)
    except NotReady as error:
        print(error, file=sys.stderr)
        return 1
    return 0


def notes_of(version: str, changelog: str) -> str:
    """Return the notes of a release: its section of the changelog. Raises NotReady if there is none."""
    section = rf"^## (?:Unreleased: )?{re.escape(version)}.*?\n(.*?)(?=^## |\Z)"
    found = re.search(section, changelog, re.MULTILINE | re.DOTALL)
    if found is None or not found[1].strip():
        raise NotReady(f"CHANGELOG.md has no section for {version}")
    return found[1].strip() + "\n"


def report_of(records: dict[str, campaign.Record | None], judged: str) -> dict[str, Any]:
    """Make the report: what was tried on these files, with which result, and which parts did not run on them."""
    ran = {name: one for name, one in records.items() if one is not None and one.digest == judged}
    fired, total = Counter[str](), Counter[str]()
    for one in ran.values():
        fired.update(one.figures.get("faultsFired", {}))
        for name in ("schedules", "tasksAccepted", "modelCalls", "broken", "kills"):
            total[name] += one.figures.get(name, 0)
    states = [scene for name in ran if name.startswith("states-") for scene in _scenes(ran[name])]
    return {
        "version": VERSION,
        "commit": _git("rev-parse", "HEAD"),
        "date": datetime.now(UTC).date().isoformat(),
        "schema": MIGRATION,
        "versions": _versions(),
        "totals": dict(total),
        "states": sum(scene["states"] for scene in states),
        "transitions": sum(scene["transitions"] for scene in states),
        "faultsFired": {kind.name: fired[kind.name] for kind in sorted(KINDS.values(), key=lambda kind: kind.number)},
        "parts": {
            name: {"command": one.command, "passed": one.status == 0, "seconds": one.seconds, "figures": one.figures}
            for name, one in ran.items()
        },
        "notRun": [name for name in records if name not in ran],
        "broken": _broken_before(),
    }


def page_of(report: dict[str, Any]) -> str:
    """Write the report as a page that a person reads in two minutes."""
    return "\n".join(_lines(report)) + "\n"


def _lines(report: dict[str, Any]) -> Iterator[str]:
    total, parts = report["totals"], report["parts"]
    failed = [name for name, part in parts.items() if not part["passed"]]
    yield f"# onceover {report['version']}: what was tried"
    yield ""
    yield f"`make release` wrote this page on {report['date']} at {report['commit'][:8]}, schema `{report['schema']}`,"
    yield f"with {', '.join(f'{name} {number}' for name, number in report['versions'].items())}."
    yield ""
    yield f"- **{len(parts) - len(failed)} of {len(parts) + len(report['notRun'])} parts** of the campaign passed"
    yield f"  ({len(failed)} failed{': ' if failed else ''}{', '.join(failed)}; {len(report['notRun'])} did not run)."
    yield f"- **{total.get('schedules', 0):,} schedules** with {total.get('tasksAccepted', 0):,} tasks and"
    yield f"  {total.get('modelCalls', 0):,} model calls: {total.get('broken', 0):,} broke an invariant."
    yield f"- **{report['states']:,} states** of small tasks, {report['transitions']:,} transitions."
    yield f"- **{total.get('kills', 0)} SIGKILLs** of the real runtime."
    yield from (f"- {line}" for line in _further(parts))
    yield ""
    yield "## Faults that struck in the schedules"
    yield ""
    yield f"[The list]({FAULTS}) says what each is."
    yield ""
    yield "| no. | faults | times |"
    yield "| ---: | --- | ---: |"
    for number, kinds in groupby(report["faultsFired"], key=lambda name: KINDS[name].number):
        names = list(kinds)
        yield f"| {number} | {', '.join(names)} | {sum(report['faultsFired'][name] for name in names):,} |"
    yield ""
    yield "## What broke and was mended"
    yield ""
    yield from [f"- {one}" for one in report["broken"]] or ["Nothing that a campaign found."]
    yield ""
    yield "## What is not shown"
    yield ""
    yield f"[Verification]({NOT_SHOWN}) lists what no part tries. These parts did not run on the files of this release:"
    yield f"{', '.join(report['notRun']) or 'none'}."


def _further(parts: dict[str, Any]) -> Iterator[str]:
    """Yield a line for the figures of each part that no sum has."""
    for name in ("states-ablations", "mistakes", "mutants", "suites"):
        if figures := parts.get(name, {}).get("figures"):
            yield f"{name}: " + "; ".join(f"{what} {_shown(number)}" for what, number in figures.items())


def _shown(number: Any) -> str:
    if isinstance(number, dict):
        return ", ".join(f"{name} {one}" for name, one in number.items())
    return f"{number:,}" if isinstance(number, int) else str(number)


def _scenes(record: campaign.Record) -> list[dict[str, int]]:
    return [scene for scene in record.figures.values() if isinstance(scene, dict)]


def _broken_before() -> list[str]:
    """List what schedules have found broken, as docs/verification/claims.json has it."""
    claims = json.loads((ROOT / "docs" / "verification" / "claims.json").read_text("utf-8"))["claims"]
    runs = (run for claim in claims for run in claim["runs"])
    return [
        f"{run['commit']}, {run['what']}: {broken}"
        for run in runs
        if "schedules" in run["what"] and not (broken := str(run.get("broken", "0"))).startswith("0")
    ]


def _versions() -> dict[str, str]:
    wanted = json.loads((ROOT / "package.json").read_text("utf-8"))["dependencies"]
    return {"Python": platform.python_version()} | {name: wanted[name] for name in ("wrangler", "miniflare", "pyodide")}


def _ready() -> None:
    if _git("status", "--porcelain"):
        raise NotReady("There are changes that are not committed: a release is a commit.")
    if _git("tag", "--list", f"v{VERSION}"):
        raise NotReady(f"The tag v{VERSION} exists: raise the version, see docs/compatibility.md.")


def _write(report: dict[str, Any], notes: str) -> None:
    REPORTS.mkdir(parents=True, exist_ok=True)
    shutil.rmtree(BUILT, ignore_errors=True)
    BUILT.mkdir(parents=True)
    page, data = REPORTS / f"{VERSION}.md", REPORTS / f"{VERSION}.json"
    page.write_text(page_of(report), "utf-8")
    data.write_text(json.dumps(report, indent=1, ensure_ascii=False) + "\n", "utf-8")
    (BUILT / "notes.md").write_text(notes, "utf-8")
    _said([sys.executable, "-m", "build", "--outdir", str(BUILT), "cli"])
    print(f"{page.relative_to(ROOT)}, {data.relative_to(ROOT)}, and in {BUILT.relative_to(ROOT)}:")
    print("".join(f"  {path.name}\n" for path in sorted(BUILT.iterdir())), end="")


def _tag(notes: str) -> None:
    """Commit the report, and make the tag on it."""
    _git("add", str(REPORTS))
    _git("commit", "--quiet", "--message", f"Report what was tried for {VERSION}")
    _git("tag", "--annotate", f"v{VERSION}", "--message", f"onceover {VERSION}\n\n{notes}")
    print(f"The tag v{VERSION} is in this clone. To publish it: git push origin main v{VERSION}")


def _git(*arguments: str) -> str:
    done = subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode:
        raise NotReady(f"git {arguments[0]}: {done.stderr.strip()}")
    return done.stdout.strip()


def _said(command: list[str]) -> None:
    """Run a command whose output the user sees. Raises NotReady if it fails."""
    if subprocess.run(command, cwd=ROOT, check=False).returncode:
        raise NotReady(f"{' '.join(command[:2])} failed")


if __name__ == "__main__":
    sys.exit(main())
