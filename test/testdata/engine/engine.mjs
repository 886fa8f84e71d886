// The engine: llama.cpp by its library, as many requests side by side as it has
// slots. What is told of it is what the library says, not what was asked of it.
import { loadModel, BuildInfo } from "@fugood/llama.node";

export const slots = 4;
export const context = 8192; // tokens of a request, prompt and all
const batch = 512;

export class Fault extends Error {
  constructor(status, type, message, more = {}) {
    super(message);
    Object.assign(this, { status, type, more });
  }
}

export class Engine {
  #text; #vectors; // llama.cpp makes tokens in one context and embeddings in another
  #figures = { predicted: 0, prompt: 0 };

  static async load(model) {
    const engine = new Engine(), shared = { model, n_parallel: slots, n_threads: 1, n_gpu_layers: 0, n_batch: batch };
    engine.#text = await loadModel({ ...shared, n_ctx: slots * context });
    engine.#vectors = await loadModel({ ...shared, n_ctx: slots * batch, embedding: true, pooling_type: "mean" });
    for (const one of [engine.#text, engine.#vectors])
      if (!(await one.parallel.enable({ n_parallel: slots, n_batch: batch }))) throw new Error("no slots");
    return engine;
  }

  get build() { return `b${BuildInfo.number}-${BuildInfo.commit}`; }
  get template() { return this.#text.getModelInfo().metadata["tokenizer.chat_template"]; }
  get model() { return this.#text.getModelInfo(); }

  // prompt is the text that a conversation is for the model.
  prompt(messages) { return this.#text.getFormattedChat(messages).prompt; }

  async tokens(text) { return Array.from((await this.#text.tokenize(text)).tokens); }
  text(tokens) { return this.#text.detokenize(tokens); }

  // generate begins to make tokens; each is told to onToken. The promise resolves
  // with the library's account of it; stop ends the work.
  async generate(prompt, options, onToken) {
    const n = (await this.tokens(prompt)).length;
    if (n >= context)
      throw new Fault(400, "exceed_context_size_error", `request (${n} tokens) exceeds the available context size (${context} tokens), try increasing it`, { n_prompt_tokens: n, n_ctx: context });
    const job = await this.#text.parallel.completion({ ...options, prompt }, (_, { token }) => {
      this.#figures.predicted++;
      onToken(token);
    });
    const done = job.promise.then((result) => {
      this.#figures.prompt += n;
      return { ...result, prompt_tokens: n };
    });
    done.catch(() => {}); // one that is stopped rejects, with or without a reader
    const running = () => this.#text.parallel.getStatus().requests.some((one) => one.request_id === job.requestId);
    return { done, running, stop: job.stop };
  }

  async embed(text) {
    const n = (await this.tokens(text)).length;
    if (n > batch)
      throw new Fault(400, "exceed_context_size_error", `input (${n} tokens) is too large to process`, { n_prompt_tokens: n, n_ctx: batch });
    const job = await this.#vectors.parallel.embedding(text, { embd_normalize: 2 });
    return { tokens: n, vector: Array.from((await job.promise).embedding) };
  }

  // status is the library's own: what runs in its slots and waits for one, now.
  status() {
    const [a, b] = [this.#text, this.#vectors].map((one) => one.parallel.getStatus());
    return { running: a.active_slots + b.active_slots, waiting: a.queued_requests + b.queued_requests, requests: a.requests.concat(b.requests), ...this.#figures };
  }
}
