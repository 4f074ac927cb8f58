"""The error that refuses an output schema."""

from typing import Final

from ....kernel.domain.errors import OnceoverError


class SchemaRefused(OnceoverError):
    """An output schema uses JSON Schema in a way that is not supported.

    `pointer` is the place in the schema, and `reason` is a sentence for the client.
    """

    code = "unsupported_schema"

    def __init__(self, pointer: str, reason: str) -> None:
        super().__init__(f"{pointer or 'the root'}: {reason}")
        self.pointer: Final = pointer
        self.reason: Final = reason
