"""Groups the outputs of a merge level into the next level's calls, at most one call for two outputs. Pure."""

from collections.abc import Sequence
from itertools import accumulate

from ..domain.limits import MERGE_CHARS_LEAST
from ..domain.task import CONCAT_SEPARATOR

_OMITTED = " […]"


def merge_system(instructions: str) -> str:
    """Write the system message of a merge call. `instructions` are the client's instructions for each chunk."""
    return (
        "The user's message holds results, in order, of applying one instruction to the consecutive parts of a "
        "long text. Make one result out of them, as if the instruction had been applied to the whole text. "
        "Do not mention the parts.\n\nThe instruction:\n" + instructions
    )


def merge_chars(max_chars: int) -> int:
    """Return how many code points of outputs one merge call takes, if a chunk of the task has up to `max_chars`."""
    return max(max_chars, MERGE_CHARS_LEAST)


def merge_ends(sizes: Sequence[int], most_chars: int) -> tuple[int, ...]:
    """Pack outputs of the given sizes, in order, into calls of the next merge level.

    Return for each merge call the position in `sizes` after its last output. Each merge call takes at least two
    outputs. A merge level therefore has at most half as many calls as the level below it, and the merging ends.
    """
    assert len(sizes) >= 2
    groups: list[int] = []
    chars = 0
    for size in sizes:
        needed = size + len(CONCAT_SEPARATOR)
        if groups and (groups[-1] < 2 or chars + needed <= most_chars):
            groups[-1] += 1
            chars += needed
        else:
            groups.append(1)
            chars = needed
    if groups[-1] == 1:
        del groups[-1]
        groups[-1] += 1
    return tuple(accumulate(groups))


def merge_message(outputs: list[str], most_chars: int) -> str:
    """Make a merge call's message. Outputs too long together are cut to equal lengths, and each cut marked."""
    return CONCAT_SEPARATOR.join(_fit(outputs, most_chars))


def _fit(group: list[str], most_chars: int) -> list[str]:
    """Shorten the longest outputs of a merge call until all fit. Long ones share the rest equally."""
    room = most_chars - len(CONCAT_SEPARATOR) * (len(group) - 1)
    if sum(map(len, group)) <= room:
        return group
    share = room // len(group)
    left = room
    for length, members in zip(sorted(map(len, group)), range(len(group), 0, -1), strict=True):
        share = left // members
        if length > share:
            break
        left -= length
    return [text if len(text) <= share else text[: share - len(_OMITTED)] + _OMITTED for text in group]
