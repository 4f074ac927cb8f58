"""Installs what the other commands need: .venv, node_modules, python_modules, the Pyodide bundle, and page libraries.

`RUN` has the parts that serving and deploying need. `DEV`, installed with `--dev`, adds what tests and checks need. A
folder with all of `DEV` is also good for `RUN` and is left unchanged.

`local.install` runs before anything is installed, so it imports only the standard library. A part is not installed
again if its folder exists and the digest of its lock file is unchanged.
"""

import hashlib
import itertools
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from .node import ROOT, NodeMissing

STAMPS = ROOT / ".build" / "installed"
VENV = ROOT / ".venv"
_SAID_MOST = 4_000
_QUIET_REPORT_SECONDS = 5  # How often a progress line is printed if there is no terminal to redraw it.

# pip's flags for the platform of the hosted interpreter, which is CPython 3.14 in WebAssembly (Pyodide 314).
_WORKER_PLATFORM = (
    *("--only-binary", ":all:", "--implementation", "cp", "--python-version", "3.14"),
    *("--abi", "cp314", "--abi", "none"),
    *("--platform", "pyemscripten_2026_0_wasm32", "--platform", "any"),
)


class InstallError(Exception):
    """Raised when a part cannot be installed. The message of an `InstallError` is for the user."""


class Interrupted(Exception):
    """Raised by Ctrl-C while a part is being installed. The message of `Interrupted` is the label of the part."""


@dataclass(frozen=True, slots=True)
class Part:
    """One part of the installation: a folder or file, the lock file for its contents, and the commands that fill it.

    Two parts can have the same folder. If two parts have the same folder, `whole` of the smaller part is the lock file
    of the larger one. `holds` of the larger part is the smaller part, whose packages it includes.
    """

    folder: Path
    lock: Path
    label: str
    commands: Callable[[], Sequence[Sequence[str]]]
    whole: Path | None = None
    holds: "Part | None" = None


def pip(*arguments: str, venv: Path = VENV) -> list[str]:
    """Return a pip command in `venv` that accepts only packages whose digest is in a lock file."""
    quiet = ("--quiet", "--disable-pip-version-check", "--no-input")
    return [str(venv / "bin" / "python"), "-m", "pip", "install", *quiet, "--require-hashes", *arguments]


def _venv_commands(lock: Path) -> list[list[str]]:
    return [[sys.executable, "-m", "venv", "--clear", str(VENV)], pip("--requirement", str(lock))]


def _command_line_commands() -> list[list[str]]:
    return [[str(VENV / "bin" / "python"), str(ROOT / "local" / "command_line.py")]]


def _node_commands(*flags: str) -> list[list[str]]:
    npm = shutil.which("npm")
    if npm is None:
        raise InstallError("npm is needed (it comes with Node.js) and is not on PATH")
    # No package needs its install script, because packages of their own bring the binaries.
    quiet = ("--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error")
    return [[npm, "ci", *quiet, *flags]]


def _worker_commands() -> list[list[str]]:
    target = ROOT / "python_modules"
    shutil.rmtree(target, ignore_errors=True)
    requirement = ("--requirement", str(ROOT / "requirements" / "worker.txt"))
    return [pip("--no-deps", "--no-compile", "--target", str(target), *_WORKER_PLATFORM, *requirement)]


def _bundle_commands() -> list[list[str]]:
    return [[str(VENV / "bin" / "python"), "-m", "local.pyodide_bundle"]]


def _page_commands() -> list[list[str]]:
    return [[str(VENV / "bin" / "python"), "-m", "local.page_libraries"]]


REQUIREMENTS = ROOT / "requirements"
NPM_LOCK = ROOT / "package-lock.json"

