"""The bridge between Python's values and JavaScript's."""

from collections.abc import Callable
from typing import Literal

class JsProxy: ...

class JsOnceCallable(JsProxy):
    """A Python function that JavaScript holds until it has been called or destroyed."""

    def destroy(self) -> None: ...

class JsBuffer(JsProxy):
    @property
    def byteLength(self) -> int: ...
    def to_bytes(self) -> bytes: ...

class JsNull:
    """JavaScript's `null`, which is not Python's None (that is `undefined`)."""

    def __bool__(self) -> Literal[False]: ...

jsnull: JsNull

class JsException(Exception):
    @property
    def name(self) -> str: ...
    @property
    def message(self) -> str: ...

def create_once_callable(obj: Callable[[], object], /) -> JsOnceCallable: ...
def to_js(obj: object, /, *, dict_converter: Callable[[JsProxy], JsProxy] = ...) -> JsProxy: ...
