"""Runs one test story on a queue and on objects at once, since most of its time is spent waiting."""

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

STARTS_SECONDS = 180  # for servers that start together
ROUTES: Mapping[str, Sequence[str]] = {"queue": (), "objects": ("--env", "free")}


def on_each_route(folder: Path, story: Callable[[Sequence[str], Path], None]) -> None:
    """Run the story once on each route, with the route's flags and a folder of its own. The first failure is raised."""
    folders = [folder / name for name in ROUTES]
    for made in folders:
        made.mkdir()
    with ThreadPoolExecutor(len(ROUTES)) as pool:
        for _ in pool.map(story, ROUTES.values(), folders):
            pass
