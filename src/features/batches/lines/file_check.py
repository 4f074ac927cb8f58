"""Checks the file of a batch, line by line, as its bytes arrive: each line by itself, and the lines together."""

from collections.abc import Iterable
from typing import NamedTuple

from ....kernel.domain import limits
from .line_index import Portion, digest, portion_of
from .lines import LineCode, LineFault, LineRules, check_line
from .scan import FileLine, LineScanner


class CheckedPart(NamedTuple):
    """What a check has found since its last part. A later check goes on behind it.

    `lines` is None if the part has no valid line. `read_bytes` is the byte behind the last whole line, and `read_lines`
    is how many lines end there, blank ones included. `total` is how many valid lines the file has so far. `model` is
    the model of its lines, None before the first one.
    """

    lines: Portion | None
    faults: tuple[LineFault, ...]
    read_bytes: int
    read_lines: int
    total: int
    model: str | None


class FileCheck:
    """Gets the bytes of a batch's file, and checks its lines.

    To go on with a check that an earlier run began, make one with the `read_bytes`, `read_lines` and `total` of its
    last part, the model in the rules, the digests of all earlier lines, and the number of their faults. The bytes then
    follow from `read_bytes` on.
    """

    def __init__(
        self,
        rules: LineRules,
        *,
        read_bytes: int = 0,
        read_lines: int = 0,
        total: int = 0,
        ids: Iterable[int] = (),
        faults: int = 0,
    ) -> None:
        self.rules = rules
        self.total = total
        self.faults_all = faults
        self._scanner = LineScanner(read_bytes, read_lines)
        self._ids = set(ids)
        self._first = total
        self._found: list[tuple[int, int, int]] = []
        self._faults: list[LineFault] = []
        self._has_too_many = False

    @property
    def is_over(self) -> bool:
        """Whether the rest of the file need not be read: the batch reports no more faults, or has too many lines."""
        return self._has_too_many or self.faults_all >= limits.BATCH_ERRORS_MOST

    def feed(self, piece: bytes) -> None:
        """Check the lines that end in the file's next bytes."""
        self._check(self._scanner.feed(piece))

    def finish(self) -> None:
        """Check the last line, at the end of the file."""
        self._check(self._scanner.finish())
        if not self.total and not self.faults_all:
            self._fault(LineFault(LineCode.EMPTY_FILE, None, "The file has no lines."))

    def take(self) -> CheckedPart:
        """Return what was found since the last call."""
        lines = portion_of(self._first, self._found) if self._found else None
        scanner = self._scanner
        part = CheckedPart(lines, tuple(self._faults), scanner.at, scanner.lines, self.total, self.rules.model)
        self._first, self._found, self._faults = self.total, [], []
        return part

    def _check(self, lines: Iterable[FileLine]) -> None:
        for line in lines:
            if self.is_over:
                return
            self._check_line(line)

    def _check_line(self, line: FileLine) -> None:
        if self.total >= limits.BATCH_LINES_MOST:
            message = f"The file has more than {limits.BATCH_LINES_MOST:,} lines."
            self._has_too_many = True
            self._fault(LineFault(LineCode.TOO_MANY_TASKS, line.number, message))
            return
        found = check_line(line.raw, line.number, self.rules)
        if isinstance(found, LineFault):
            self._fault(found)
            return
        identity = digest(found.custom_id)
        if identity in self._ids:
            message = f"'custom_id' {found.custom_id} is that of an earlier line too: each line needs its own."
            self._fault(LineFault(LineCode.DUPLICATE_CUSTOM_ID, line.number, message, "custom_id"))
            return
        self._ids.add(identity)
        self.rules = self.rules._replace(model=found.model)
        self._found.append((line.start, line.end, identity))
        self.total += 1

    def _fault(self, fault: LineFault) -> None:
        self._faults.append(fault)
        self.faults_all += 1
