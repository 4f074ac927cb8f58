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

from local import docs
from local.claims_page import CLAIMS
from simulator.engine.fault_kinds import KINDS
from src.kernel.domain.version import MIGRATION, VERSION
from tests import campaign

ROOT = Path(__file__).resolve().parents[1]
REPORTS = ROOT / "docs" / "releases"
BUILT = ROOT / ".build" / "release"
FAULTS = "../../simulator/README.md#the-faults"
NOT_SHOWN = "../verification.md#what-is-not-shown"
SUITES = ("JSON-Schema-Test-Suite", "Standard Webhooks", "MCP's conformance")


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
        if not options.as_is:
            campaign.go(campaign.parts(), again=False)
        report = report_of()
        _write(report, notes)
        if not options.dry_run:
            _tag(notes, report["date"])
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


def report_of() -> dict[str, Any]:
    """Make the report: what was tried on these files, with which result, and which parts did not run on them."""
    parts = campaign.parts()
    ran = {part.name: record for part in parts if (record := campaign.known(part)) is not None}
    fired, total = Counter[str](), Counter[str]()
    for one in ran.values():
        fired.update(one.figures.get("faultsFired", {}))
        for name in ("schedules", "tasksAccepted", "modelCalls", "broken", "kills", "violations"):
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
        "notRun": [part.name for part in parts if part.name not in ran],
        "mended": _mended(),
        "notShown": _not_shown(),
    }


def page_of(report: dict[str, Any]) -> str:
    """Write the report as a page that a person reads in two minutes."""
    return "\n".join(_lines(report)) + "\n"


def _lines(report: dict[str, Any]) -> Iterator[str]:
    yield f"# onceover {report['version']}: what was tried"
    yield ""
    versions = ", ".join(f"{name} {number}" for name, number in report["versions"].items())
    yield f"`make release` wrote this page on {report['date']}. It says what `make campaign` found on the files of"
    yield f"commit {report['commit'][:8]} (schema `{report['schema']}`; {versions})."
    yield "[Verification](../verification.md) says how each check works."
    yield f"[{report['version']}.json]({report['version']}.json) has each part's command and figures."
    yield ""
    yield "| tried | how much | found |"
    yield "| --- | --- | --- |"
    yield from (
        f"| {tried} | {much or 'not run'} | {found if much else ''} |" for tried, much, found in _summary(report)
    )
    yield ""
    if report["totals"].get("schedules"):
        yield from _schedules(report)
    yield "## What broke and was mended since the last report"
    yield ""
    yield from [f"- At {one['commit']}: {one['what']}" for one in report["mended"]] or [
        "Nothing that a campaign found."
    ]
    yield ""
    yield "## What is not shown"
    yield ""
    yield f"No part tries these ([verification]({NOT_SHOWN}) has more):"
    yield ""
    yield from (f"- {one}" for one in report["notShown"])
    if report["notRun"]:
        yield ""
        yield f"Parts of the campaign that did not run on these files: {_by_group(report['notRun'])}."


def _schedules(report: dict[str, Any]) -> Iterator[str]:
    yield "## Schedules and their seeds"
    yield ""
    yield "| schedules | seeds | tasks | model calls | broken |"
    yield "| --- | --- | ---: | ---: | ---: |"
    yield from _kinds(report["parts"])
    yield ""
    yield "## Faults that struck in them"
    yield ""
    yield f"[The list]({FAULTS}) says what each is."
    yield ""
    yield "| no. | faults, each with how often it struck |"
    yield "| ---: | --- |"
    for number, kinds in groupby(report["faultsFired"].items(), key=lambda one: KINDS[one[0]].number):
        yield f"| {number} | {', '.join(f'{name} {times:,}' for name, times in kinds)} |"
    yield ""


def _summary(report: dict[str, Any]) -> Iterator[tuple[str, str, str]]:
    """Yield what was tried, how much of it, which is empty if nothing was, and with which result."""
    total, parts, missing = report["totals"], report["parts"], report["notRun"]

    def figures(name: str) -> dict[str, Any]:
        found: dict[str, Any] = parts.get(name, {}).get("figures", {})
        return found

    failed = [name for name, part in parts.items() if not part["passed"]]
    hours = sum(part["seconds"] for part in parts.values()) / 3600
    said = f"{len(parts) - len(failed)} passed in {hours:.1f} hours, {len(missing)} did not run, {len(failed)} failed"
    yield "parts of the campaign", f"{len(parts) + len(missing)}", said + "".join(f", {name}" for name in failed)
    much = f"{total['schedules']:,}, {total['modelCalls']:,} model calls" if total.get("schedules") else ""
    yield "schedules, each with faults that a seed draws", much, f"{total.get('broken', 0):,} broke an invariant"
    much = f"{report['states']:,} states, {report['transitions']:,} transitions" if report["states"] else ""
    broken = [name for name in failed if name.startswith("states-")]
    yield "every state of small tasks", much, f"broken in {', '.join(broken)}" if broken else "no violation"
    much = f"{total['kills']:,}" if total.get("kills") else ""
    yield (
        "SIGKILLs of the real runtime",
        much,
        f"{total.get('violations', 0):,} tasks or lines lost, doubled or miscounted",
    )
    tests = figures("long-tests")
    yield "ablations: schedules without a safeguard", _number(tests.get("ablations")), f"{tests.get('noticed')} noticed"
    tried = figures("states-ablations")
    yield "ablations: every state without a safeguard", _number(tried.get("tried")), f"{tried.get('found')} noticed"
    known = figures("mistakes")
    tiers = ", ".join(f"{count} by `make {tier}`" for tier, count in known.get("tiers", {}).items())
    yield (
        "known mistakes of tired developers",
        _number(known.get("mistakes")),
        f"{known.get('noticed')} noticed: {tiers}",
    )
    drawn = figures("mutants")
    killed, survived = drawn.get("killed", 0) + drawn.get("timedOut", 0), drawn.get("survived", 0)
    yield "mutants, drawn by seed 1", _number(killed + survived), f"{killed} killed, {survived} survived"
    suites: dict[str, dict[str, Any]] = figures("suites") or {name: {} for name in SUITES}
    for name, one in suites.items():
        counts = ", ".join(f"{count:,} {what}" for what, count in one.items() if what not in {"wrong", "skipped"})
        yield name, counts or ("skipped" if one else ""), one.get("skipped") or f"{one.get('wrong')} wrong"
    sdks = figures("sdk-matrix")
    yield (
        "OpenAI's SDKs and `autobatcher`",
        f"{checks} checks" if (checks := sdks.get("checks")) else "",
        f"{sdks.get('failed')} failed",
    )


