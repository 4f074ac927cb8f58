"""Searches which alternative of an `anyOf` a value fits, with a budget, and remembers whether each part fits.

Without the budget and the remembered answers, a schema whose alternatives refer to the schema itself would take
exponential time: each level of a value would be tried with each combination of alternatives.
"""

from collections.abc import Generator

from .nodes import SchemaNode
from .shallow import fits_alone

# A question of the search: whether a value fits a schema node.
type _Question = tuple[SchemaNode, object]

# How many members of an object or array cost one step of the search's budget; comparing names and types is fast.
_MEMBERS_A_STEP = 16


class SearchEnded(Exception):
    """The search's budget is used up before it is known whether a value fits a schema."""


class BranchSearch:
    """Searches through `anyOf` while one value is being checked: remembers answers, and what is left of the budget.

    Answers are stored by the `id` of the node and of the value, so both must live as long as the search.
    """

    def __init__(self, steps: int) -> None:
        self._left = steps
        self._answers: dict[tuple[int, int], bool] = {}
        self._latest: dict[int, SchemaNode] = {}  # the branch of each node that fitted last

    def candidates(self, node: SchemaNode, value: object) -> list[SchemaNode]:
        """Return the alternatives of `anyOf` that the value itself fits, without the values inside it.

        Raises SearchEnded.
        """
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

    def fits_latest(self, node: SchemaNode, value: object) -> bool:
        """Whether the value fits the branch that fitted last here, as far as that is quick to say.

        The values of an array are often alike. Raises SearchEnded.
        """
        branch = self._latest.get(id(node))
        return branch is not None and fits_alone(branch, value) and self._fits_simply(branch, value) is True

    def any_fits(self, node: SchemaNode, candidates: list[SchemaNode], value: object) -> bool:
        """Whether the value fits one of the candidates, which were found for it. Raises SearchEnded."""
        for branch in candidates:
            known = self._fits_simply(branch, value)
            if self.fits(branch, value) if known is None else known:
                self._latest[id(node)] = branch
                return True
        return False

    def _fits_simply(self, node: SchemaNode, value: object) -> bool | None:
        """Whether a value that fits the node alone fits it with all in it. None: alternatives in it need a search."""
        if node.branches:
            return None
        found: bool | None = True
        inside = children(node, value)
        steps = 1 + (len(value) // _MEMBERS_A_STEP if isinstance(value, dict | list) else 0)
        for each, one in inside:
            if each.branches:
                found = None
                break
            if not fits_alone(each, one):
                found = False
                break
            kind = type(one)
            if kind is dict or kind is list:
                inside += children(each, one)
                steps += len(one) // _MEMBERS_A_STEP  # type: ignore[arg-type]
        self._spend(steps + len(inside))
        return found

    def fits(self, node: SchemaNode, value: object) -> bool:
        """Whether the value, with the values inside it, fits the schema node.

        Raises SearchEnded. Open questions of the search wait in a list, so that the search does not recurse.
        """
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
        """Continue the search with the latest open question.

        Returns the answer to the question, or another question that must be answered first.
        """
        key, question = waiting[-1]
        try:
            return next(question) if answer is None else question.send(answer)
        except StopIteration as ended:
            waiting.pop()
            self._answers[key] = found = bool(ended.value)
            return found

    def _answer(self, node: SchemaNode, value: object) -> Generator[_Question, bool, bool]:
        """Find out whether a value fits a schema node.

        Where several alternatives of an `anyOf` are possible, `_answer` yields a question for each of them.
        """
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
        self._spend(1 + (size + len(node.required)) // _MEMBERS_A_STEP)

    def _spend(self, steps: int) -> None:
        self._left -= steps
        if self._left < 0:
            raise SearchEnded


def children(node: SchemaNode, value: object) -> list[_Question]:
    """Return the members of a value that must be checked, because their type alone does not make them valid."""
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
