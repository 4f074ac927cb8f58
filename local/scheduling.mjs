// Must be evaluated before Pyodide is: it makes Python's event loop schedule each callback with a timer of its own. The
// Worker then changes that for what is ready (src/platform/event_loop.py).
//
// Pyodide would otherwise send all callbacks through one MessageChannel. In workerd a timer, a fetch, a binding's call
// belongs to the invocation in which it is made; over a shared channel a callback of one invocation may run within
// another, and what it starts there dies with that other one. With a timer each callback stays where it belongs.
globalThis.MessageChannel = undefined;
