// A route of Next.js that receives onceover's webhooks: put it into app/onceover/route.ts.
// ONCEOVER_WEBHOOK_SECRET is the signing secret that `onceover webhooks make` has shown.
import OpenAI from "openai";

const client = new OpenAI({ apiKey: "unused", webhookSecret: process.env.ONCEOVER_WEBHOOK_SECRET });
const ONCEOVER = process.env.ONCEOVER_URL ?? "http://127.0.0.1:8787";
const seen = new Set<string>(); // a delivery may come twice: use a table with a unique column in earnest

export async function POST(request: Request): Promise<Response> {
  let event: { id: string; type: string; data: { id: string } };
  try {
    event = (await client.webhooks.unwrap(await request.text(), request.headers)) as typeof event;
  } catch {
    return new Response("the signature is wrong or too old", { status: 401 });
  }
  if (event.type === "task.completed" && !seen.has(event.id)) {
    // The webhook has no text of the task: read it with a key of your own.
    const answer = await fetch(`${ONCEOVER}/api/tasks/${event.data.id}`, {
      headers: { authorization: `Bearer ${process.env.ONCEOVER_KEY ?? ""}` },
    });
    if (!answer.ok) return new Response("not now", { status: 503 }); // onceover delivers it again
    const task = await answer.json();
    console.log(`${task.name}: ${task.result.output.length} characters`);
    seen.add(event.id);
  }
  return new Response(null, { status: 204 });
}
