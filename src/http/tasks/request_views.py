"""The API's views of a task's request and of a dry run's plan."""

from typing import Annotated, Literal, NotRequired, TypedDict

from pydantic import Field

from ...core.files import FileKey, file_id
from ...core.task import Reduce, Source, TaskOptions
from ..base.services import Api
from ..base.views import Count, shown


@shown
class ChunkRequestView(TypedDict):
    """How the input is cut. `maxChars` is null if the task has no limit on a chunk's size."""

    maxChars: Annotated[int, Field(ge=1)] | None
    overlapChars: Count


@shown
class RequestView(TypedDict):
    """The request of a task. If it names no `model` or `maxOutputTokens`, the view shows the deployment's.

    Null means that the provider's own value applies. `inputCharacters` counts code points, and is null until the text
    of a file is cut. `inputFile` is set for a task whose text is in a file. `outputSchema`, `strict` and `join` are set
    for a task with a schema, `onChunkFailure` and `maxGapShare` for a task with a schema or with gaps. A key without
    the scope `read` sees null instead of a schema.
    """

    model: str
    instructions: str
    reduce: Reduce
    chunk: ChunkRequestView
    maxOutputTokens: Annotated[int, Field(ge=1)] | None
    temperature: float | None
    modelOptions: dict[str, object]
    inputCharacters: Count | None
    inputFile: NotRequired[str]
    outputSchema: NotRequired[dict[str, object] | None]
    strict: NotRequired[bool]
    join: NotRequired[dict[str, str]]
    onChunkFailure: NotRequired[Literal["fail", "gap"]]
    maxGapShare: NotRequired[float]


@shown
class PlannedChunkView(TypedDict):
    """A chunk that a task would have: its span of `input`, in code points."""

    index: Count
    start: Count
    end: Annotated[int, Field(ge=1)]


@shown
class PlanView(TypedDict):
    """The plan of a submission. `characters` counts the code points of `input`.

    `estimatedTokens` roughly estimates the input of the chunks' calls, with instructions and output schema: one token
    for a Chinese, Japanese or Korean character, and one for four other characters. The estimate leaves out merge calls
    and outputs.
    """

    request: RequestView
    chunks: list[PlannedChunkView]
    minimumCalls: Annotated[int, Field(ge=1)]
    characters: Annotated[int, Field(ge=1)]
    estimatedTokens: Annotated[int, Field(ge=1)]


def request_view(options: TaskOptions, source: Source, api: Api, text_file: FileKey | None = None) -> RequestView:
    """Show the request of a task. `text_file` is the file that has its text."""
    view = RequestView(
        model=options.model or api.provider.default_model,
        instructions=source.instructions,
        reduce=options.reduce,
        chunk=ChunkRequestView(maxChars=options.chunk_chars, overlapChars=source.overlap),
        maxOutputTokens=options.max_output_tokens or api.settings.max_output_tokens,
        temperature=options.temperature,
        modelOptions=dict(options.model_options),
        inputCharacters=None if text_file is not None and not source.characters else source.characters,
    )
    if text_file is not None:
        view["inputFile"] = file_id(text_file)
    structure = options.structure
    if structure is not None and structure.has_schema:
        view["outputSchema"] = None if source.output_schema is None else dict(source.output_schema)
        view["strict"] = structure.strict
        view["join"] = dict(source.join_rules or {})
    if structure is not None:
        view["onChunkFailure"] = "gap" if structure.gaps else "fail"
        view["maxGapShare"] = structure.max_gap_share
    return view
