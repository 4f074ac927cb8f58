"""Stories about a task whose text is in a file: its submission, the cuts of the text, and the file while it is read."""

from dataclasses import replace
from typing import Any

from src.features.context.preparing import Along
from src.features.files.file import FilePart, Purpose
from src.features.texts.file_cuts import CutAt, CutPortion
from src.features.texts.store import FileTextStore, all_cut, cut_on
from src.kernel.domain.errors import TextFileGone
from src.kernel.domain.ids import FileKey
from src.kernel.domain.structure import LongText
from src.kernel.store.admission import Conditions
from src.kernel.store.claims import NOTHING_ELSE, Also, Claim, Continue
from tests.conformance.cases.steps import progress
from tests.conformance.cases.storyteller import LEASE_MS, TASK, Story, made_key, new_task, tells

TEXT = FileKey(made_key(7))
# Two slices of a file of 18 bytes: a byte order mark, then three chunks of a one-byte and a four-byte character each.
SLICES = (
    CutPortion(CutAt(8, 2, 1), ends=(2,), byte_ends=(8,), start=3, text="x𝒳"),
    CutPortion(CutAt(18, 6, 3), ends=(4, 6), byte_ends=(13, 18), start=None, text="x𝒳x𝒳"),
)


class _TextInFile(Story):
    """A story that also uses the store of texts in files."""

    def __init__(self, env: Any) -> None:
        super().__init__(env)
        self.texts = self.store.beside(FileTextStore)

    async def upload(self) -> None:
        await self.files.begin(TEXT, 1)
        await self.files.ready(
            TEXT, purpose=Purpose.USER_DATA, filename="in", parts=[FilePart("0", 18)], keeps_ms=None, use_most=1000
        )

    async def submit(self) -> Any:
        new = new_task(chunks=0)
        options = replace(new.options, long_text=LongText(context_chars=2, headings=True))
        new = replace(new, text="", text_file=TEXT, file_bytes=18, options=options)
        return await self.texts.submit(new, 1, Conditions(characters_a_day_most=1000))

    async def write(self, claim: Claim, also: Also = NOTHING_ELSE) -> bool:
        made = progress(claim)
        first = await self.store.step(claim, made, Continue(LEASE_MS), also=also)
        assert await self.store.step(claim, made, Continue(LEASE_MS), also=also) == first
        return first


def _cut(number: int, *, is_over: bool = False) -> Also:
    def writes(under: Any) -> Any:
        before = SLICES[number - 1].at.bytes if number else 0
        along = Along(f"{number},", f"[{number + 1},0,[]]\n")
        return [*cut_on(under, before, SLICES[number], along), *(all_cut(under, 3) if is_over else ())]

    return Also(writes)


@tells(_TextInFile)
async def a_text_in_a_file_is_cut_in_slices(story: _TextInFile) -> None:
    try:
        await story.submit()
    except TextFileGone:
        story.outcomes.append("the file does not exist yet")
    await story.upload()
    story.outcomes += [await story.submit(), await story.submit(), await story.texts.cut_at(TASK)]
    story.outcomes.append(await story.files.delete(TEXT))  # an unfinished task reads the file
    claim = await story.claim("one", announce=2)
    story.outcomes += [claim.kind, claim.total, sorted(claim.announced)]
    assert await story.write(claim, _cut(0))
    lost = replace(claim, fence=claim.fence + 1)
    assert not await story.write(lost, _cut(1, is_over=True))
    story.outcomes.append(await story.texts.cut_at(TASK))
    assert await story.write(claim, _cut(1, is_over=True))
    assert await story.write(claim, _cut(0))  # a late write changes nothing
    story.outcomes += [await story.texts.cut_at(TASK), await story.texts.cuts(TASK)]
    await story.note("SELECT total, first_line, text_file, long_text FROM tasks")
    await story.note("SELECT * FROM file_texts")
    assert await story.cancel()
    story.outcomes += [await story.files.delete(TEXT), await story.erase()]
    await story.note("SELECT count(*) AS rows FROM file_texts")
    story.outcomes.append(await story.texts.cut_at(TASK))
