"""Builds the Pyodide bundle that workerd would download, from the files of npm's `pyodide`.

A bundle is a Cap'n Proto message (`workerd::jsg::Bundle`, src/workerd/jsg/modules.capnp in cloudflare/workerd) with
three modules: Emscripten's JavaScript, the interpreter and the standard library. In its own build workerd replaces some
text in Emscripten's JavaScript, so that the interpreter uses functions of the glue (src/pyodide/helpers.bzl); this
module makes the same replacements. The standard library and the interpreter are npm's own bytes.

workerd checks the digest of a released bundle, and Cloudflare's is not on npm. With the flag
`python_workers_development` workerd loads a bundle named `dev` without this check, so npm's binary of workerd stays
unchanged (docs/decisions/deployment.md#d0039).
"""

import hashlib
import struct
import sys
from collections.abc import Sequence
from pathlib import Path

from .node import ROOT

FOLDER = ROOT / ".build" / "pyodide"
NAME = "pyodide_dev.capnp.bin"  # The file that workerd looks for in its folder of bundles.
MOVING, STANDING = "moving", "standing"

# The digests of the bundles that are built from pyodide 314.0.6. With another version of pyodide, compare the
# replacements with workerd's sources.
DIGESTS = {
    MOVING: "5882b5aa83b0c9ca6f4d11a93e72e4dc69e7f3495fca01affd85771d1f3a17e4",
    STANDING: "5b34cbcbcf7acecde14453a8cbf964290e4bbc8c1cf16682253e09ba9e8beb4c",
}

_PACKAGE = ROOT / "node_modules" / "pyodide"
_STANDING_CLOCK = ROOT / "local" / "runtime" / "standing_clock.js"

_IMPORTS = """
import {
    addEventListener, getRandomValues, location, monotonicDateNow, newWasmModule, patchedLoadLibData, wasmInstantiate,
} from "pyodide-internal:builtin_wrappers";
"""
_NO_EVAL = '(() => { throw new Error("Emscripten called eval, which workerd refuses"); })()'
_CLOSURE_ALLOC = "function ffi_closure_alloc_js(size,code){var closure=_malloc(size);var index=getEmptyTableSlot();"
_CLOSURE_FREE = "function ffi_closure_free_js(closure){var index=HEAPU32[(closure>>2)+0>>>0];"

# Each entry is (npm's text, workerd's text, how often npm's text occurs). The two entries about closures are not in the
# published sources of workerd. `pyodide-internal:snapshot` of 1.20261117.1 defines the functions that they call, for
# ctypes in snapshots.
_REPLACEMENTS = (
    ("new WebAssembly.Module", "newWasmModule", 4),
    ("WebAssembly.instantiate", "wasmInstantiate", 3),
    ("Date.now", "monotonicDateNow", 22),
    ("crypto.getRandomValues(", "getRandomValues(Module, ", 1),
    ("eval(func)", _NO_EVAL, 2),
    ("eval(data)", _NO_EVAL, 1),
    ("eval(UTF8ToString(ptr))", _NO_EVAL, 3),
    (
        "function loadLibData(){",
        (
            "function loadLibData(){ const found = patchedLoadLibData(Module, libName, flags.rpath);"
            " return flags.loadAsync ? Promise.resolve(found) : found; } function replacedLoadLibData(){"
        ),
        1,
    ),
    ("getMemory(", "Module.getMemoryPatched(Module, libName, ", 1),
    (_CLOSURE_ALLOC, f"{_CLOSURE_ALLOC}Module.recordFfiClosureAlloc(closure,index);", 1),
    (_CLOSURE_FREE, f"{_CLOSURE_FREE}Module.recordFfiClosureFree(closure,index);", 1),
    (
        "export default _createPyodideModule;",
        f"{_IMPORTS}export default _createPyodideModule; export {{ _createPyodideModule }};",
        1,
    ),
)


class BundleError(Exception):
    """Raised when the files are not those that this module knows. The message of a `BundleError` is for the user."""


