"""Prometheus' text format, version 0.0.4: families of samples, written as lines."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Literal, NamedTuple

Labels = Mapping[str, str]


class Point(NamedTuple):
    """One sample of a metric. `suffix` is appended to the family's name, such as `_bucket`."""

    labels: Labels
    value: float
    suffix: str = ""


class Family(NamedTuple):
    """One metric: its name, its type, its meaning, and its samples. `write` leaves out a metric without samples."""

    name: str
    kind: Literal["counter", "gauge", "histogram"]
    help: str
    points: Sequence[Point]


def histogram(labels: Labels, counts: Mapping[float, int], count: int, total: float) -> list[Point]:
    """Make the samples of a histogram: the count up to each bound, the count of all values, and their sum."""
    buckets = [Point({**labels, "le": _number(bound)}, value, "_bucket") for bound, value in counts.items()]
    return [
        *buckets,
        Point({**labels, "le": "+Inf"}, count, "_bucket"),
        Point(labels, total, "_sum"),
        Point(labels, count, "_count"),
    ]


def write(families: Iterable[Family]) -> str:
    """Write families of samples in Prometheus' text format, in the given order."""
    return "".join(_written(family) for family in families if family.points)


def _written(family: Family) -> str:
    lines = [f"# HELP {family.name} {_escaped(family.help)}", f"# TYPE {family.name} {family.kind}"]
    for point in family.points:
        labels = ",".join(f'{name}="{_quoted(value)}"' for name, value in point.labels.items())
        lines.append(f"{family.name}{point.suffix}{f'{{{labels}}}' if labels else ''} {_number(point.value)}")
    return "\n".join(lines) + "\n"


def _number(value: float) -> str:
    return str(int(value)) if value == int(value) else repr(float(value))


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace("\n", "\\n")


def _quoted(text: str) -> str:
    return _escaped(text).replace('"', '\\"')
