"""`python -m simulator.states`: every state of a small task, within bounds, and whether each missing guard is found.

A search is kept in `.build/states` and goes on where it was interrupted, until the code that it runs changes.
"""

import argparse
import sys
from hashlib import sha256
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from simulator.campaign.states.ablated import LEFT_OUT, found_without, guards
from simulator.campaign.states.scenes import CLIENTS, HOSTS, limits_of_scenes, scene
from simulator.campaign.states.search import Bounds, Broken, Scene, Search
from simulator.figures import keep_figures
from simulator.options import positive

ROOT = Path(__file__).resolve().parents[1]
KEPT = ROOT / ".build" / "states"
SAVED_EVERY_SECONDS = 120.0
CONSOLE = Console(highlight=False, width=140)
_BOUNDS = ("crashes", "lost", "late", "failed", "slow", "short", "long", "most")


def main(arguments: list[str] | None = None) -> int:
    """Search the scenes that the command line names. The exit status is 1 if a check failed or a guard was missed."""
    options = _parser().parse_args(arguments)
    if options.ablations is not None:
        return _ablations(options.ablations)
    bounds = Bounds(**{name: getattr(options, name) for name in _BOUNDS})
    table = Table("scene", "states", "transitions", "depth", "contents", "positions", "ends", "seconds", "outcome")
    failed, kept = False, dict[str, Any]()
    for work in options.work:
        for acts in options.acts:
            one = scene(work, acts, bounds=bounds, reach=options.reach, concurrency=options.concurrency)
            search, broken = searched(one, options.seconds, fresh=options.fresh)
            figures = search.figures
            outcome = "0 violations" if figures.done else "not all yet"
            if broken is not None:
                failed, outcome = True, broken.what
                CONSOLE.print(*broken.steps, broken.what, sep="\n", soft_wrap=True)
            numbers = (figures.states, figures.transitions, figures.depth, figures.contents, figures.positions)
            cells = (*(f"{number:,}" for number in numbers), f"{figures.ends:,}", f"{figures.seconds:,.0f}")
            table.add_row(one.name, *cells, outcome)
            kept[one.name] = {"states": figures.states, "transitions": figures.transitions, "outcome": outcome}
            search.close()
    keep_figures(**kept)
    CONSOLE.print(f"bounds: {', '.join(f'{name} {getattr(bounds, name)}' for name in _BOUNDS)}")
    CONSOLE.print(table)
    return int(failed)


def searched(one: Scene, seconds: float, *, fresh: bool = False) -> tuple[Search, Broken | None]:
    """Search a scene for at most so many seconds of processor time, from where an earlier search stopped."""
    KEPT.mkdir(parents=True, exist_ok=True)
    code = _digest()
    bounds = "-".join(str(getattr(one.bounds, name)) for name in _BOUNDS)
    path = KEPT / f"{one.name.replace(', ', '-')}-{bounds}.search"
    with limits_of_scenes():
        search = Search(one)
        if not fresh and search.restore(path, code):
            CONSOLE.print(f"{one.name}: goes on from {len(search):,} states, after {search.figures.seconds:,.0f} s")
        ends = search.figures.seconds + seconds
        while not search.figures.done:
            broken = search.run(min(SAVED_EVERY_SECONDS, ends - search.figures.seconds))
            if broken is not None:
                return search, broken
            search.save(path, code)
            figures = search.figures
            said = f"{figures.states:,} states, depth {figures.depth}, {figures.seconds:,.0f} s of processor time"
            CONSOLE.print(f"{one.name}: {said}")
            if figures.seconds >= ends:
                break
    return search, None


def _ablations(names: list[str]) -> int:
    """Try searches without each guard."""
    missed = tried = 0
    for ablation in guards():
        if names and ablation.name not in names:
            continue
        found = found_without(ablation)
        tried += 1
        missed += found is None
        if found is None:
            CONSOLE.print(f"{ablation.name}: NOT FOUND")
            continue
        where = f"{found.scene}: {found.states:,} states, {found.seconds:.1f} s, {len(found.steps)} steps"
        CONSOLE.print(f"{ablation.name}: {where}: {found.what}", soft_wrap=True)
        if names:
            CONSOLE.print(*found.steps, sep="\n", soft_wrap=True)
    keep_figures(tried=tried, found=tried - missed)
    for reason, left_out in LEFT_OUT.items():
        CONSOLE.print(f"not tried, {reason}: {', '.join(left_out)}")
    return int(missed > 0)


def _digest() -> str:
    found = sha256()
    for folder in ("src", "migrations", "simulator"):
        for path in sorted((ROOT / folder).rglob("*")):
            if path.suffix in {".py", ".sql"}:
                found.update(path.read_bytes())
    return found.hexdigest()


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m simulator.states", description=__doc__)
    parser.add_argument(
        "--work", nargs="+", choices=("plain", "merge", "batch"), default=["plain"], help="(default plain)"
    )
    parser.add_argument("--acts", nargs="+", choices=tuple(CLIENTS), default=["retry"], help="what the client does")
    parser.add_argument("--reach", choices=tuple(HOSTS), default="queue", help="where workers run (default queue)")
    parser.add_argument("--concurrency", type=positive, default=2, help="calls at a time (default 2)")
    for name in _BOUNDS:
        parser.add_argument(f"--{name}", type=int, default=getattr(Bounds(), name), help=_HELP[name])
    parser.add_argument("--seconds", type=float, default=float("inf"), help="of processor time, for each scene")
    parser.add_argument("--fresh", action="store_true", help="begin anew")
    parser.add_argument("--ablations", nargs="*", metavar="NAME", help="try searches without a guard, all or these")
    return parser


_HELP = {
    "crashes": "programs that die",
    "lost": "calls to the database that land and get no answer",
    "late": "writes that land later, instead of or after their first landing",
    "failed": "calls to the model that fail",
    "slow": "answers of the database that come after steps of others",
    "short": "moments at which 2.5 s pass: longer than calls may take to start",
    "long": "moments at which every lease runs out",
    "most": "all of these together",
}


if __name__ == "__main__":
    sys.exit(main())
