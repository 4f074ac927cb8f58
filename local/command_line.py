"""Puts `onceover` into the clone's .venv, so that what runs is the clone's own `cli/`, as it stands.

Run by `install.py` with the interpreter of that .venv. It is an editable installation without a build: for one, pip
would fetch a build backend of which no file of requirements has the digest. What `cli/` needs is in
requirements/dev.txt.
"""

import shlex
import sys
import sysconfig
from pathlib import Path

CLI = Path(__file__).resolve().parent.parent / "cli"
# By a shell, as no first line may hold a path with spaces; -P keeps what lies in the user's folder from being imported.
_LAUNCHER = """#!/bin/sh
exec {python} -P -m onceover_cli "$@"
"""


def install(scripts: Path, packages: Path) -> Path:
    """Write the launcher into `scripts`, and into `packages` where the package is. Returns the launcher."""
    (packages / "onceover_cli.pth").write_text(f"{CLI}\n", "utf-8")
    launcher = scripts / "onceover"
    launcher.write_text(_LAUNCHER.format(python=shlex.quote(sys.executable)), "utf-8")
    launcher.chmod(0o755)
    return launcher


if __name__ == "__main__":
    install(Path(sysconfig.get_path("scripts")), Path(sysconfig.get_path("purelib")))
