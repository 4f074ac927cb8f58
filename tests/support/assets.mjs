// Asks Miniflare's own asset worker, which is Cloudflare's, for its answers with this project's folder of assets.
// Standard input has {project, requests: [[method, path, headers], …]}, and standard output gets {environments, answers}.
// An answer is null if Miniflare passed the request on to the Worker.
import { createRequire } from "node:module";
import path from "node:path";
import { convertV4MiniflareOptions, Miniflare } from "miniflare";

process.env.WRANGLER_LOG = "none";
const wrangler = createRequire(import.meta.url)("wrangler");
const { project, requests } = JSON.parse(await new Response(process.stdin).text());
const config = path.join(project, "wrangler.toml");
const assetsOf = (env) => wrangler.unstable_getMiniflareWorkerOptions(config, env, { envFiles: ["/dev/null"] }).workerOptions.assets;
const environments = Object.fromEntries(["", "free", "direct"].map((env) => [env, assetsOf(env || undefined)]));

const miniflare = new Miniflare(
  convertV4MiniflareOptions({
    name: "assets",
    modules: true,
    script: `export default { fetch: () => new Response("", { headers: { "x-worker": "1" } }) }`,
    compatibilityDate: "2026-05-01",
    assets: environments[""],
  }),
);
const url = await miniflare.ready;
const answers = [];
for (const [method, asked, headers] of requests) {
  const answer = await fetch(new URL(asked, url), { method, headers, redirect: "manual" });
  const body = await answer.text();
  answers.push(answer.headers.has("x-worker") ? null : { status: answer.status, headers: Object.fromEntries(answer.headers), body });
}
await miniflare.dispose();
process.stdout.write(JSON.stringify({ environments, answers }));
