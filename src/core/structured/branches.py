"""Searches the alternatives of `anyOf`. Each question has one answer, which is kept, and the search has a budget.

Without the two, a schema whose alternatives refer to itself takes exponential time: each level of a value would be
tried with each combination of alternatives.
"""

from collections.abc import Generator

from .nodes import SchemaNode
from .shallow import fits_alone

# A question: does this value fit this node?
type _Question = tuple[SchemaNode, object]

_MEMBERS_A_STEP = 16  # of an object or an array: sets and types are compared much faster than nodes


class SearchEnded(Exception):
    """The budget is used up, so it is not known whether the value fits."""


class BranchSearch:
    """The answers for one value that is being checked, and what is left of the budget.

    Answers are known by the identities of node and value. So the value must live as long as the search.
    """

    def __init__(self, steps: int) -> None:
        self._left = steps
        self._answers: dict[tuple[int, int], bool] = {}

    def candidates(self, node: SchemaNode, value: object) -> list[SchemaNode]:
        """Return the branches that the value fits so far, without the values inside it. Raises SearchEnded."""
        if node.tag is not None and isinstance(value, dict):
            tag = value.get(node.tag)
            branch = node.by_tag.get(tag) if isinstance(tag, str) else None
            return [] if branch is None else [branch]
        found = []
        for branch in node.by_kind.get(type(value), ()):
            self._pay(branch, value)
            if fits_alone(branch, value):
                found.append(branch)
        return found

    def fits(self, node: SchemaNode, value: object) -> bool:
        """Whether the value fits the node. Raises SearchEnded. Questions wait in a list, so nothing recurses."""
        waiting: list[tuple[tuple[int, int], Generator[_Question, bool, bool]]] = []
        asked: _Question | None = (node, value)
        answer = False
        while True:
            if asked is not None:
                key = (id(asked[0]), id(asked[1]))
                known = self._answers.get(key)
                if known is None:
                    waiting.append((key, self._answer(*asked)))
                    step = self._advance(waiting, None)
                else:
                    step = known
            else:
                step = self._advance(waiting, answer)
            if isinstance(step, bool):
                asked, answer = None, step
                if not waiting:
                    return answer
            else:
                asked = step

    def _advance(
        self, waiting: list[tuple[tuple[int, int], Generator[_Question, bool, bool]]], answer: bool | None
    ) -> _Question | bool:
        """Go on with the latest question. Returns its next question, or its answer."""
        key, question = waiting[-1]
        try:
            return next(question) if answer is None else question.send(answer)
        except StopIteration as ended:
            waiting.pop()
            self._answers[key] = found = bool(ended.value)
            return found

    def _answer(self, node: SchemaNode, value: object) -> Generator[_Question, bool, bool]:
        """Answer one question. Where more than one branch is possible it asks further ones."""
        inside: list[_Question] = [(node, value)]
        for each, one in inside:
            self._pay(each, one)
            if not fits_alone(each, one):
                return False
            inside.extend(children(each, one))
            if each.branches:
                candidates = self.candidates(each, one)
                if len(candidates) == 1:
                    inside.append((candidates[0], one))
                    continue
                for branch in candidates:
                    if (yield branch, one):
                        break
                else:
                    return False
        return True

    def _pay(self, node: SchemaNode, value: object) -> None:
        size = len(value) if isinstance(value, dict | list) else 0
        self._left -= 1 + (size + len(node.required)) // _MEMBERS_A_STEP
        if self._left < 0:
            raise SearchEnded


def children(node: SchemaNode, value: object) -> list[_Question]:
    """Return the values inside a value whose type alone does not make them valid, each with its node."""
    if isinstance(value, dict):
        properties = node.properties
        if not properties:
            return []
        return [
            (child, member)
            for name, member in value.items()
            if (child := properties.get(name)) is not None and type(member) not in child.plain
        ]
    if isinstance(value, list) and node.items is not None:
        items, plain = node.items, node.items.plain
        if not plain.issuperset(map(type, value)):
            return [(items, item) for item in value if type(item) not in plain]
    return []
