// An HTTP server around the engine, with the routes and shapes of llama.cpp's own
// server (tools/server) and Ollama's chat and embeddings. A request whose
// connection closes is stopped in the engine.
//
//   node server.mjs MODEL.gguf HOST PORT: prints its address when it listens, answers
//   503 until the model is loaded, and prints one line of JSON for each POST that it
//   has done with: how many tokens the engine made, whether it was stopped, when it
//   was out of the engine (ms since 1970), and how long that was after its
//   connection closed (ms).
import http from "node:http";
import { Engine, Fault, context, slots } from "./engine.mjs";
import { chat, completion, llama, messages, ollama } from "./shapes.mjs";

const maxBody = 16 << 20, model = process.argv[2];
let engine;

const routes = {
  "GET /health": async () => ({ status: "ok" }),
  "GET /props": async () => ({ total_slots: slots, model_path: model, chat_template: engine.template, build_info: engine.build, default_generation_settings: { n_ctx: context } }),
  "GET /slots": async () => engine.status().requests,
  "GET /v1/models": async () => ({ object: "list", data: [{ id: "random", object: "model", created: 0, owned_by: "llamacpp", meta: { n_params: engine.model.nParams, n_embd: engine.model.nEmbd, size: engine.model.size } }] }),
  "GET /metrics": metrics,
  "POST /v1/chat/completions": (call) => generate(call, chat),
  "POST /v1/completions": (call) => generate(call, completion),
  "POST /completion": (call) => generate(call, llama),
  "POST /v1/messages": (call) => generate(call, messages),
  "POST /api/chat": (call) => generate(call, ollama),
  "POST /v1/embeddings": embeddings,
  "POST /api/embed": ollamaEmbeddings,
  "POST /tokenize": async ({ body }) => ({ tokens: await engine.tokens(text(body.content, "content")) }),
  "POST /detokenize": async ({ body }) => ({ content: await engine.text(body.tokens ?? []) }),
};

async function metrics({ res }) {
  const s = engine.status();
  res.setHeader("Content-Type", "text/plain; version=0.0.4");
  res.end([["prompt_tokens_total", "counter", s.prompt], ["tokens_predicted_total", "counter", s.predicted],
    ["requests_processing", "gauge", s.running], ["requests_deferred", "gauge", s.waiting]]
    .map(([name, type, value]) => `# TYPE llamacpp:${name} ${type}\nllamacpp:${name} ${value}\n`).join(""));
}

function text(value, name) {
  if (typeof value !== "string") throw new Fault(400, "invalid_request_error", `"${name}" must be a string`);
  return value;
}

// generate answers with what the engine makes of a request, in one API's shape.
async function generate({ res, body, told }, shape) {
  const { n_predict, ...sampling } = shape.options(body);
  if (body.n > 1) throw new Fault(400, "invalid_request_error", "Only one completion choice is allowed");
  const prompt = shape.conversation ? engine.prompt(conversation(body.messages)) : text(body.prompt, "prompt");
  const stream = body.stream ?? shape.streams ?? false, out = shape.stream?.(body);
  const write = (parts) => { for (const part of parts) res.write(part); };
  let closed = res.destroyed, job, since;
  const stop = () => { since = performance.now(); job.stop(); };
  res.on("close", () => { closed = true; if (job && !res.writableFinished) stop(); });
  const options = { temperature: 0.8, seed: -1, ...sampling, n_predict: n_predict ?? -1 };
  job = await engine.generate(prompt, options, (token) => {
    told.tokens++;
    if (!stream || closed) return;
    if (!res.headersSent) {
      res.writeHead(200, { "Content-Type": shape.type ?? "text/event-stream" });
      write(out.head());
    }
    write(out.token(token));
  });
  if (closed) stop();
  let result;
  try {
    result = await job.done;
  } catch (error) {
    if (!since) throw error;
    // Asked for its state while it takes a request out, the library may crash.
    do await new Promise((go) => setTimeout(go, 25)); while (job.running());
    Object.assign(told, { stopped: true, after: performance.now() - since });
    return;
  }
  const facts = { text: result.text, prompt: result.prompt_tokens, made: told.tokens, limited: result.stopped_limit || result.context_full, timings: result.timings };
  if (!stream) return shape.whole(facts);
  if (!res.headersSent) { // not one token
    res.writeHead(200, { "Content-Type": shape.type ?? "text/event-stream" });
    write(out.head());
  }
  write(out.tail(facts));
  res.end();
}

function conversation(list) {
  if (!Array.isArray(list)) throw new Fault(400, "invalid_request_error", "'messages' is required");
  return list.map(({ role, content }) => ({ role, content: typeof content === "string" ? content : (content ?? []).map((part) => part.text ?? "").join("") }));
}

async function embeddings({ body }) {
  const inputs = [body.input].flat();
  const made = await Promise.all(inputs.map((input) => engine.embed(text(input, "input"))));
  const tokens = made.reduce((n, one) => n + one.tokens, 0);
  const coded = (vector) => body.encoding_format === "base64" ? Buffer.from(new Float32Array(vector).buffer).toString("base64") : vector;
  return { object: "list", model: "random", usage: { prompt_tokens: tokens, total_tokens: tokens },
    data: made.map(({ vector }, index) => ({ object: "embedding", index, embedding: coded(vector) })) };
}

async function ollamaEmbeddings({ body }) {
  const made = await Promise.all([body.input].flat().map((input) => engine.embed(text(input, "input"))));
  return { model: body.model, embeddings: made.map(({ vector }) => vector), prompt_eval_count: made.reduce((n, one) => n + one.tokens, 0) };
}

async function read(req) {
  const parts = [];
  let size = 0;
  for await (const part of req) {
    if ((size += part.length) > maxBody) throw new Fault(413, "invalid_request_error", "the body is too large");
    parts.push(part);
  }
  try {
    return JSON.parse(Buffer.concat(parts).toString());
  } catch (error) {
    throw new Fault(400, "invalid_request_error", `parse error: ${error.message}`);
  }
}

async function serve(req, res) {
  const told = { request: req.headers["x-request-id"], route: req.url, tokens: 0, stopped: false };
  try {
    if (!engine) throw new Fault(503, "unavailable_error", "Loading model");
    const route = routes[`${req.method} ${new URL(req.url, "http://engine").pathname}`];
    if (!route) throw new Fault(404, "not_found_error", "File Not Found");
    const answer = await route({ res, told, body: req.method === "POST" ? await read(req) : undefined });
    if (answer === undefined || res.destroyed) return;
    res.setHeader("Content-Type", "application/json; charset=utf-8");
    res.end(JSON.stringify(answer));
  } catch (error) {
    if (res.headersSent) return res.destroy();
    const { status = 500, type = "server_error", more = {} } = error;
    res.writeHead(status, { "Content-Type": "application/json; charset=utf-8" });
    res.end(JSON.stringify({ error: req.url.startsWith("/api/") ? error.message : { code: status, message: error.message, type, ...more } }));
  } finally {
    if (req.method === "POST") console.log(JSON.stringify({ ...told, at: Date.now() }));
  }
}

const server = http.createServer(serve).listen(Number(process.argv[4]), process.argv[3], async () => {
  console.log(`http://${process.argv[3]}:${server.address().port}`);
  engine = await Engine.load(model);
});
process.stdin.resume().on("end", () => process.exit(0)); // and goes with whoever started it
