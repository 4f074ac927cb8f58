"""Tests the copies of npm's packages that the dashboard loads for Markdown."""

import json
from pathlib import Path

from local import install, page_libraries
from local.node import ROOT


def test_the_page_has_the_files_of_the_installed_packages(tmp_path: Path) -> None:
    folder = tmp_path / "public" / "vendor" / "markdown"
    folder.mkdir(parents=True)
    (folder / "old.js").touch()
    page_libraries.copy(folder)
    assert {path.name for path in folder.iterdir()} == set(page_libraries.FILES)
    assert [path.name for path in folder.parent.iterdir()] == ["markdown"]
    for name, (package, file) in page_libraries.FILES.items():
        copied = (folder / name).read_text("utf-8")
        assert "sourceMappingURL" not in copied
        assert (ROOT / "node_modules" / package / file).read_text("utf-8").startswith(copied.rstrip("\n"))
        assert (ROOT / "public" / "vendor" / "markdown" / name).read_text("utf-8") == copied


def test_what_the_page_needs_is_installed_for_running() -> None:
    packages = json.loads(install.NPM_LOCK.read_text("utf-8"))["packages"]
    for package, _ in page_libraries.FILES.values():
        assert not packages[f"node_modules/{package}"].keys() & {"dev", "optional"}
    for parts in (install.RUN, install.DEV):
        folders = [part.folder for part in parts]
        assert folders.index(page_libraries.FOLDER) > folders.index(page_libraries.MODULES)
        assert parts[folders.index(page_libraries.FOLDER)].lock == install.NPM_LOCK
