"""The command line of `python -m mutation`."""

import argparse
import os
from pathlib import Path

EXAMPLES = """\
examples:
  python -m mutation --mutants 30                       thirty mutants, by the quick suite
  python -m mutation --only src/kernel/run/ledger.py    only that file's; patterns are taken too: 'src/kernel/store/*'
  python -m mutation --deep                             survivors also meet the rest of the suite
  python -m mutation --list                             which mutants would be drawn
  python -m mutation --mutant 1a2b3c4d --judge          one mutant: its diff, a copy of the tree with it, its verdict
"""


def positive(text: str) -> int:
    """Convert the text of a whole number of at least 1."""
    if text.isascii() and text.isdigit() and int(text) > 0:
        return int(text)
    raise argparse.ArgumentTypeError(f"{text!r} is not a whole number of at least 1")


def read(arguments: list[str] | None = None) -> argparse.Namespace:
    """Return the options of the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m mutation",
        description="Puts small mistakes into copies of the Worker, one at a time, and counts those that tests notice.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--mutants", type=positive, default=300, help="how many to draw (default 300)")
    parser.add_argument("--seed", type=int, default=1, help="which ones are drawn (default 1)")
    parser.add_argument("--only", action="append", metavar="FILE", help="draw from this file; may be given again")
    parser.add_argument(
        "--workers", type=positive, default=min(2, os.cpu_count() or 1), help="copies at work (default 2)"
    )
    parser.add_argument("--deep", action="store_true", help="try survivors against the rest of the suite as well")
    parser.add_argument("--list", action="store_true", help="show what would be drawn, and judge nothing")
    parser.add_argument(
        "--mutant",
        action="append",
        metavar="ID",
        help="show this mutant as a diff, and leave a copy of the tree with it; may be given again",
    )
    parser.add_argument("--judge", action="store_true", help="with --mutant: judge it too")
    parser.add_argument("--fresh", action="store_true", help="forget what earlier runs found out")
    parser.add_argument("--report", type=Path, help="where to write the JSON (default .build/mutation/report.json)")
    parser.add_argument("--least", type=float, metavar="PERCENT", help="exit with status 1 if fewer are killed")
    return parser.parse_args(arguments)
