// The code that both references share: it cuts a text into chunks, and sends a chunk to the model.

/** Cuts a text into pieces of a length. The benchmark's texts are such that onceover cuts them at the same places. */
export function split(text, maxChars) {
  return Array.from({ length: Math.ceil(text.length / maxChars) }, (_, at) => text.slice(at * maxChars, (at + 1) * maxChars));
}

/** Calls an OpenAI-compatible model once, and returns the output. Throws if the model gives no output. */
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
