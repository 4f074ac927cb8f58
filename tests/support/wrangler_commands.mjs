// Prints wrangler's commands as JSON, from wrangler's own registry: for each command its words, arguments and flags.
import { createRequire } from "node:module";

const { experimental_getWranglerCommands: getCommands } = createRequire(import.meta.url)("wrangler");
const { registry, globalFlags } = getCommands();
const found = [];

function listCommands(node, words) {
  for (const [word, child] of node.subtree) listCommands(child, [...words, word]);
  let { definition } = node;
  while (definition?.type === "alias") {
    const target = definition.aliasOf.split(" ").slice(1);
    definition = target.reduce((at, word) => at.subtree.get(word), registry).definition;
  }
  if (definition?.type !== "command") return;
  const { args = {}, positionalArgs = [] } = definition;
  const shown = Object.entries({ ...globalFlags, ...args }).filter(([, argument]) => !argument.hidden);
  const flags = shown.flatMap(([name, { alias = [] }]) => [name, ...[alias].flat()]);
  const isRequired = (name) => Boolean(args[name].demandOption);
  found.push({
    words,
    required: positionalArgs.filter(isRequired),
    flags: flags.filter((name) => !positionalArgs.includes(name)),
  });
}

listCommands(registry, []);
console.log(JSON.stringify(found));
