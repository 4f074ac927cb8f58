"""Why a schema, or a way of joining, is refused."""

from typing import Final

from ..errors import OnceoverError


class SchemaRefused(OnceoverError):
    """The schema is outside the supported subset. `pointer` is the place in the schema, `reason` a sentence."""

    code = "unsupported_schema"

    def __init__(self, pointer: str, reason: str) -> None:
        super().__init__(f"{pointer or 'the root'}: {reason}")
        self.pointer: Final = pointer
        self.reason: Final = reason


class NotJoinable(OnceoverError):
    """The outputs cannot be joined without a call. `pointer` is the place in the output, `reason` a sentence."""

    code = "not_joinable"

    def __init__(self, pointer: str, reason: str) -> None:
        super().__init__(f"{pointer or 'the root'}: {reason}")
        self.pointer: Final = pointer
        self.reason: Final = reason