def _number(found: int | None) -> str:
    return f"{found:,}" if found else ""


def _kinds(parts: dict[str, Any]) -> Iterator[str]:
    """Yield a row for each kind of schedules: parts whose commands differ by seeds alone."""
    kinds: dict[str, list[tuple[int, dict[str, Any]]]] = {}
    for part in parts.values():
        if "schedules" in part["figures"]:
            first = re.search(r"--first (\d+)", part["command"])
            kind = re.sub(r"^-m simulator|--(first|seeds) \d+", "", part["command"]).strip()
            kinds.setdefault(kind, []).append((int(first[1]) if first else 0, part["figures"]))
    for kind, ran in kinds.items():
        spans: list[list[int]] = []
        for begin, one in sorted(ran, key=lambda one: one[0]):
            if spans and spans[-1][1] + 1 == begin:
                spans[-1][1] += one["schedules"]
            else:
                spans.append([begin, begin + one["schedules"] - 1])
        seeds = ", ".join(f"{begin:,} to {end:,}" for begin, end in spans)
        sums = (f"{sum(one[name] for _, one in ran):,}" for name in ("tasksAccepted", "modelCalls", "broken"))
        yield f"| {f'`{kind}`' if kind else 'ordinary'} | {seeds} | {' | '.join(sums)} |"


def _by_group(names: Sequence[str]) -> str:
    """Say which parts of each group of the campaign are among these: by their names if they are few."""
    told = []
    for group, parts in groupby(campaign.parts(), key=lambda part: part.group):
        every = [part.name for part in parts]
        gone = [name for name in every if name in names]
        if gone:
            many = f"all {len(gone)}" if len(gone) == len(every) else f"{len(gone)} of {len(every)}"
            told.append(f"{group} ({', '.join(gone) if len(gone) < min(4, len(every)) else many})")
    return ", ".join(told)


def _scenes(record: campaign.Record) -> list[dict[str, int]]:
    return [scene for scene in record.figures.values() if isinstance(scene, dict)]


def _mended() -> list[dict[str, str]]:
    """List what was found broken, and no report before has: `mended` in docs/verification/claims.json."""
    found: list[dict[str, str]] = json.loads((ROOT / CLAIMS).read_text("utf-8"))["mended"]
    earlier = (path for path in REPORTS.glob("*.json") if path.stem != VERSION)
    told = [one for path in earlier for one in json.loads(path.read_text("utf-8"))["mended"]]
    return [one for one in found if one not in told]


def _not_shown() -> list[str]:
    """List the first words of each item that docs/verification.md names as not shown."""
    section = (ROOT / docs.VERIFICATION).read_text("utf-8").partition("\n## What is not shown\n")[2]
    return re.findall(r"^- \*\*(.+?)\*\*", section, re.MULTILINE)


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
    docs.main([])  # docs/verification.md names the last report
    (BUILT / "notes.md").write_text(notes, "utf-8")
    _said([sys.executable, "-m", "build", "--outdir", str(BUILT), "cli"])
    print(f"{page.relative_to(ROOT)}, {data.relative_to(ROOT)}, and in {BUILT.relative_to(ROOT)}:")
    print("".join(f"  {path.name}\n" for path in sorted(BUILT.iterdir())), end="")


def _tag(notes: str, date: str) -> None:
    """Commit the report and the date of the changelog's section, and make the tag on this commit."""
    changelog = ROOT / "CHANGELOG.md"
    text = changelog.read_text("utf-8")
    changelog.write_text(text.replace(f"## Unreleased: {VERSION}\n", f"## {VERSION} ({date})\n"), "utf-8")
    _git("add", "CHANGELOG.md", "docs")
    _git("commit", "--quiet", "--message", f"Report what was tried for {VERSION}")
    # The notes have headings, which git would take for comments.
    message = f"onceover {VERSION}\n\n{notes}"
    _git("tag", "--annotate", f"v{VERSION}", "--cleanup=whitespace", "--message", message)
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
