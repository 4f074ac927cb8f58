"""Folders stay so small that a reader can read them as a whole.

pyproject.toml says which Python module may import which other one; this module says so for the dashboard.
"""

import re
import subprocess
from collections import Counter
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
# Folders in which a reader would read all files to find something.
SURVEYED = ("src", "simulator", "local", "public/app", "tests/unit", "tests/simulator")
FILES_MOST = 25


def files_of(folder: str) -> list[str]:
    """Return the files below a folder that are in the repository or will be."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard", folder]
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout.splitlines()
    return [name for name in listed if (ROOT / name).is_file()]


def test_no_room_has_more_files_than_one_can_survey():
    """A folder has at most 25 files directly in it. Files in a folder's subfolders do not count for the folder."""
    found = Counter(name.rpartition("/")[0] for folder in SURVEYED for name in files_of(folder))
    assert all(any(room.startswith(folder) for room in found) for folder in SURVEYED)
    assert {room for room, count in found.items() if count > FILES_MOST} == set()


def test_the_page_s_foundation_knows_no_view():
    """Modules of public/app/base import only modules of this folder and of public/vendor, and no view.

    `public/app/base/views.js` imports views by their names at run time.
    """
    base = ROOT / "public" / "app" / "base"
    imported = {
        (path.name, source)
        for path in base.glob("*.js")
        for source in re.findall(r'\b(?:from|import) "([^"]+)"', path.read_text("utf-8"))
    }
    assert imported
    assert {one for one in imported if not re.fullmatch(r"(?:\.|\.\./\.\./vendor)/\w+\.js", one[1])} == set()
