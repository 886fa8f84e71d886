// Drives one SDK through all that a client does, and prints what the SDK made of
// each step as a line of JSON: node drive.mjs openai body [whole]. With "body" the
// fetch of docs/clients.md, in the file TICKETED, brings a ticket for each call;
// with "head" each step has one, as the SDK's API key. With "whole" it ends after
// the first step.
//
// ENGINE is the engine itself, of which only the state is read.
process.stdin.resume().on("end", () => process.exit(1)); // whoever started this is gone

const ticketed = process.argv[3] === "body" && (await import(process.env.TICKETED)).ticketed;
const user = (content) => [{ role: "user", content }];
const sampling = { temperature: 0, seed: 1 };
const retries = 1;

// A door is how an SDK comes in: the worker's address, an API key and a fetch.
const doors = {
  body: async (cost) => ({ base: "http://worker", key: "unused", fetch: ticketed("my-llama", cost) }),
  async head(cost) {
    const route = await fetch(`${process.env.AUTOSCALER}/route/`, { method: "POST", body: JSON.stringify({ endpoint: "my-llama", api_key: process.env.API_KEY, cost }) });
    const ticket = await route.text();
    return { base: JSON.parse(ticket).url, key: `sr.${Buffer.from(ticket).toString("base64url")}`, fetch };
  },
};

// Each SDK: whole makes an answer at once, stream is an iterator over its pieces,
// embed makes a vector for each text. Tokens are the limit asked for.
const sdks = {
  async openai({ base, key, fetch }) {
    const { default: OpenAI } = await import("openai");
    const client = new OpenAI({ baseURL: `${base}/v1`, apiKey: key, maxRetries: retries, fetch });
    const ask = (prompt, tokens, stream) => ({ model: "random", messages: user(prompt), max_tokens: tokens, stream, ...sampling });
    return {
      whole: async (prompt, tokens, signal) => (await client.chat.completions.create(ask(prompt, tokens, false), { signal })).choices[0].message.content,
      async *stream(prompt, tokens, signal) {
        for await (const event of await client.chat.completions.create(ask(prompt, tokens, true), { signal }))
          if (event.choices[0]?.delta?.content) yield event.choices[0].delta.content;
      },
      embed: async (input) => (await client.embeddings.create({ model: "random", input })).data.map((one) => one.embedding),
    };
  },
  async vercel({ base, key, fetch }) {
    const { createOpenAICompatible } = await import("@ai-sdk/openai-compatible"), { embedMany, generateText, streamText } = await import("ai");
    const worker = createOpenAICompatible({ name: "worker", baseURL: `${base}/v1`, apiKey: key, fetch });
    const ask = (prompt, tokens, signal) => ({ model: worker("random"), prompt, maxOutputTokens: tokens, abortSignal: signal, maxRetries: retries, ...sampling });
    return {
      whole: async (prompt, tokens, signal) => (await generateText(ask(prompt, tokens, signal))).text,
      async *stream(prompt, tokens, signal) { // its textStream ends without a word where this one tells of an error
        for await (const part of streamText({ ...ask(prompt, tokens, signal), onError() {} }).fullStream) {
          if (part.type === "text-delta") yield part.text;
          if (part.type === "error") throw part.error;
          if (part.type === "abort") throw new DOMException("aborted", "AbortError");
        }
      },
      embed: async (values) => (await embedMany({ model: worker.textEmbeddingModel("random"), values })).embeddings,
    };
  },
  async langchain({ base, key, fetch }) {
    const { ChatOpenAI, OpenAIEmbeddings } = await import("@langchain/openai");
    const configuration = { baseURL: `${base}/v1`, fetch };
    const model = (tokens) => new ChatOpenAI({ model: "random", apiKey: key, maxTokens: tokens, temperature: 0, maxRetries: retries, configuration });
    return {
      whole: async (prompt, tokens, signal) => (await model(tokens).invoke(prompt, { signal })).text,
      async *stream(prompt, tokens, signal) {
        for await (const chunk of await model(tokens).stream(prompt, { signal })) if (chunk.text) yield chunk.text;
      },
      embed: (texts) => new OpenAIEmbeddings({ model: "random", apiKey: key, maxRetries: retries, configuration }).embedDocuments(texts),
    };
  },
  async ollama({ base, key, fetch }) { // it never tries again, and stops only streams
    const { Ollama } = await import("ollama");
    const client = new Ollama({ host: base, headers: { Authorization: `Bearer ${key}` }, fetch });
    const ask = (prompt, tokens, stream) => ({ model: "random", messages: user(prompt), stream, options: { num_predict: tokens, ...sampling } });
    return {
      whole: async (prompt, tokens, signal) => signal ? undefined : (await client.chat(ask(prompt, tokens, false))).message.content,
      async *stream(prompt, tokens, signal) {
        const stream = await client.chat(ask(prompt, tokens, true));
        signal?.addEventListener("abort", () => stream.abort());
        for await (const part of stream) if (part.message.content) yield part.message.content;
      },
      embed: async (input) => (await client.embed({ model: "random", input })).embeddings,
    };
  },
  async anthropic({ base, key, fetch }) {
    const { default: Anthropic } = await import("@anthropic-ai/sdk");
    const client = new Anthropic({ baseURL: base, apiKey: null, authToken: key, maxRetries: retries, fetch });
    const ask = (prompt, tokens) => ({ model: "random", messages: user(prompt), max_tokens: tokens, temperature: 0 });
    return {
      whole: async (prompt, tokens, signal) => (await client.messages.create(ask(prompt, tokens), { signal })).content[0].text,
      async *stream(prompt, tokens, signal) {
        for await (const event of await client.messages.create({ ...ask(prompt, tokens), stream: true }, { signal }))
          if (event.type === "content_block_delta") yield event.delta.text;
      },
    };
  },
  async huggingface({ base, key, fetch }) {
    const { InferenceClient } = await import("@huggingface/inference");
    const client = new InferenceClient(key, { endpointUrl: base, fetch });
    const ask = (prompt, tokens) => ({ model: "random", messages: user(prompt), max_tokens: tokens, ...sampling });
    return {
      whole: async (prompt, tokens, signal) => (await client.chatCompletion(ask(prompt, tokens), { signal })).choices[0].message.content,
      async *stream(prompt, tokens, signal) {
        for await (const event of client.chatCompletionStream(ask(prompt, tokens), { signal }))
          if (event.choices[0]?.delta?.content) yield event.choices[0].delta.content;
      },
    };
  },
};

