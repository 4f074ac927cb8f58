"""The result of outputs with a schema, made by hand: what `concat` must give for the campaign's own schemas."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from simulator.campaign.clients.forms import form_of

_CHOICES: Final[Mapping[str, Callable[[Sequence[Any]], Any]]] = {
    "first": lambda found: found[0],
    "last": lambda found: found[-1],
    "sum": sum,
    "min": min,
    "max": max,
    "any": any,
    "all": all,
}


def joined(schema: Mapping[str, Any], values: Sequence[Any]) -> Any:
    """Join valid values in order, by the rules that clients give with this schema."""
    return _object(schema, values, form_of(schema).join, "")


def _object(schema: Mapping[str, Any], values: Sequence[Any], rules: Mapping[str, str], above: str) -> Any:
    result = {}
    for name, field in schema["properties"].items():
        pointer = f"{above}/{name}"
        found = [value[name] for value in values if value[name] is not None]
        if field.get("type") == "object":
            result[name] = _object(field, found, rules, pointer)
        elif field.get("type") == "array":
            items = [item for value in found for item in value]
            is_union = rules.get(pointer) == "union"
            result[name] = [item for at, item in enumerate(items) if not (is_union and item in items[:at])]
        else:
            result[name] = _CHOICES[rules[pointer]](found) if found else None
    return result
