"""Puts `onceover` into the clone's .venv, so that it always runs the clone's own `cli/`.

`install.py` runs this module with the interpreter of the .venv. The command line is installed as an editable package
without a build, because for a build pip would fetch a build backend whose digest no requirements file has. The
requirements of `cli/` are in requirements/dev.txt.
"""

import shlex
import sys
import sysconfig
from pathlib import Path

CLI = Path(__file__).resolve().parent.parent / "cli"
# The launcher is a shell script, because a script's first line may not contain a path with spaces. The flag -P prevents
# imports from the user's current folder.
_LAUNCHER = """#!/bin/sh
exec {python} -P -m onceover_cli "$@"
"""


def install(scripts: Path, packages: Path) -> Path:
    """Write the launcher into `scripts`, and the package's path into `packages`. Returns the launcher."""
    (packages / "onceover_cli.pth").write_text(f"{CLI}\n", "utf-8")
    launcher = scripts / "onceover"
    launcher.write_text(_LAUNCHER.format(python=shlex.quote(sys.executable)), "utf-8")
    launcher.chmod(0o755)
    return launcher


if __name__ == "__main__":
    install(Path(sysconfig.get_path("scripts")), Path(sysconfig.get_path("purelib")))
