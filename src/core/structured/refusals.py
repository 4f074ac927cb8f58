"""The errors that refuse an output schema, or a way of joining outputs."""

from typing import Final

from ..errors import OnceoverError


class SchemaRefused(OnceoverError):
    """An output schema uses JSON Schema in a way that is not supported.

    `pointer` is the place in the schema, and `reason` is a sentence for the client.
    """

    code = "unsupported_schema"

    def __init__(self, pointer: str, reason: str) -> None:
        super().__init__(f"{pointer or 'the root'}: {reason}")
        self.pointer: Final = pointer
        self.reason: Final = reason


class NotJoinable(OnceoverError):
    """A task's outputs cannot be joined without a model call.

    `pointer` is the place of the field in the output, and `reason` is a sentence for the client.
    """

    code = "not_joinable"

    def __init__(self, pointer: str, reason: str) -> None:
        super().__init__(f"{pointer or 'the root'}: {reason}")
        self.pointer: Final = pointer
        self.reason: Final = reason
