"""The flags of `run` and `submit` that describe the task."""

from enum import StrEnum
from typing import Annotated

import typer

from .. import submission, terminal, texts
from ..errors import CommandError
from ..submission import Wanted
from ..texts import Text, Uploaded


class ReduceChoice(StrEnum):
    """The values of `--reduce`: how the chunks' outputs become one result."""

    CONCAT = "concat"
    MERGE = "merge"
    NONE = "none"


_WANTED = "The task"
Source = Annotated[str | None, typer.Argument(metavar="[FILE|-]", help="A UTF-8 text; - reads it from standard input.")]
InputFile = Annotated[
    str | None,
    typer.Option(
        "--input-file", metavar="ID", help="The id of an uploaded text, in place of FILE.", rich_help_panel=_WANTED
    ),
]
Instructions = Annotated[
    str | None,
    typer.Option("-i", "--instructions", help="What to do with each chunk; @FILE reads it.", rich_help_panel=_WANTED),
]
ReduceFlag = Annotated[
    ReduceChoice | None, typer.Option("--reduce", help="How to combine the chunks' outputs.", rich_help_panel=_WANTED)
]
ChunkChars = Annotated[
    int | None, typer.Option("--chunk-chars", min=1, help="The most characters in a chunk.", rich_help_panel=_WANTED)
]
ChunkOverlap = Annotated[
    int | None,
    typer.Option(
        "--chunk-overlap", min=0, help="Characters of the previous chunk that are repeated.", rich_help_panel=_WANTED
    ),
]
ContextChars = Annotated[
    int | None,
    typer.Option(
        "--context-chars", min=0, help="Characters before a part that go along as context.", rich_help_panel=_WANTED
    ),
]
Headings = Annotated[
    bool | None,
    typer.Option(
        "--headings/--no-headings", help="Whether the headings above a part go along.", rich_help_panel=_WANTED
    ),
]
Model = Annotated[str | None, typer.Option("--model", help="Replaces the deployment's model.", rich_help_panel=_WANTED)]
OutputTokens = Annotated[
    int | None,
    typer.Option("--max-output-tokens", min=1, help="The most tokens that a call may write.", rich_help_panel=_WANTED),
]
Temperature = Annotated[float | None, typer.Option("--temperature", min=0, max=2, rich_help_panel=_WANTED)]
ModelOption = Annotated[
    list[str] | None,
    typer.Option("--model-option", metavar="NAME=VALUE", help="An option of the provider.", rich_help_panel=_WANTED),
]
Metadata = Annotated[
    list[str] | None,
    typer.Option("--metadata", metavar="NAME=VALUE", help="Kept with the task; or JSON.", rich_help_panel=_WANTED),
]
Deadline = Annotated[
    str | None,
    typer.Option("--deadline", metavar="TIME", help="Fail after this time: 90, 10m, 2h.", rich_help_panel=_WANTED),
]
MaxCost = Annotated[
    str | None,
    typer.Option("--max-cost", metavar="DOLLARS", help="The most that the calls may cost.", rich_help_panel=_WANTED),
]
NotBefore = Annotated[
    str | None,
    typer.Option("--not-before", metavar="TIME", help="Start no call before: RFC 3339.", rich_help_panel=_WANTED),
]
MaxCalls = Annotated[
    int | None,
    typer.Option("--max-calls", min=1, help="The most model calls, over all retries.", rich_help_panel=_WANTED),
]
Schema = Annotated[
    str | None,
    typer.Option(
        "--schema", metavar="FILE", help="A JSON Schema: outputs are JSON that it allows.", rich_help_panel=_WANTED
    ),
]
Strict = Annotated[
    bool,
    typer.Option("--strict/--no-strict", help="Whether OpenAI's strict rule holds for it.", rich_help_panel=_WANTED),
]
Join = Annotated[
    list[str] | None,
    typer.Option("--join", metavar="POINTER=RULE", help="How a field is joined: /n=sum.", rich_help_panel=_WANTED),
]
Gaps = Annotated[
    bool, typer.Option("--gaps", help="Complete without chunks that fail for good.", rich_help_panel=_WANTED)
]
GapShare = Annotated[
    float | None,
    typer.Option(
        "--max-gap-share", min=0, max=1, help="The most that gaps may be of the text; 0.5.", rich_help_panel=_WANTED
    ),
]
IdempotencyKey = Annotated[
    str | None,
    typer.Option(
        "--idempotency-key",
        help="The same key gives the same task for 24 h; by default a fresh one.",
        rich_help_panel=_WANTED,
    ),
]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Show chunks, calls and tokens; submit nothing.")]


def text_of(source: str | None, input_file: str | None) -> Text | Uploaded:
    """Read the text of the task, unless an uploaded file has it. Raises `CommandError`."""
    if source is not None and input_file is None:
        return texts.text_of(source, terminal.say)
    if input_file is not None and source is None:
        return Uploaded(input_file)
    raise CommandError("give either FILE (- for standard input) or --input-file ID")


def wanted_of(context: typer.Context) -> Wanted:
    """Collect the values of the flags that describe a new task."""
    given = context.params
    instructions = given["instructions"]
    if instructions is not None and instructions.startswith("@"):
        instructions = submission.read_text(instructions[1:], terminal.say)
    return Wanted(
        instructions=instructions,
        reduce=given["reduce"],
        chunk_chars=given["chunk_chars"],
        chunk_overlap=given["chunk_overlap"],
        context_chars=given["context_chars"],
        headings=given["headings"],
        model=given["model"],
        max_output_tokens=given["max_output_tokens"],
        temperature=given["temperature"],
        model_option=given["model_option"] or (),
        metadata=given["metadata"] or (),
        deadline=given["deadline"],
        max_cost=given["max_cost"],
        not_before=given["not_before"],
        max_calls=given["max_calls"],
        schema=None if given["schema"] is None else submission.read_schema(given["schema"], terminal.say),
        strict=given["strict"],
        join=given["join"] or (),
        gaps=given["gaps"],
        max_gap_share=given["max_gap_share"],
    )