def adapted(source: str, *, standing: bool) -> str:
    """Return Emscripten's JavaScript with workerd's replacements; with `standing` add the hosted clock.

    Raises BundleError.
    """
    for old, new, count in _REPLACEMENTS:
        if source.count(old) != count:
            raise BundleError(f"npm's pyodide is not the expected one: it has {old[:60]!r} {source.count(old)} times")
        source = source.replace(old, new)
    return source + (_STANDING_CLOCK.read_text("utf-8") if standing else "")


# --- Cap'n Proto (capnproto.org/encoding.html): words of 8 bytes, and pointers that count from their own end ---

_SOURCE, _WASM, _DATA = 0, 1, 2  # The tags of the union in `Module`, in the order of the ordinals @1, @4, @5.
_INTERNAL = 2  # The value of workerd's `ModuleType` for internal modules.
# In the Cap'n Proto message, the word of a module has `type` and the union's tag. The pointers of a module are name,
# content, tsDeclaration and compileCache.
_MODULE_WORDS, _MODULE_POINTERS = 1, 4
_BYTES = 2  # The size code of a list of bytes in Cap'n Proto.
_STRUCTS = 7


def _struct_pointer(offset: int, words: int, pointers: int) -> bytes:
    return struct.pack("<iHH", offset << 2, words, pointers)


def _list_pointer(offset: int, code: int, count: int) -> bytes:
    return struct.pack("<iI", offset << 2 | 1, count << 3 | code)


def _words(size: int) -> int:
    return (size + 7) // 8


def message(modules: Sequence[tuple[str, int, bytes]]) -> bytes:
    """Return the bundle of the given modules, each given as (name, kind, content)."""
    each = _MODULE_WORDS + _MODULE_POINTERS
    # The Cap'n Proto message has the bundle's struct with its one pointer, the list's tag, the modules, and the data of
    # their pointers.
    head = [_struct_pointer(0, 0, 1), _list_pointer(0, _STRUCTS, len(modules) * each)]
    head.append(_struct_pointer(len(modules), _MODULE_WORDS, _MODULE_POINTERS))
    position, free, tail = len(head), len(head) + len(modules) * each, []
    for name, kind, content in modules:
        pointers = []
        for index, value in enumerate((name.encode() + b"\0", content)):
            here = position + _MODULE_WORDS + index
            pointers.append(_list_pointer(free - here - 1, _BYTES, len(value)))
            tail.append(value.ljust(_words(len(value)) * 8, b"\0"))
            free += _words(len(value))
        head += [struct.pack("<HHI", _INTERNAL, kind, 0), *pointers, bytes(16)]
        position += each
    return struct.pack("<II", 0, free) + b"".join(head) + b"".join(tail)


def build(package: Path, clock: str) -> bytes:
    """Return the bundle for a clock, made from the files of npm's package. Raises BundleError."""
    glue = adapted((package / "pyodide.asm.mjs").read_text("utf-8"), standing=clock == STANDING)
    bundle = message(
        (
            ("pyodideRuntime-internal:pyodide.asm", _SOURCE, glue.encode()),
            ("pyodideRuntime-internal:pyodide.asm.wasm", _WASM, (package / "pyodide.asm.wasm").read_bytes()),
            ("pyodideRuntime-internal:python_stdlib.zip", _DATA, (package / "python_stdlib.zip").read_bytes()),
        )
    )
    digest = hashlib.sha256(bundle).hexdigest()
    if digest != DIGESTS[clock]:
        raise BundleError(f"the bundle with the {clock} clock has the digest {digest}, not {DIGESTS[clock]}")
    return bundle


def main() -> int:
    """Write the bundles of both clocks.

    A bundle that is already there stays as it is, because the snapshots of its memory are known by its time.
    """
    try:
        for clock in DIGESTS:
            target = FOLDER / clock / NAME
            target.parent.mkdir(parents=True, exist_ok=True)
            built = build(_PACKAGE, clock)
            if not target.is_file() or target.read_bytes() != built:
                target.write_bytes(built)
    except (BundleError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
