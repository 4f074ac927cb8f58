// Samples the memory of one isolate of a workerd whose inspectors are open, until standard input closes.
// Arguments: the address of the inspectors, and the isolate's name. Prints the largest sample of JavaScript's heap and
// buffers together as JSON, bytes. The inspector does not count WebAssembly's memory.
const [address, name] = process.argv.slice(2);
const EVERY_MS = 10;

const targets = await (await fetch(`http://${address}/json`)).json();
const target = targets.find(({ webSocketDebuggerUrl: url }) => url.endsWith(`/${name}`));
if (!target) throw new Error(`no isolate ${name}: ${targets.map(({ id }) => id).join(", ")}`);
const socket = new WebSocket(target.webSocketDebuggerUrl);
const most = { heap: 0, buffers: 0, together: 0, samples: 0 };
let waiting = false;

socket.onmessage = ({ data }) => {
  const { result } = JSON.parse(data);
  if (result?.usedSize === undefined) return;
  waiting = false;
  const heap = result.usedSize;
  const buffers = result.backingStorageSize;
  most.heap = Math.max(most.heap, heap);
  most.buffers = Math.max(most.buffers, buffers);
  most.together = Math.max(most.together, heap + buffers);
  most.samples++;
};
await new Promise((open) => (socket.onopen = open));
console.log("open");
const timer = setInterval(() => {
  if (waiting) return;
  waiting = true;
  socket.send(JSON.stringify({ id: 1, method: "Runtime.getHeapUsage" }));
}, EVERY_MS);
process.stdin.resume();
process.stdin.on("end", () => {
  clearInterval(timer);
  console.log(JSON.stringify(most));
  process.exit(0);
});
