// Compiles Python's standard library once, at installation: the archive that npm's Pyodide brings holds sources
// only, and compiling them anew costs each start a second. Usage: node stdlib.mjs TARGET.zip
import fs from "node:fs";
import path from "node:path";
import { createRequire } from "node:module";
import { loadPyodide } from "pyodide";

const COMPILE = `
import importlib.util
import zipfile
from importlib._bootstrap_external import _code_to_hash_pyc

with zipfile.ZipFile("/sources.zip") as sources, zipfile.ZipFile("/compiled.zip", "w", zipfile.ZIP_DEFLATED) as compiled:
    for name in sources.namelist():
        source = sources.read(name)
        compiled.writestr(name, source)  # tracebacks show its lines
        if name.endswith(".py"):
            code = compile(source, f"/lib/python314.zip/{name}", "exec", dont_inherit=True)
            unchecked = _code_to_hash_pyc(code, importlib.util.source_hash(source), False)
            compiled.writestr(f"{name}c", bytes(unchecked))
`;

const target = process.argv[2];
const pyodide = path.dirname(createRequire(import.meta.url).resolve("pyodide"));
const python = await loadPyodide();
python.FS.writeFile("/sources.zip", fs.readFileSync(path.join(pyodide, "python_stdlib.zip")));
python.runPython(COMPILE);
fs.mkdirSync(path.dirname(target), { recursive: true });
fs.writeFileSync(target, python.FS.readFile("/compiled.zip"));
