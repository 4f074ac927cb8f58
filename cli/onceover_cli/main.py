"""The program: its commands, and what every one of them does with errors, closed pipes and Ctrl-C."""

import sys
from collections.abc import Sequence
from typing import Annotated

import typer

from . import __version__, terminal
from .commands import changes, doctor, keys, tasks, top, webhooks, work
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
    help=f"Submit long texts to an onceover deployment, watch them, and look after it. {_STATUSES}",
    epilog="[bold]Examples[/bold]\n\n  onceover run book.txt > result.md\n\n  onceover run --help",
)
for module in (work, tasks, changes):
    module.register(app)
app.add_typer(keys.app, name="keys")
app.add_typer(webhooks.app, name="webhooks")
doctor.register(app)
top.register(app)


def _show_version(is_asked: bool) -> None:
    if is_asked:
        terminal.write(f"onceover {__version__}\n")
        raise typer.Exit


@app.callback()
def options(
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    """Take the options of the program itself."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command. Returns the exit status, and says on standard error what went wrong."""
    terminal.prepare()
    command = typer.main.get_command(app)
    try:
        done = command.main(
            args=list(sys.argv[1:] if arguments is None else arguments), prog_name="onceover", standalone_mode=False
        )
    except CommandError as error:
        terminal.say(f"error: {error}")
        return Exit.COULD_NOT_RUN
    except typer.TyperException as error:
        context = getattr(error, "ctx", None)
        path = "onceover" if context is None else context.command_path
        said = error.format_message()
        terminal.say(f"error: {said}\nTry `{path} --help`." if said else "")
        return Exit.COULD_NOT_RUN
    except terminal.OutputClosed:
        return Exit.COMPLETED
    except (KeyboardInterrupt, typer.Abort):
        return Exit.INTERRUPTED
    except UnicodeEncodeError:
        terminal.say("error: an argument is not UTF-8")
        return Exit.COULD_NOT_RUN
    return int(done) if isinstance(done, int) else Exit.COMPLETED


def run() -> None:
    """Be the program."""
    sys.exit(main())
