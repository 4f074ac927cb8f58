"""Makes copies of the Worker, for tests and benchmarks that change a part of the Worker."""

import shutil
from pathlib import Path

from tests.support.dev_server import ROOT

PARTS = ("src", "migrations", "public")


def copy_worker(folder: Path) -> Path:
    """Copy what a deployment needs into a folder for `DevServer(project=folder)`, and return it."""
    for part in PARTS:
        shutil.copytree(ROOT / part, folder / part, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "wrangler.toml", folder)
    return folder


def without_bucket(settings: Path) -> None:
    """Remove the bindings of R2 from a copy of wrangler.toml."""
    kept, skips = [], False
    for line in settings.read_text().splitlines():
        if line.startswith("["):
            skips = "r2_buckets" in line
        if not skips:
            kept.append(line)
    settings.write_text("\n".join(kept) + "\n")
    assert "BLOBS" not in "\n".join(line for line in kept if not line.startswith("#"))
