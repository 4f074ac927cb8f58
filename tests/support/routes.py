"""Runs the same test steps on the queue and on objects at the same time, because tests spend most time waiting."""

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

STARTS_SECONDS = 180  # How many seconds the servers of both routes may take to start together.
ROUTES: Mapping[str, Sequence[str]] = {"queue": (), "objects": ("--env", "free")}


def on_each_route(folder: Path, story: Callable[[Sequence[str], Path], None]) -> None:
    """Run `story` on all routes at once, with their flags and folders. Raises a failure."""
    folders = [folder / name for name in ROUTES]
    for made in folders:
        made.mkdir()
    with ThreadPoolExecutor(len(ROUTES)) as pool:
        for _ in pool.map(story, ROUTES.values(), folders):
            pass
