"""Counts what one invocation spends. Counters are exact; the platform bills and limits by the same units."""

from collections.abc import Iterator
from contextlib import contextmanager


class Meter:
    """One invocation's use.

    `subrequests` are calls to D1, to a model, to a queue and to an object, one each; `statements` are those of all
    calls to D1. `rows_read` and `rows_written` are D1's own count, index entries included. `subrequests_taken` and
    `statements_taken` have what is reserved, too: so much of the allowance is gone for whoever reserved none of it.
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
        """Those made, and those that are reserved."""
        return self.subrequests + self._reserved_subrequests

    @property
    def statements_taken(self) -> int:
        """Those sent, and those that are reserved."""
        return self.statements + self._reserved_statements

    @contextmanager
    def reserved(self, subrequests: int, statements: int) -> Iterator[None]:
        """Keep so much of the allowance from others that work in the same invocation, until it is spent or not."""
        self._reserved_subrequests += subrequests
        self._reserved_statements += statements
        try:
            yield
        finally:
            self._reserved_subrequests -= subrequests
            self._reserved_statements -= statements

    def spend(self, subrequests: int = 1) -> None:
        """Book subrequests about to be made."""
        self.subrequests += subrequests

    def spend_database_call(self, statements: int) -> None:
        """Book a call to D1, a subrequest too, about to be made."""
        self.database_calls += 1
        self.statements += statements
        self.subrequests += 1

    def add_rows(self, read: int, written: int) -> None:
        """Book what D1 says that a statement cost."""
        self.rows_read += read
        self.rows_written += written

    def facts(self) -> dict[str, int]:
        """Say it all, for the log."""
        return {
            "subrequests": self.subrequests,
            "database_calls": self.database_calls,
            "statements": self.statements,
            "rows_read": self.rows_read,
            "rows_written": self.rows_written,
        }
