"""Who makes a task's calls, and how many at a time."""

from dataclasses import dataclass

from ..inference.protocol import Provider


@dataclass(frozen=True, slots=True)
class Crew:
    """Calls go out in groups of up to `group`, one subrequest each; `slack_seconds` is what the way there may take."""

    provider: Provider
    concurrency: int
    group: int = 1
    slack_seconds: float = 0.0
