"""`python -m simulator.innocence`: rows of twenty SIGKILLs, as many rows as asked; none may make a task fail."""

import argparse
import sys
from collections import Counter

from simulator.campaign.runs.innocence import KILLS, kills_in_a_row
from simulator.options import positive


def main(arguments: list[str] | None = None) -> int:
    """Make runs with twenty kills each. The exit status is 1 if a task failed or an invariant was broken."""
    parser = argparse.ArgumentParser(prog="python -m simulator.innocence", description=__doc__)
    parser.add_argument("--runs", type=positive, default=1_000, help="how many (default 1000)")
    parser.add_argument("--first", type=int, default=0, help="the first seed (default 0)")
    options = parser.parse_args(arguments)
    statuses: Counter[str] = Counter()
    bad = 0
    for seed in range(options.first, options.first + options.runs):
        result = kills_in_a_row(seed)
        statuses += result.statuses
        if result.failure is not None or result.reasons:
            bad += 1
            sys.stdout.write(f"seed {seed}: {result.failure or dict(result.reasons)}\n")
    sys.stdout.write(f"{options.runs} runs of {KILLS} kills: {dict(statuses)}, {bad} with a task that failed\n")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
