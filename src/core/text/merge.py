"""Groups outputs into the calls of a merge level. Pure. Each level has at most half as many calls as the one below."""

from collections.abc import Sequence
from itertools import accumulate, pairwise

from ..limits import MERGE_CHARS_LEAST
from ..task import CONCAT_SEPARATOR

_OMITTED = " […]"


def merge_system(instructions: str) -> str:
    """Say what a merge call has to do. `instructions` are what the client asked for each part."""
    return (
        "The user's message holds results, in order, of applying one instruction to the consecutive parts of a "
        "long text. Make one result out of them, as if the instruction had been applied to the whole text. "
        "Do not mention the parts.\n\nThe instruction:\n" + instructions
    )


def merge_chars(max_chars: int) -> int:
    """Return how many code points of outputs one merge call takes, for a task's chunk size."""
    return max(max_chars, MERGE_CHARS_LEAST)


def merge_ends(sizes: Sequence[int], most_chars: int) -> tuple[int, ...]:
    """Pack outputs of these sizes, in order, into the next level's calls. Return where each call's outputs end.

    Each call takes at least two outputs. So a level is at most half as long as the one below it, and the merge ends.
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
    """Make a call's user message from its outputs.

    Outputs that are too long to share a message are shortened to a fair share of it, and marked.
    """
    return CONCAT_SEPARATOR.join(_fit(outputs, most_chars))


def merge_groups(outputs: list[str], most_chars: int) -> list[str]:
    """Pack outputs, in order, into the user messages of the next level's calls."""
    ends = merge_ends(list(map(len, outputs)), most_chars)
    return [merge_message(outputs[first:end], most_chars) for first, end in pairwise((0, *ends))]


def _fit(group: list[str], most_chars: int) -> list[str]:
    """Shorten the longest members until all fit.

    Short outputs stay whole, and long outputs share the rest of the space.
    """
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
