"""Counts what one invocation of the Worker spends, in the units that the platform bills and limits."""

from collections.abc import Iterator
from contextlib import contextmanager


class Meter:
    """What one invocation of the Worker has spent so far.

    `subrequests` counts each call to D1, a model, a queue or an object. `rows_read` and `rows_written` are D1's own
    counts, index entries included.
    """

    def __init__(self) -> None:
        self.subrequests = 0
        self.database_calls = 0
        self.statements = 0
        self.rows_read = 0
        self.rows_written = 0
        self._reserved_subrequests = 0
        self._reserved_statements = 0

    @property
    def subrequests_taken(self) -> int:
        """How many subrequests the invocation has made or reserved."""
        return self.subrequests + self._reserved_subrequests

    @property
    def statements_taken(self) -> int:
        """How many D1 statements the invocation has sent or reserved."""
        return self.statements + self._reserved_statements

    @contextmanager
    def reserved(self, subrequests: int, statements: int) -> Iterator[None]:
        """Reserve a part of the invocation's allowance, so that its other work cannot use that part."""
        self._reserved_subrequests += subrequests
        self._reserved_statements += statements
        try:
            yield
        finally:
            self._reserved_subrequests -= subrequests
            self._reserved_statements -= statements

    def spend(self, subrequests: int = 1) -> None:
        """Count subrequests that the invocation is about to make."""
        self.subrequests += subrequests

    def spend_database_call(self, statements: int) -> None:
        """Count a call to D1 that is about to be made, and its statements. A call to D1 is also a subrequest."""
        self.database_calls += 1
        self.statements += statements
        self.subrequests += 1

    def add_rows(self, read: int, written: int) -> None:
        """Count the rows that a statement read and wrote, as D1 reports them."""
        self.rows_read += read
        self.rows_written += written

    def facts(self) -> dict[str, int]:
        """Return all counts of the invocation, for its log entry."""
        return {
            "subrequests": self.subrequests,
            "database_calls": self.database_calls,
            "statements": self.statements,
            "rows_read": self.rows_read,
            "rows_written": self.rows_written,
        }
