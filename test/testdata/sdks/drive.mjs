// Drives one SDK through all that a client does, and prints what the SDK made of
// each step as a line of JSON: node drive.mjs openai.
//
// TICKETED is the fetch of docs/clients.md, ENGINE the engine itself: only its
// figures are read there.
import { createOpenAICompatible } from "@ai-sdk/openai-compatible";
import Anthropic from "@anthropic-ai/sdk";
import { InferenceClient } from "@huggingface/inference";
import { ChatOpenAI, OpenAIEmbeddings } from "@langchain/openai";
import { embedMany, generateText, streamText } from "ai";
import { Ollama } from "ollama";
import OpenAI from "openai";

const { ticketed } = await import(process.env.TICKETED);
const user = (content) => [{ role: "user", content }];
const sampling = { temperature: 0, seed: 1 };
const retries = 1;

// Each SDK: whole makes an answer at once, stream is an iterator over its pieces,
// embed makes a vector for each text. Tokens are the limit asked for, and cost
// what the ticket is for.
const sdks = {
  openai(cost) {
    const client = new OpenAI({ baseURL: "http://worker/v1", apiKey: "unused", maxRetries: retries, fetch: ticketed("my-llama", cost) });
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
  vercel(cost) {
    const worker = createOpenAICompatible({ name: "worker", baseURL: "http://worker/v1", fetch: ticketed("my-llama", cost) });
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
  langchain(cost) {
    const configuration = { baseURL: "http://worker/v1", fetch: ticketed("my-llama", cost) };
    const model = (tokens) => new ChatOpenAI({ model: "random", apiKey: "unused", maxTokens: tokens, temperature: 0, maxRetries: retries, configuration });
    return {
      whole: async (prompt, tokens, signal) => (await model(tokens).invoke(prompt, { signal })).text,
      async *stream(prompt, tokens, signal) {
        for await (const chunk of await model(tokens).stream(prompt, { signal })) if (chunk.text) yield chunk.text;
      },
      embed: (texts) => new OpenAIEmbeddings({ model: "random", apiKey: "unused", maxRetries: retries, configuration }).embedDocuments(texts),
    };
  },
  ollama(cost) { // it never tries again, and stops only streams
    const client = new Ollama({ host: "http://worker", fetch: ticketed("my-llama", cost) });
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
  anthropic(cost) {
    const client = new Anthropic({ baseURL: "http://worker", apiKey: "unused", maxRetries: retries, fetch: ticketed("my-llama", cost) });
    const ask = (prompt, tokens) => ({ model: "random", messages: user(prompt), max_tokens: tokens, temperature: 0 });
    return {
      whole: async (prompt, tokens, signal) => (await client.messages.create(ask(prompt, tokens), { signal })).content[0].text,
      async *stream(prompt, tokens, signal) {
        for await (const event of await client.messages.create({ ...ask(prompt, tokens), stream: true }, { signal }))
          if (event.type === "content_block_delta") yield event.delta.text;
      },
    };
  },
  huggingface(cost) {
    const client = new InferenceClient("unused", { endpointUrl: "http://worker", fetch: ticketed("my-llama", cost) });
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

const long = 4096;
const sdk = sdks[process.argv[2]](long), cheap = sdks[process.argv[2]](8);

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

async function running() {
  for (;;) {
    const text = await (await fetch(`${process.env.ENGINE}/metrics`)).text();
    if (/^llamacpp:requests_processing [1-9]/m.test(text)) return;
  }
}

// pieces reads a stream until stop says so.
async function pieces(stream, after = () => {}) {
  const list = [];
  for await (const piece of stream) {
    list.push(piece);
    after(list.length);
  }
  return list;
}

await step("whole", async () => ({ text: await sdk.whole("Hi", 12) }));
await step("stream", async () => {
  const list = await pieces(sdk.stream("Hi", 12));
  return { text: list.join(""), pieces: list.length };
});
if (sdk.embed) await step("embed", async () => {
  const vectors = await sdk.embed(["a small boat", "a large boat"]);
  return { vectors: vectors.length, width: vectors[0].length, length: Math.hypot(...vectors[0]) };
});
await step("abort a stream", async (said) => {
  const stop = new AbortController();
  await pieces(sdk.stream("Go on", long, stop.signal), (n) => {
    if (n !== 3) return;
    said.left = Date.now();
    stop.abort();
  });
});
await step("abort the whole", async (said) => {
  const stop = new AbortController();
  const answer = sdk.whole("Go on", long, stop.signal);
  if (await Promise.race([answer.then(() => true), running()])) return;
  said.left = Date.now();
  stop.abort();
  await answer;
});
await step("too long", async () => ({ text: await sdk.whole("far too long ".repeat(2000), 12) }));
await step("too dear", async () => ({ text: await cheap.whole("Hi", 12) }));
await step("dies", async () => {
  let told = false;
  const list = await pieces(sdk.stream("Go on", long), (n) => {
    if (n >= 3 && !told) console.log(JSON.stringify({ step: "kill" }));
    told ||= n >= 3;
  });
  return { text: list.join("") };
});
await step("is gone", async () => ({ text: await sdk.whole("Hi", 12) }));
process.exit(0); // some SDKs leave a connection or a timer
