"""Writes to the terminal: data to standard output, everything else to standard error."""

import json
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TextIO

from rich.cells import cell_len
from rich.console import Console
from rich.table import Table

from .shapes import Json

_NARROWEST = 20
_WIDEST = 1_000
_GAP = 2  # columns of the terminal between two cells
_CUT_LEAST = 12  # A shortened cell keeps so many columns.
# Control characters, and the visible characters that replace them: a model's output must not move the cursor or rename
# the terminal's window.
_CONTROLS = {code: 0x2400 + code if code < 0x20 else 0xFFFD for code in (*range(0x20), *range(0x7F, 0xA0))}
for _kept in (0x09, 0x0A):
    del _CONTROLS[_kept]
# Characters that reverse the order of the text after them on the screen, and so could make a command look like another
# one.
_CONTROLS |= dict.fromkeys((*range(0x202A, 0x202F), *range(0x2066, 0x206A)), 0xFFFD)


class OutputClosed(Exception):
    """Raised if the reader of standard output has closed it, which is no error."""


class OutputFailed(Exception):
    """Raised if standard output cannot be written. The exception's message says why."""


def prepare() -> None:
    """Let both streams write UTF-8 in any locale, and replace characters that cannot be encoded.

    The text for a stream that the parent process has closed is dropped.
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
    """Write text unchanged, such as text with colours. Raises `OutputClosed` and `OutputFailed`."""
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
        return  # standard error is closed, which must not stop the work


def harmless(text: str) -> str:
    """Replace control characters in a text by visible characters."""
    return text.translate(_CONTROLS)


def is_terminal(stream: TextIO) -> bool:
    """Whether a stream is a terminal on which the cursor can be moved."""
    return stream.isatty() and os.environ.get("TERM") != "dumb"


def console(stream: TextIO) -> Console:
    """Return the console of the library rich for a stream, as wide as the terminal."""
    made = Console(file=stream, highlight=False, emoji=False, markup=False, soft_wrap=False)
    made.width = max(made.width, _NARROWEST)
    return made


def write_table(headings: list[str], rows: list[list[str]]) -> None:
    """Write rows to standard output: a table on a terminal, lines with tabs in a pipe."""
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
    # If the table is wider than the terminal, each row's id gets its own line, and the other cells follow below it,
    # because an id that is cut into two lines cannot be copied.
    for first, *others in rows:
        facts = (f"{heading.lower()} {cell}" for heading, cell in zip(headings[1:], others, strict=True) if cell)
        write(f"{first}\n" + "".join(f"  {fact}\n" for fact in facts))


def write_list(headings: list[str], rows: list[list[str]], order: Sequence[str], cut: str, *, is_wide: bool) -> None:
    """Write rows to standard output, each on one line: a table on a terminal, lines with tabs in a pipe.

    A terminal shows the columns of `order` that fit, the first ones before the others, and shortens the cells of the
    column `cut`. With `is_wide` it shows all columns, and may break the lines.
    """
    if not is_terminal(sys.stdout):
        write_table(headings, rows)
        return
    own = console(sys.stdout)
    if is_wide:
        own.width = _WIDEST
    left, widths = own.width + _GAP, dict[str, int]()
    for heading in order:
        cells = [row[headings.index(heading)] for row in rows] if heading in headings else []
        widest = max(map(cell_len, (heading, *cells)))
        least = min(widest, _CUT_LEAST) if heading == cut else widest
        if any(cells) and (least + _GAP <= left or not widths):
            widths[heading] = widest
            left -= least + _GAP
    if cut in widths:
        widths[cut] = min(widths[cut], _CUT_LEAST + left)
    own.width = max(own.width, *widths.values(), _NARROWEST)
    table = Table(box=None, pad_edge=False, show_edge=False)
    shown = [at for at, heading in enumerate(headings) if heading in widths]
    for at in shown:
        table.add_column(headings[at], no_wrap=True, width=widths[headings[at]])
    for row in rows:
        table.add_row(*(harmless(row[at]) for at in shown))
    with _writing():
        own.print(table)
        sys.stdout.flush()


def draw(what: Any) -> None:
    """Draw an object of the library rich on standard output. Raises `OutputClosed` and `OutputFailed`."""
    with _writing():
        console(sys.stdout).print(what)
        sys.stdout.flush()


def close() -> None:
    """Write the buffered text to standard output, if it still has a reader."""
    try:
        sys.stdout.flush()
    except OSError:
        # The Python interpreter flushes standard output again when it exits. If standard output is redirected to the
        # null device, there is no second error about the same pipe or disk.
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())
        os.close(nowhere)
