"""Describes one batch of a workload."""

from dataclasses import dataclass

from src.kernel.domain.ids import LOCAL


@dataclass(frozen=True, slots=True)
class BatchSpec:
    """A batch whose file is uploaded `at` a time (seconds), and what its client does (`actions`, in seconds after it).

    `fault` is what is wrong with a line. `mark` is the first letter of the first line's text, which makes its call
    special, as in a `TaskSpec`. `output_seconds` and `file_seconds` are how long the files are kept, None for as long
    as usual. `readers` is the number of clients that read the output file while it grows.
    """

    at: float
    lines: int
    tenant: str = LOCAL
    endpoint: str = "/v1/chat/completions"
    model: str = "simulated-1"
    fault: str = ""
    mark: str = ""
    window_hours: int = 24
    max_calls: int | None = None
    output_seconds: int | None = None
    file_seconds: int | None = None
    idempotent: bool = False
    readers: int = 1
    actions: tuple[tuple[float, str], ...] = ()