const long = 8000; // nearly all that the engine has room for: it is not to end by itself
const open = async (cost = long) => sdks[process.argv[2]](await doors[process.argv[3]](cost));

// step tells what a step gave, or the error as the SDK shows it.
async function step(name, act) {
  const said = { step: name };
  try {
    Object.assign(said, await act(said));
  } catch (error) {
    const cause = error.lastError ?? error; // Vercel's wraps the last of its tries
    said.error = { name: error.name ?? error.constructor.name, status: cause.status ?? cause.statusCode ?? cause.status_code ?? cause.httpResponse?.status ?? 0,
      message: String(cause.message), type: cause.type ?? cause.error?.error?.type ?? "", told: JSON.stringify([cause.error, cause.responseBody, cause.data, cause.httpResponse?.body]) };
  }
  console.log(JSON.stringify(said));
}

// until asks the engine until its answer fits.
async function until(path, fits) {
  while (!fits(await fetch(process.env.ENGINE + path).then((answer) => answer.text(), () => ""))) await pause(10);
}
const pause = (ms) => new Promise((go) => setTimeout(go, ms));
const idle = () => pause(50).then(() => until("/metrics", (text) => /^llamacpp:requests_processing 0$/m.test(text)));
const running = () => until("/metrics", (text) => /^llamacpp:requests_processing [1-9]/m.test(text));
const ask = (word) => console.log(JSON.stringify({ step: word })); // whoever started this

// pieces reads a stream, and tells after of each piece.
async function pieces(stream, after = () => {}) {
  const list = [];
  for await (const piece of stream) after(list.push(piece));
  return list;
}

await step("whole", async () => ({ text: await (await open()).whole("Hi", 12) }));
if (process.argv[4] === "whole") process.exit(0);
await step("stream", async () => {
  const list = await pieces((await open()).stream("Hi", 12));
  return { text: list.join(""), pieces: list.length };
});
await step("embed", async () => {
  const sdk = await open();
  if (!sdk.embed) return {};
  const vectors = await sdk.embed(["a small boat", "a large boat"]);
  return { vectors: vectors.length, width: vectors[0].length, length: Math.hypot(...vectors[0]) };
});
await step("abort a stream", async (said) => {
  const stop = new AbortController();
  await pieces((await open()).stream("Go on", long, stop.signal), (n) => {
    if (n !== 3) return;
    said.left = Date.now();
    stop.abort();
  });
});
await step("abort the whole", async (said) => {
  const stop = new AbortController();
  await idle(); // it may still be ending the stream
  const answer = (await open()).whole("Go on", long, stop.signal);
  if (await Promise.race([answer.then(() => true), running()])) return;
  said.left = Date.now();
  stop.abort();
  await answer;
});
await step("too long", async () => ({ text: await (await open()).whole("x".repeat(9000), 12) }));
await step("too dear", async () => ({ text: await (await open(8)).whole("Hi", 12) }));
await step("dies", async () => {
  const list = await pieces((await open()).stream("Go on", long), (n) => { if (n === 3) ask("kill"); });
  return { text: list.join("") };
});
await step("is gone", async () => ({ text: await (await open()).whole("Hi", 12) }));
ask("restart");
await until("/health", (text) => text.includes("ok"));
await step("is back", async () => ({ text: await (await open()).whole("Hi", 12) }));
await step("dies before its answer", async () => {
  await idle();
  const answer = (await open()).whole("Go on", long);
  answer.catch(() => {}); // it is awaited below
  await running();
  ask("kill");
  return { text: await answer };
});
process.exit(0); // some SDKs leave a connection or a timer
