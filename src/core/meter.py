"""Counts what one invocation spends. Counters are exact; the platform bills and limits by the same units."""


class Meter:
    """One invocation's use.

    `subrequests` are calls to D1, to a model, to a queue and to an object, one each; `statements` are those of all
    calls to D1. `rows_read` and `rows_written` are D1's own count, index entries included.
    """

    def __init__(self) -> None:
        self.subrequests = 0
        self.database_calls = 0
        self.statements = 0
        self.rows_read = 0
        self.rows_written = 0

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
