// A receiver that uses `openai` for JavaScript to check a webhook: `node unwrap.mjs PACKAGE`. Standard input contains
// {"body", "headers", "secrets"}. For each secret the program prints the result, or the error's name.
import { text } from "node:stream/consumers";

const { default: OpenAI } = await import(process.argv[2]);
const { body, headers, secrets } = JSON.parse(await text(process.stdin));
const client = new OpenAI({ apiKey: "any" });
const seen = [];
for (const secret of secrets) {
  try {
    const event = await client.webhooks.unwrap(body, headers, secret);
    seen.push([event.id, event.type, event.data.id]);
  } catch (error) {
    seen.push([error.constructor.name]);
  }
}
console.log(JSON.stringify(seen));
