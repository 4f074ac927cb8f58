"""The commands `run`, `submit` and `watch`: submit a text, and follow its task to the end."""

from functools import partial

import typer

from .. import submission, terminal
from ..connection import ApiClient
from ..errors import CommandError, ServerRefused
from ..exits import Exit, exit_of
from ..following import Following
from ..interruption import Interrupts, explained
from ..progress import TaskDisplay, dollars, last_line
from ..shapes import Json, is_terminal, many
from ..texts import asked
from .flags import Form, Key, OutputForm, Patience, Quiet, TaskId, Tenant, Url, connect, examples, where
from .task_flags import (
    ChunkChars,
    ChunkOverlap,
    ContextChars,
    Deadline,
    DryRun,
    Gaps,
    GapShare,
    Headings,
    IdempotencyKey,
    InputFile,
    Instructions,
    Join,
    MaxCalls,
    MaxCost,
    Metadata,
    Model,
    ModelOption,
    NotBefore,
    OutputTokens,
    ReduceFlag,
    Schema,
    Source,
    Strict,
    Temperature,
    text_of,
    wanted_of,
)

# How many seconds a command whose output has no reader any more waits for its task's end, to report it.
_LAST_LOOK_SECONDS = "2"


def run(
    context: typer.Context,
    source: Source = None,
    instructions: Instructions = None,
    reduce: ReduceFlag = None,
    chunk_chars: ChunkChars = None,
    chunk_overlap: ChunkOverlap = None,
    context_chars: ContextChars = None,
    headings: Headings = None,
    model: Model = None,
    max_output_tokens: OutputTokens = None,
    temperature: Temperature = None,
    model_option: ModelOption = None,
    metadata: Metadata = None,
    deadline: Deadline = None,
    max_cost: MaxCost = None,
    not_before: NotBefore = None,
    max_calls: MaxCalls = None,
    schema: Schema = None,
    strict: Strict = True,
    join: Join = None,
    gaps: Gaps = False,
    max_gap_share: GapShare = None,
    input_file: InputFile = None,
    idempotency_key: IdempotencyKey = None,
    dry_run: DryRun = False,
    quiet: Quiet = False,
    patience: Patience = "10m",
    form: OutputForm = Form.TEXT,
    tenant: Tenant = None,
    url: Url = None,
    key: Key = None,
) -> None:
    """Submit a text, show progress and outputs as they come, and print the result."""
    wanted, text = wanted_of(context), text_of(source, input_file)
    limit = submission.seconds("--patience", patience)
    with connect(context, url, key, tenant=tenant) as api:
        if dry_run:
            _show_plan(asked(api, text, wanted, partial(submission.plan, api), terminal.say), form)
            return
        submit_it = partial(_submit, api, key=idempotency_key, is_quiet=quiet)
        task = asked(api, text, wanted, submit_it, terminal.say)
        raise typer.Exit(_follow(api, task, form, is_quiet=quiet, patience_seconds=limit))


def submit(
    context: typer.Context,
    source: Source = None,
    instructions: Instructions = None,
    reduce: ReduceFlag = None,
    chunk_chars: ChunkChars = None,
    chunk_overlap: ChunkOverlap = None,
    context_chars: ContextChars = None,
    headings: Headings = None,
    model: Model = None,
    max_output_tokens: OutputTokens = None,
    temperature: Temperature = None,
    model_option: ModelOption = None,
    metadata: Metadata = None,
    deadline: Deadline = None,
    max_cost: MaxCost = None,
    not_before: NotBefore = None,
    max_calls: MaxCalls = None,
    schema: Schema = None,
    strict: Strict = True,
    join: Join = None,
    gaps: Gaps = False,
    max_gap_share: GapShare = None,
    input_file: InputFile = None,
    idempotency_key: IdempotencyKey = None,
    dry_run: DryRun = False,
    form: OutputForm = Form.TEXT,
    tenant: Tenant = None,
    url: Url = None,
    key: Key = None,
) -> None:
    """Submit a text, and print the id of its task."""
    wanted, text = wanted_of(context), text_of(source, input_file)
    with connect(context, url, key, tenant=tenant) as api:
        if dry_run:
            _show_plan(asked(api, text, wanted, partial(submission.plan, api), terminal.say), form)
            return
        task = asked(api, text, wanted, partial(_submit, api, key=idempotency_key, is_quiet=True), terminal.say)
        if form is Form.JSON:
            terminal.write_json(task)
        else:
            terminal.write(f"{task['id']}\n")


def watch(
    context: typer.Context,
    task_id: TaskId,
    quiet: Quiet = False,
    patience: Patience = "10m",
    form: OutputForm = Form.TEXT,
    tenant: Tenant = None,
    url: Url = None,
    key: Key = None,
) -> None:
    """Follow a task to its end: show progress and outputs as they come, then the result."""
    limit = submission.seconds("--patience", patience)
    with connect(context, url, key, tenant=tenant) as api:
        task = api.get(f"/api/tasks/{task_id}")
        raise typer.Exit(_follow(api, task, form, is_quiet=quiet, patience_seconds=limit))


