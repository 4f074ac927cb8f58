"""Copies the libraries that the dashboard loads for Markdown from npm's packages into `public/vendor/markdown`.

The dashboard has no build: a browser loads the packages' own files. The copies are not in the repository.
"""

import re
import shutil
import sys
from pathlib import Path

from .node import ROOT

FOLDER = ROOT / "public" / "vendor" / "markdown"
MODULES = ROOT / "node_modules"
# The names of the copied files, each with its npm package and its path in this package.
FILES = {
    "marked.js": ("marked", "lib/marked.esm.js"),
    "purify.js": ("dompurify", "dist/purify.min.js"),
    "LICENSE-marked.txt": ("marked", "LICENSE"),
    "LICENSE-dompurify.txt": ("dompurify", "LICENSE"),
}
# Source maps are not copied, so a line that names a source map would make a browser's developer tools request a
# missing file.
_SOURCE_MAP = re.compile(r"\n//# sourceMappingURL=\S+\s*\Z")


def copy(folder: Path = FOLDER, modules: Path = MODULES) -> None:
    """Replace all files of the folder by copies from the installed packages."""
    whole = folder.with_name(f"{folder.name}.new")
    shutil.rmtree(whole, ignore_errors=True)
    whole.mkdir(parents=True)
    for name, (package, file) in FILES.items():
        text = (modules / package / file).read_text("utf-8")
        (whole / name).write_text(_SOURCE_MAP.sub("\n", text), "utf-8")
    shutil.rmtree(folder, ignore_errors=True)
    whole.rename(folder)


if __name__ == "__main__":
    try:
        copy()
    except OSError as error:
        sys.exit(f"{error}")
