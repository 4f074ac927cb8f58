"""The fields of a submission that send something along with each chunk, and what is stored for them."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Annotated, Any, Final

from pydantic import Field

from ...kernel.api.base.fields import Whole
from ...kernel.api.base.problems import FieldError
from ...kernel.api.tasks.submission import TaskFields
from ...kernel.domain import limits
from ...kernel.domain.settings import Settings
from ...kernel.domain.structure import LongText
from ...kernel.work.submission import TaskRequest

ContextChars = Annotated[int, Field(ge=0, le=limits.CONTEXT_CHARS_MOST), Whole]
CONTEXT_CHARS: Final[Any] = Field(
    None,
    description="So many characters of the text before a chunk go along with it, as context that is not to be "
    "answered. Not with `chunk.overlapChars`. By default 0.",
)
HEADINGS: Final[Any] = Field(
    None,
    description="true: the path of headings above a chunk goes along with it, at most 500 characters. By default true "
    "with `contextChars`.",
)


class ContextFields(TaskFields):
    """A body with the fields for context."""

    context_chars: ContextChars | None = CONTEXT_CHARS
    headings: bool | None = HEADINGS

    def flaws(self, settings: Settings) -> Iterator[FieldError]:
        """Find also context beside an overlap."""
        yield from super().flaws(settings)
        yield from flaws(self.context_chars, self.chunk.overlap_chars if self.chunk else None)

    def request(self) -> TaskRequest:
        """Make the task's request with what goes along."""
        return with_context(super().request(), self.context_chars, self.headings)


def flaws(context_chars: int | None, overlap_chars: int | None) -> Iterator[FieldError]:
    """Refuse context beside an overlap, which would be sent twice."""
    if context_chars and overlap_chars:
        yield FieldError("contextChars", "is set, and chunk.overlapChars too: use one of them")


def with_context(request: TaskRequest, context_chars: int | None, headings: bool | None) -> TaskRequest:
    """Return a request for which context or headings go along, if they are asked for."""
    asked = LongText(
        quotes=request.options.long_text is not None and request.options.long_text.quotes,
        context_chars=context_chars or 0,
        headings=bool(context_chars) if headings is None else headings,
    )
    if not asked.goes_along:
        return request
    return replace(request, options=replace(request.options, long_text=asked), prepare=_prepare)


async def _prepare(request: TaskRequest, cuts: tuple[int, ...]) -> tuple[LongText, str | None]:
    """Return the number of a text's marks, and the headings above its chunks. Raises HeadingsTooLong."""
    from .preparing import prepare  # noqa: PLC0415 - the first task with context imports it

    return await prepare(request, cuts)