_RUN_VENV = Part(
    VENV,
    REQUIREMENTS / "run.txt",
    "Python packages for the commands",
    lambda: _venv_commands(REQUIREMENTS / "run.txt"),
    whole=REQUIREMENTS / "dev.txt",
)
_DEV_VENV = Part(
    VENV,
    REQUIREMENTS / "dev.txt",
    "Python packages for commands, tests and checks",
    lambda: _venv_commands(REQUIREMENTS / "dev.txt"),
    holds=_RUN_VENV,
)
_RUN_NODE = Part(
    ROOT / "node_modules",
    NPM_LOCK,
    "workerd and Node packages",
    lambda: _node_commands("--omit=dev"),
    whole=NPM_LOCK,
)
_DEV_NODE = Part(
    ROOT / "node_modules", NPM_LOCK, "workerd, Node packages and those of the tests", _node_commands, holds=_RUN_NODE
)
_COMMAND_LINE = Part(
    VENV / "bin" / "onceover", ROOT / "cli" / "pyproject.toml", "the command line", _command_line_commands
)
_WORKER = (
    Part(ROOT / "python_modules", REQUIREMENTS / "worker.txt", "Python packages for the Worker", _worker_commands),
    Part(
        ROOT / ".build" / "pyodide",
        ROOT / "local" / "pyodide_bundle.py",
        "the Pyodide bundle for workerd",
        _bundle_commands,
    ),
)
_PAGE = Part(ROOT / "public" / "vendor" / "markdown", NPM_LOCK, "the dashboard's libraries", _page_commands)
RUN = (_RUN_VENV, _COMMAND_LINE, _RUN_NODE, *_WORKER, _PAGE)
DEV = (_DEV_VENV, _COMMAND_LINE, _DEV_NODE, *_WORKER, _PAGE)


def _digest(lock: Path) -> str:
    return hashlib.sha256(lock.read_bytes()).hexdigest()


def _mark(part: Part) -> str:
    """Return the line that a part's stamp has when the part is installed."""
    return f"{_digest(part.lock)} run" if part.whole else _digest(part.lock)


def _stamp(part: Part) -> Path:
    return STAMPS / part.folder.name.removeprefix(".")


def is_current(part: Part) -> bool:
    """Whether a part is installed as its lock file says, by itself or as a part of a larger installation."""
    # A .venv links to the Python that made it, which may be gone, or missing in a container.
    proof = VENV / "bin" / "python" if part.folder == VENV else part.folder
    if not proof.exists() or not _stamp(part).is_file():
        return False
    wanted = {_mark(part), *([_digest(part.whole)] if part.whole else [])}
    return not wanted.isdisjoint(_stamp(part).read_text().splitlines())


def _show_progress(label: str, done: threading.Event) -> None:
    """Show which part is being installed and for how long: in one redrawn line on a terminal, otherwise in lines.

    The progress goes to standard error, because the standard output of some commands is their result, as in
    `KEY=$(make -s key)`.
    """
    started = time.monotonic()
    if not sys.stderr.isatty():
        _say(f"Installing {label} …")
        while not done.wait(_QUIET_REPORT_SECONDS):
            _say(f"  still installing, {time.monotonic() - started:.0f} s")
        return
    for spinner in itertools.cycle("|/-\\"):
        _say(f"\r{spinner} Installing {label}, {time.monotonic() - started:.0f} s ", end="")
        if done.wait(0.2):
            _say("\r\033[K", end="")  # The caller prints the result.
            return


def _say(text: str, end: str = "\n") -> None:
    print(text, end=end, file=sys.stderr, flush=True)


def _install(part: Part) -> None:
    stamp = _stamp(part)
    stamp.unlink(missing_ok=True)  # Without its stamp, the part counts as missing until its installation is complete.
    commands = part.commands()
    started = time.monotonic()
    done = threading.Event()
    progress = threading.Thread(target=_show_progress, args=(part.label, done), daemon=True)
    progress.start()
    try:
        for command in commands:
            result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
            if result.returncode != 0:
                said = (result.stderr.strip() or result.stdout.strip())[-_SAID_MOST:]
                raise InstallError(f"could not install {part.label}\n{said}")
    except OSError as error:
        raise InstallError(f"could not install {part.label}: {error}") from None
    except KeyboardInterrupt:
        raise Interrupted(part.label) from None
    finally:
        done.set()
        progress.join()
    stamp.parent.mkdir(parents=True, exist_ok=True)
    stamp.write_text("\n".join([_mark(part), *([_mark(part.holds)] if part.holds else [])]))
    _say(f"Installed {part.label} in {time.monotonic() - started:.0f} s")


def main(arguments: Sequence[str]) -> int:
    """Install the parts that commands need, and with `--dev` those of tests and checks. Returns the exit status."""
    return fill(DEV if "--dev" in arguments else RUN)


def fill(parts: Sequence[Part]) -> int:
    """Install the parts that are missing or out of date, and print errors. Returns the exit status."""
    try:
        for part in parts:
            if not is_current(part):
                _install(part)
    except (InstallError, NodeMissing) as error:
        _say(f"error: {error}")
        _say("Earlier installations stay. Correct this and run the command again: it continues here.")
        return 1
    except Interrupted as part:
        _say(f"Interrupted while installing {part}. The next run repeats that part; earlier installations stay.")
        return 130
    except KeyboardInterrupt:
        _say("Interrupted. Earlier installations stay.")
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
