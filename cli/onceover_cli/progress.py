"""Displays a running task: a progress bar, the outputs as they come, and a last line."""

import sys
import time
from contextlib import AbstractContextManager
from types import TracebackType
from typing import Self

from rich.progress import BarColumn, MofNCompleteColumn, Progress, ProgressColumn, Task, TextColumn
from rich.text import Text

from . import terminal
from .shapes import Json, gaps_text, many, output_text

_NARROW_COLUMNS = 60
_WAITS = {
    "queued": "queued",
    "rate_limited": "rate limited",
    "model_away": "the model is away",
    "backoff": "a call failed, trying again",
    "lease": "its worker died",
    "database": "the database is slow",
    "quota": "an allowance of the model or the database is used up",
    "scheduled": "it is to start later",
    "cost_limit": "its tenant's month is used up, or its next call has no price",
}


class _Pace(ProgressColumn):
    """The column with the chunks a second and the time left, as soon as both can be estimated."""

    def render(self, task: Task) -> Text:
        """Draw the column with the pace of a task."""
        speed = task.finished_speed or task.speed
        if not speed:
            return Text(f"{_clock(task.elapsed or 0)}")
        rate = f"{speed:.1f}/s" if speed >= 1 else f"{speed * 60:.1f}/min"
        left = "" if task.time_remaining is None else f", {_clock(task.time_remaining)} left"
        return Text(rate + left)


class TaskDisplay:
    """The display of one task, and a context manager that shows and removes the progress bar.

    `streams` says that the outputs of chunks are printed as they come, which is right only for a result that
    concatenates the outputs.
    """

    def __init__(self, *, streams: bool, is_quiet: bool = False) -> None:
        self.streams = streams
        self._is_quiet = is_quiet
        self._written: list[str] = []
        self._bar: Progress | None = None
        self._waits = ""
        self._began = time.monotonic()
        if terminal.is_terminal(sys.stderr) and not is_quiet:
            console = terminal.console(sys.stderr)
            columns: list[ProgressColumn] = [TextColumn("{task.description}"), MofNCompleteColumn(), _Pace()]
            if console.width >= _NARROW_COLUMNS:
                columns.insert(1, BarColumn(bar_width=None))
            self._bar = Progress(
                *columns,
                console=console,
                transient=True,
                expand=True,
                refresh_per_second=4,
                redirect_stdout=False,
                redirect_stderr=False,
            )
            self._row = self._bar.add_task("pending", total=None)

    def __enter__(self) -> Self:
        if self._bar is not None:
            self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._bar is not None:
            self._bar.stop()

    def progress(self, news: Json) -> None:
        """Show the task's status and its number of completed chunks in the bar."""
        if self._bar is None:
            return
        counts = news.get("progress", news)
        wait = news.get("waitingFor") or {}
        if "status" in news:
            self._waits = _WAITS.get(str(wait.get("reason")), "") if wait else str(news["status"])
        done, total = counts.get("completed"), counts.get("total")
        label = self._waits or "processing"
        if done is not None and done == total and not news.get("terminal"):
            label = "merging"
        self._bar.update(self._row, description=label, completed=done, total=total)

    def chunk(self, chunk: Json) -> None:
        """Print a chunk's output if the display prints outputs as they come."""
        output = chunk.get("output")
        if self.streams and output is not None:
            self._write(output)

    def note(self, text: str) -> None:
        """Print a note on standard error, above the bar."""
        with _Aside(self._bar):
            terminal.say(f"onceover: {text}")

    def aside(self) -> AbstractContextManager[object]:
        """Hide the bar while the caller writes to the same terminal."""
        return _Aside(self._bar)

    def finish(self, task: Json) -> None:
        """Print the part of the result that was not printed yet."""
        if self._bar is not None:
            self._bar.stop()
            self._bar = None
        text = output_text(task)
        if text is None:
            return
        if not self._written:
            self._write(text)
            return
        before = "\n\n".join(self._written)
        if text == before:
            return
        if text.startswith(before + "\n\n"):
            self._write(text[len(before) + 2 :])
            return
        self.note("the outputs above are not the result; the result follows")
        self._write(text)

    def _write(self, output: str) -> None:
        """Print one output, after a blank line if it is not the first one."""
        with _Aside(self._bar):
            terminal.write(("\n" if self._written else "") + output + "\n")
        self._written.append(output)


class _Aside:
    """Hides the progress bar while other text is written to the same terminal."""

    def __init__(self, bar: Progress | None) -> None:
        self._bar = bar

    def __enter__(self) -> None:
        if self._bar is not None:
            self._bar.stop()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._bar is not None and kind is None:
            self._bar.start()


def cost_text(usage: Json) -> list[str]:
    """Return what a bill's calls cost, nothing if the model has no price or the deployment is of an earlier release."""
    cost = usage.get("cost")
    if cost is None:
        return []
    doubt = f" (and {dollars(cost['inDoubt'])} in doubt)" if float(cost["inDoubt"]) else ""
    return [dollars(cost["amount"]) + doubt]


def dollars(amount: str) -> str:
    """Write an amount with at least two decimals, and no more zeros behind them."""
    whole, _, decimals = amount.partition(".")
    return f"${whole}.{decimals.rstrip('0').ljust(2, '0')}"


def last_line(task: Json) -> str:
    """Return one line that says how a task ended and what it cost."""
    progress, usage = task["progress"], task["usage"]
    parts = [
        f"{progress['completed']} of {progress['total'] or 0} {'lines' if task.get('kind') == 'batch' else 'chunks'}",
        many(usage["modelCalls"], "model call") + (f" ({usage['inDoubt']} in doubt)" if usage["inDoubt"] else ""),
        f"{usage['inputTokens']} + {usage['outputTokens']} tokens",
        *cost_text(usage),
    ]
    if progress.get("truncated"):
        parts.insert(1, f"{progress['truncated']} cut off by the model")
    if gaps := gaps_text(task):
        parts.insert(1, gaps)
    if missed := usage.get("quotesNotFound"):
        parts.insert(1, f"{many(missed, 'quote')} not found in the text")
    error = task.get("error")
    cause = "" if error is None else f": {error['message']} ({error['code']})"
    return f"{task['status']}{cause}. {', '.join(parts)}."


def last_line_of_batch(batch: Json) -> str:
    """Return one line that says how a batch ended and what it cost."""
    counts, calls, tokens = batch["request_counts"], batch["onceover"]["usage"], batch["usage"]
    parts = [
        f"{counts['completed']} of {many(counts['total'], 'line')} answered",
        *([f"{counts['failed']} failed"] if counts["failed"] else []),
        many(calls["modelCalls"], "model call") + (f" ({calls['inDoubt']} in doubt)" if calls["inDoubt"] else ""),
        f"{tokens['input_tokens']} + {tokens['output_tokens']} tokens",
        *cost_text(calls),
    ]
    return f"{batch['status']}. {', '.join(parts)}."


def _clock(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
