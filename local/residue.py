"""Clears what deleted rows leave behind in the files of the local D1.

SQLite marks deleted rows as free space and does not overwrite them. A Worker cannot overwrite this free space, because
D1 refuses VACUUM and the PRAGMAs for it. workerd keeps its connection open until it is killed, so the write-ahead log
also has every earlier state of each page. Databases of objects need no clearing, because objects store no text.
"""

import sqlite3
import sys
from contextlib import closing
from pathlib import Path

_LOCK_SECONDS = 2.0


def clear_residue(persist_to: Path) -> None:
    """Rewrite each local D1 database that has changed, without its free space and earlier states of pages.

    While the databases are cleared, no runtime may use them. The clearing is one SQLite transaction, so if it is cut
    off, the database stays unchanged. A failure of the clearing is only printed, because no row is lost.
    """
    for log in sorted(persist_to.glob("v3/d1/**/*.sqlite-wal")):
        # Clearing leaves an empty write-ahead log or none, so if the log is not empty, the database has changed since
        # the last clearing.
        if log.stat().st_size:
            database = log.with_name(log.name.removesuffix("-wal"))
            try:
                _rewrite(database)
            except sqlite3.Error as error:
                print(f"warning: erased text may stay readable in {database}: {error}", file=sys.stderr)


def _rewrite(database: Path) -> None:
    with closing(sqlite3.connect(database, timeout=_LOCK_SECONDS, isolation_level=None)) as connection:
        connection.execute("VACUUM")
        (blocked, *_) = connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
    if blocked:
        raise sqlite3.OperationalError("another process is using it")
