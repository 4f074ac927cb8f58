"""The program `onceover`: its commands, and what errors, closed pipes and Ctrl-C do to a command."""

import signal
import sys
from collections.abc import Sequence
from functools import cache, partial
from typing import Annotated

import typer

from . import __version__, terminal
from .commands import batch, changes, details, doctor, keys, resume, tasks, tenants, top, verify, webhooks, work
from .errors import CommandError
from .exits import Exit

_STATUSES = (
    "Exit status: 0 completed, 1 could not run, 2 the task failed, 3 truncated or missing parts, "
    "4 deadline or budget, 5 cancelled, 130 interrupted (the task runs on)."
)

app = typer.Typer(
    name="onceover",
    no_args_is_help=True,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    help=f"Submit long texts to an onceover deployment, watch them, and operate it. {_STATUSES}",
    epilog="[bold]Examples[/bold]\n\n  onceover run book.txt > result.md\n\n  onceover run --help",
)
for module in (work, batch, tasks, details, changes):
    module.register(app)
app.add_typer(keys.app, name="keys")
app.add_typer(webhooks.app, name="webhooks")
app.add_typer(tenants.app, name="tenant")
doctor.register(app)
resume.register(app)
top.register(app)
verify.register(app)


# The parser of all commands is built once for a process, from the signatures of their functions.
_command = cache(partial(typer.main.get_command, app))


def _show_version(is_asked: bool) -> None:
    if is_asked:
        terminal.write(f"onceover {__version__}\n")
        raise typer.Exit


@app.callback()
def options(
    url: Annotated[
        str | None,
        typer.Option(
            "--url",
            show_default="ONCEOVER_URL, else http://127.0.0.1:8787",
            help="The deployment; also allowed after the command.",
        ),
    ] = None,
    key: Annotated[
        str | None,
        typer.Option(
            "--key",
            show_default="ONCEOVER_KEY",
            help="An API key, here or after the command. Others can see it (`ps`): prefer the variable.",
        ),
    ] = None,
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    """Take the options of the program itself, which commands read from the context with `flags.connect`."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command, print an error on standard error, and return the exit status."""
    terminal.prepare()
    given = list(sys.argv[1:] if arguments is None else arguments)
    said = ""
    try:
        done = _command().main(args=given, prog_name="onceover", standalone_mode=False)
        return int(done) if isinstance(done, int) else Exit.COMPLETED
    except terminal.OutputClosed:
        return Exit.COMPLETED
    except SystemExit as end:
        # Shell completion raises SystemExit, and so does help that is written to a closed pipe.
        is_pipe = isinstance(end.__context__, BrokenPipeError)
        return end.code if isinstance(end.code, int) and not is_pipe else Exit.COMPLETED
    except (KeyboardInterrupt, typer.Abort):
        return Exit.INTERRUPTED
    except (CommandError, terminal.OutputFailed) as error:
        said = str(error)
    except OSError as error:
        # The library rich writes the help, which fails on a full disk.
        said = error.strerror or str(error)
    except UnicodeEncodeError:
        said = "an argument is not UTF-8"
    except typer.TyperException as error:
        said = _misused(error)
    if said:
        terminal.say(f"error: {said}")
    return Exit.COULD_NOT_RUN


def _misused(error: typer.TyperException) -> str:
    """Return what is wrong with a command line, empty if the help was shown instead."""
    context = getattr(error, "ctx", None)
    said = error.format_message()
    path = "onceover" if context is None else context.command_path
    if getattr(error, "option_name", "") == "--output":
        return f"{path} writes no file; for JSON on standard output use -o json"
    return f"{said}\nTry `{path} --help`." if said else ""


def run() -> None:
    """Run the program, and exit with its exit status."""
    status = main()
    terminal.close()
    # Python removes its signal handlers while it exits. An interrupt during Python's exit would kill the process, and
    # its exit status would be lost.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    sys.exit(status)
