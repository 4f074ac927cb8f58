"""The two streams: data on standard output, everything else on standard error."""

import json
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TextIO

from rich.console import Console
from rich.table import Table

from .shapes import Json

_NARROWEST = 20
_WIDEST = 1_000
# Characters that a terminal obeys. A model's output must not move the cursor or rename the window.
_CONTROLS = {code: 0x2400 + code if code < 0x20 else 0xFFFD for code in (*range(0x20), *range(0x7F, 0xA0))}
for _kept in (0x09, 0x0A):
    del _CONTROLS[_kept]
# These change the order of the following text on screen, which could disguise a command as another.
_CONTROLS |= dict.fromkeys((*range(0x202A, 0x202F), *range(0x2066, 0x206A)), 0xFFFD)


class OutputClosed(Exception):
    """The reader of standard output has closed it. This is no error."""


class OutputFailed(Exception):
    """Standard output refuses what is written. The message says why."""


def prepare() -> None:
    """Make both streams write UTF-8 in any locale, and replace characters that cannot be encoded.

    A stream that the parent process closed is None. Its text is dropped.
    """
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:
            setattr(sys, name, Path(os.devnull).open("w", encoding="utf-8"))  # noqa: SIM115 - open to the end
    for stream in (sys.stdout, sys.stderr):
        reconfigure = getattr(stream, "reconfigure", None)
        if reconfigure is not None:
            reconfigure(encoding="utf-8", errors="replace")


def write(text: str) -> None:
    """Write data to standard output at once. Raises `OutputClosed` and `OutputFailed`."""
    write_plain(harmless(text) if sys.stdout.isatty() else text)


def write_plain(text: str) -> None:
    """Write text that may contain our own colours. Raises `OutputClosed` and `OutputFailed`."""
    with _writing():
        sys.stdout.write(text)
        sys.stdout.flush()


@contextmanager
def _writing() -> Iterator[None]:
    """Turn errors of a write to standard output, such as a full disk, into errors that the user can read."""
    try:
        yield
    except BrokenPipeError:
        raise OutputClosed from None
    except OSError as error:
        raise OutputFailed(f"standard output cannot be written: {error.strerror}") from None


def write_json(value: Json) -> None:
    """Write one JSON document: indented on a terminal, one line in a pipe."""
    indent = 2 if is_terminal(sys.stdout) else None
    write(json.dumps(value, ensure_ascii=False, indent=indent) + "\n")


def say(text: str) -> None:
    """Write a line to standard error."""
    try:
        sys.stderr.write(harmless(text) + "\n")
        sys.stderr.flush()
    except OSError:
        return  # standard error is closed, and the work continues


def harmless(text: str) -> str:
    """Replace control characters by visible symbols."""
    return text.translate(_CONTROLS)


def is_terminal(stream: TextIO) -> bool:
    """Whether a stream is a terminal on which the cursor can be moved."""
    return stream.isatty() and os.environ.get("TERM") != "dumb"


def console(stream: TextIO) -> Console:
    """Return what draws on a stream: as wide as the terminal, without colours if NO_COLOR is set."""
    made = Console(file=stream, highlight=False, emoji=False, markup=False, soft_wrap=False)
    made.width = max(made.width, _NARROWEST)
    return made


def write_table(headings: list[str], rows: list[list[str]]) -> None:
    """Write rows: as a table as wide as the terminal, or as lines with tabs in a pipe."""
    if not is_terminal(sys.stdout):
        write("".join("\t".join(cell.replace("\t", " ") for cell in row) + "\n" for row in [headings, *rows]))
        return
    table = Table(box=None, pad_edge=False, show_edge=False)
    for heading in headings:
        table.add_column(heading, no_wrap=True)
    for row in rows:
        table.add_row(*(harmless(cell) for cell in row))
    own = console(sys.stdout)
    if own.measure(table, options=own.options.update(max_width=_WIDEST)).maximum <= own.width:
        draw(table)
        return
    # An id cut in two cannot be copied, so it gets a line of its own with the rest below.
    for first, *others in rows:
        facts = (f"{heading.lower()} {cell}" for heading, cell in zip(headings[1:], others, strict=True) if cell)
        write(f"{first}\n" + "".join(f"  {fact}\n" for fact in facts))


def draw(what: Any) -> None:
    """Draw an object of rich on standard output. Raises `OutputClosed` and `OutputFailed`."""
    with _writing():
        console(sys.stdout).print(what)
        sys.stdout.flush()


def close() -> None:
    """Write the buffered text, if some program still reads it."""
    try:
        sys.stdout.flush()
    except OSError:
        # The interpreter's own last flush must go nowhere. Otherwise the flush would complain about the same pipe or
        # disk again.
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())
        os.close(nowhere)
