// The APIs: how each states what it wants, and how its answers look, whole or as
// a stream (its head, one piece a token, its tail). After tools/server of
// llama.cpp and, for the last, Ollama's API.
import { randomUUID } from "node:crypto";

const event = (data, name) => `${name ? `event: ${name}\n` : ""}data: ${typeof data === "string" ? data : JSON.stringify(data)}\n\n`;
const now = () => Math.floor(Date.now() / 1000);
const clean = (object) => ({ ...(object.temperature === 0 && { top_k: 1 }), ...Object.fromEntries(Object.entries(object).filter(([, value]) => value != null)) });
const openai = (body) => clean({ n_predict: body.max_tokens ?? body.max_completion_tokens ?? body.n_predict, temperature: body.temperature, top_p: body.top_p, seed: body.seed, stop: body.stop && [body.stop].flat() });
const usage = ({ prompt, made }) => ({ prompt_tokens: prompt, completion_tokens: made, total_tokens: prompt + made });
const finish = ({ limited }) => limited ? "length" : "stop";

export const chat = {
  conversation: true,
  options: openai,
  whole: (facts) => ({ id: `chatcmpl-${randomUUID()}`, object: "chat.completion", created: now(), model: "random", usage: usage(facts), timings: facts.timings,
    choices: [{ index: 0, finish_reason: finish(facts), message: { role: "assistant", content: facts.text } }] }),
  stream(body) {
    const shared = { id: `chatcmpl-${randomUUID()}`, object: "chat.completion.chunk", created: now(), model: "random" };
    const chunk = (delta, finish_reason = null) => event({ ...shared, choices: [{ index: 0, delta, finish_reason }] });
    return {
      head: () => [chunk({ role: "assistant", content: null })],
      token: (content) => [chunk({ content })],
      tail: (facts) => [chunk({}, finish(facts)), ...(body.stream_options?.include_usage ? [event({ ...shared, choices: [], usage: usage(facts) })] : []), event("[DONE]")],
    };
  },
};

export const completion = {
  options: openai,
  whole: (facts) => ({ id: `cmpl-${randomUUID()}`, object: "text_completion", created: now(), model: "random", usage: usage(facts),
    choices: [{ index: 0, text: facts.text, logprobs: null, finish_reason: finish(facts) }] }),
  stream() {
    const shared = { id: `cmpl-${randomUUID()}`, object: "text_completion", created: now(), model: "random" };
    const chunk = (text, finish_reason = null) => event({ ...shared, choices: [{ index: 0, text, logprobs: null, finish_reason }] });
    return { head: () => [], token: (text) => [chunk(text)], tail: (facts) => [chunk("", finish(facts)), event("[DONE]")] };
  },
};

const llamaEnd = (facts, content) => ({ index: 0, content, stop: true, stop_type: facts.limited ? "limit" : "eos", tokens_predicted: facts.made, tokens_evaluated: facts.prompt, timings: facts.timings });

export const llama = {
  options: openai,
  whole: (facts) => llamaEnd(facts, facts.text),
  stream: () => ({ head: () => [], token: (content) => [event({ index: 0, content, stop: false })], tail: (facts) => [event(llamaEnd(facts, ""))] }),
};

export const messages = {
  conversation: true,
  options: (body) => clean({ n_predict: body.max_tokens, temperature: body.temperature, top_p: body.top_p, stop: body.stop_sequences }),
  whole: (facts) => ({ id: `msg_${randomUUID()}`, type: "message", role: "assistant", model: "random", content: [{ type: "text", text: facts.text }],
    stop_reason: facts.limited ? "max_tokens" : "end_turn", stop_sequence: null, usage: { input_tokens: facts.prompt, output_tokens: facts.made } }),
  stream() {
    const tell = (data) => event(data, data.type);
    return {
      head: () => [tell({ type: "message_start", message: { id: `msg_${randomUUID()}`, type: "message", role: "assistant", model: "random", content: [], stop_reason: null, stop_sequence: null, usage: { input_tokens: 0, output_tokens: 0 } } }),
        tell({ type: "content_block_start", index: 0, content_block: { type: "text", text: "" } })],
      token: (text) => [tell({ type: "content_block_delta", index: 0, delta: { type: "text_delta", text } })],
      tail: (facts) => [tell({ type: "content_block_stop", index: 0 }),
        tell({ type: "message_delta", delta: { stop_reason: facts.limited ? "max_tokens" : "end_turn", stop_sequence: null }, usage: { input_tokens: facts.prompt, output_tokens: facts.made } }),
        tell({ type: "message_stop" })],
    };
  },
};

export const ollama = {
  conversation: true,
  streams: true, // where a request does not say
  type: "application/x-ndjson",
  options: (body) => clean({ n_predict: body.options?.num_predict, temperature: body.options?.temperature, seed: body.options?.seed, stop: body.options?.stop }),
  whole: (facts) => ({ ...part(facts.text), ...ollamaEnd(facts) }),
  stream: () => ({ head: () => [], token: (content) => [`${JSON.stringify({ ...part(content), done: false })}\n`], tail: (facts) => [`${JSON.stringify({ ...part(""), ...ollamaEnd(facts) })}\n`] }),
};

const part = (content) => ({ model: "random", created_at: new Date().toISOString(), message: { role: "assistant", content } });
const ollamaEnd = (facts) => ({ done: true, done_reason: finish(facts) === "length" ? "length" : "stop", prompt_eval_count: facts.prompt, eval_count: facts.made });
