// The code that both references share: cutting a text, and sending a chunk to the model.

/** Cuts into pieces of so many characters. onceover looks for paragraphs; the bench's texts give the same cuts. */
export function split(text, maxChars) {
  return Array.from({ length: Math.ceil(text.length / maxChars) }, (_, at) => text.slice(at * maxChars, (at + 1) * maxChars));
}

/** Asks an OpenAI-compatible model once. Throws if it gives no output; the caller decides what follows. */
export async function complete(env, text) {
  const response = await fetch(`${env.AI_BASE_URL}/chat/completions`, {
    method: "POST",
    headers: { "content-type": "application/json", authorization: `Bearer ${env.AI_API_KEY}` },
    body: JSON.stringify({
      model: env.AI_MODEL,
      messages: [
        { role: "system", content: "Analyze the text that follows. Answer with the analysis alone." },
        { role: "user", content: text },
      ],
    }),
    signal: AbortSignal.timeout(60_000),
  });
  if (!response.ok) throw new Error(`the model answered ${response.status}`);
  return (await response.json()).choices[0].message.content;
}
