// Runs one Python module of this repository in Pyodide: CPython in WebAssembly, as in the Workers runtime.
// Its arguments are the repository's folder and the module's name. What the module prints goes to standard output.
import { loadPyodide } from "pyodide";

const [root, module] = process.argv.slice(2);
const python = await loadPyodide();
python.FS.mkdirTree("/repository");
python.FS.mount(python.FS.filesystems.NODEFS, { root }, "/repository");
// Pyodide has no clock of the processor, so Node's takes the place of Python's.
python.globals.set("thread_microseconds", () => {
  const used = process.threadCpuUsage();
  return used.user + used.system;
});
try {
  python.runPython(`
import runpy, sys, time
time.thread_time = lambda: thread_microseconds() / 1e6
sys.dont_write_bytecode = True
sys.path.insert(0, "/repository")
runpy.run_module(${JSON.stringify(module)}, run_name="__main__")
`);
} catch (error) {
  console.error(error.message);  // without the line of Pyodide's own code, which is a megabyte long
  process.exitCode = 1;
}
