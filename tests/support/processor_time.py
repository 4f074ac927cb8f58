"""The processor time of servers: where other work is on the machine, it says more than a clock does."""

import os
from contextlib import suppress
from pathlib import Path


def cpu_seconds(group: int) -> float:
    """The processor time of a process group, ended children of its processes included: Linux's own count."""
    ticks = 0
    for path in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):  # it has ended meanwhile
            # See proc(5). The name of the command, in parentheses, may hold spaces; the state follows it.
            fields = path.read_text().rpartition(")")[2].split()
            if int(fields[2]) == group:
                ticks += sum(map(int, fields[11:15]))
    return ticks / os.sysconf("SC_CLK_TCK")