def _submit(api: ApiClient, body: Json, *, key: str | None, is_quiet: bool) -> Json:
    """Submit a task. Ctrl-C waits for the answer, because only the answer has the id of a task that costs money."""
    own = key or submission.fresh_key()
    interrupts = Interrupts()
    first = (
        "waiting for the answer, which has the task's id. Ctrl-C again leaves at once. An accepted task then "
        f"runs on; the same command with --idempotency-key {own} finds it"
    )
    with interrupts.held(first):
        task = submission.submit(api, body, own, terminal.say)
    if not is_quiet:
        total = task["progress"]["total"]
        chunks = "the text of a file" if total is None else many(total, "chunk")
        terminal.say(f"Submitted {task['id']}: {chunks} by the {task['route']} route")
    if interrupts.is_interrupted:
        _say_goodbye(api, task["id"])
        raise typer.Exit(Exit.INTERRUPTED)
    return task


def _follow(api: ApiClient, task: Json, form: Form, *, is_quiet: bool, patience_seconds: float) -> Exit:
    """Follow a task to its end, and show its progress and its result. Returns the exit status."""
    # Chunks' outputs are printed as they come only if the result consists of these outputs. A merged result, or a value
    # joined by a schema, does not consist of the chunks' outputs.
    request = task.get("request") or {}
    streams = form is Form.TEXT and request.get("reduce") != "merge" and request.get("outputSchema") is None
    task_id = str(task["id"])
    second = f"leaving at once. The task runs on; watch it: onceover watch {task_id}{where(api)}"
    try:
        with explained(second), TaskDisplay(streams=streams, is_quiet=is_quiet) as view:
            view.progress(task)
            if not is_terminal(task):
                following = Following(api, task_id, view, wants_chunks=streams, patience_seconds=patience_seconds)
                task = following.to_the_end()
            if form is Form.TEXT:
                view.finish(task)
    except KeyboardInterrupt:
        _say_goodbye(api, task_id)
        return Exit.INTERRUPTED
    except terminal.OutputClosed:
        if is_terminal(task):
            raise
        return _unread(api, task_id, is_quiet=is_quiet)
    except CommandError as error:
        # After an answer 401, 403 or 404 it is unknown whether the task runs, so the hint that it runs on is left out.
        if not (isinstance(error, ServerRefused) and error.status in {401, 403, 404}):
            terminal.say(f"The task runs on without this command. Watch it: onceover watch {task_id}{where(api)}")
        raise
    if form is Form.JSON:
        terminal.write_json(task)
    if not is_quiet:
        terminal.say(last_line(task))
    return exit_of(task)


def _unread(api: ApiClient, task_id: str, *, is_quiet: bool) -> Exit:
    """End the command after the reader of its output has gone. Report the task's end if it comes within 2 s.

    A closed pipe alone does not make the command fail. If the task has ended, its end still decides the exit status.
    """
    try:
        task = api.get(f"/api/tasks/{task_id}", {"wait": _LAST_LOOK_SECONDS})
    except CommandError:
        task = None
    if task is not None and is_terminal(task):
        if not is_quiet:
            terminal.say(last_line(task))
        return exit_of(task)
    if not is_quiet:
        _say_goodbye(api, task_id)
    return Exit.COMPLETED


def _say_goodbye(api: ApiClient, task_id: str) -> None:
    also = where(api)
    terminal.say(f"\nThe task runs on, and its calls are billed. Stop it: onceover cancel {task_id}{also}")
    terminal.say(f"Watch it: onceover watch {task_id}{also}")


def _cost(plan: Json) -> str:
    """Return what a plan costs at least and at most, as far as it is known."""
    cost = plan.get("cost")
    if cost is None:
        return ""
    return f", from {dollars(cost['least'])}" + (f" to {dollars(cost['most'])}" if cost["most"] else "")


def _show_plan(plan: Json, form: Form) -> None:
    if form is Form.JSON:
        terminal.write_json(plan)
        return
    terminal.write(
        f"{many(len(plan['chunks']), 'chunk')}, {many(plan['minimumCalls'], 'model call')} without failures, "
        f"about {plan['estimatedTokens']} tokens in, {plan['characters']} characters, model "
        f"{plan['request']['model']}{_cost(plan)}\n"
    )


def register(app: typer.Typer) -> None:
    """Add the commands `run`, `submit` and `watch` to the program."""
    app.command(
        epilog=examples(
            "onceover run examples/english.txt",
            "pdftotext report.pdf - | onceover run - -i 'List the risks that are named'",
            "onceover run book.txt --reduce merge --deadline 2h --max-calls 500 > summary.md",
            "onceover run book.txt --schema people.json --join /title=first --gaps",
            "onceover run book.txt --dry-run",
            "onceover run --input-file file-0123456789abcdef0123456789abcdef",
        )
    )(run)
    app.command(
        epilog=examples(
            "ID=$(onceover submit book.txt)",
            "onceover submit book.txt --metadata book=emma --idempotency-key emma-1",
        )
    )(submit)
    app.command(
        epilog=examples("onceover watch 01a21072-7b6e-7d39-a6a3-5f4ad5d0a2a1", "onceover watch $ID -o json | jq .usage")
    )(watch)
