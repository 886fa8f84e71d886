// The page follows /events: "all" once, then "news" every second and "strip" in
// between. Everything from outside is inserted as text, never as HTML.
import { Strip } from "./strip.js";
import { Charts } from "./charts.js";
import { age, percent, span } from "./words.js";

const $ = (id) => document.getElementById(id);
const signs = { good: "✓", warn: "▲", bad: "✕" };
const words = { good: "good", warn: "warning", bad: "bad" };

const strip = new Strip($("strip"), $("strip-one"), $("strip-text"), $("strip-legend"));
const charts = new Charts();
let state = null;

function element(name, attributes, ...children) {
  const e = document.createElement(name);
  for (const [key, value] of Object.entries(attributes ?? {})) e.setAttribute(key, value);
  e.append(...children);
  return e;
}

// set changes a text only if it differs, so that selections survive.
function set(id, text) { if ($(id).textContent !== text) $(id).textContent = text; }

// fill replaces the children of a list only if what they show has changed.
const shown = new Map();
function fill(id, data, build) {
  const key = JSON.stringify(data);
  if (shown.get(id) === key) return;
  shown.set(id, key);
  $(id).replaceChildren(...data.map(build));
}

function all(next) {
  state = next;
  fill("settings", next.settings ?? [], (s) => {
    const part = document.createDocumentFragment();
    part.append(element("dt", {}, s.name), element("dd", {}, s.value || "–"));
    return part;
  });
  fill("warnings", next.warnings ?? [], (w) => element("li", {}, w));
  render();
}

function news(next) {
  if (!state) return;
  const last = state.history.at(-1)?.at ?? 0, seq = state.refusals[0]?.seq ?? 0;
  next.history = [...state.history, ...next.history.filter((p) => p.at > last)].slice(-180);
  next.refusals = [...next.refusals.filter((r) => r.seq > seq), ...state.refusals].slice(0, 50);
  state = next;
  render();
}

function render() {
  const s = state;
  document.title = `${signs[s.verdict.level]} Usher ${s.name}`;
  set("name", s.name);
  set("url", s.url || "any worker address");
  set("version", s.version);
  set("uptime", `up ${age(s.uptime)}`);
  if ($("verdict").dataset.level !== s.verdict.level) {
    // Read out by screen readers when the level changes, not every second.
    if ($("verdict").dataset.level) set("announce", `${words[s.verdict.level]}: ${s.verdict.text}`);
    $("verdict").dataset.level = s.verdict.level;
  }
  set("verdict-sign", signs[s.verdict.level]);
  set("verdict-text", s.verdict.text);
  fill("answers", s.answers, (a) => element("li", { "data-level": a.level },
    element("h3", {}, a.question), element("p", { class: "short" }, `${signs[a.level]} ${a.short}`), element("p", { class: "detail" }, a.detail)));
  order(s);
  moved(s);
  charts.show(s.history, s);
  reasons(s);
  facts(s);
  recent(s);
}

function order(s) {
  const o = s.ordering;
  const figures = [[span(o.hold), o.learned ? `hold (learned, at most ${span(o.max_hold)})` : "hold (as set)"],
    [percent(o.reordered), `out of order in the last five minutes${o.learned ? `, target ${percent(o.target)}` : ""}`],
    [String(o.opened), `numbers were missing: ${o.filled} came in time, ${o.given_up} were given up, ${o.late} came late`]];
  if (o.restarts > 0) figures.push([String(o.restarts), "times numbering restarted"]);
  fill("order-figures", figures, ([value, name]) => element("span", {}, element("b", {}, value), ` ${name}`));
}

function moved(m) {
  strip.show(m.strip, m.load, m.expected ?? m.ordering.expected);
}

function reasons(s) {
  $("reasons-none").hidden = s.reasons.length > 0;
  fill("reasons", s.reasons, (r) => element("li", { class: r.minute > 0 ? "" : "old", "data-code": r.code },
    element("span", { class: "count" }, String(r.minute), element("small", {}, `${r.total} total`)),
    element("span", { class: "why" }, r.reason, element("code", {}, r.code)),
    element("p", {}, r.advice)));
}

function list(id, rows) {
  fill(id, rows.filter(([, value]) => value), ([name, value, wrong]) => {
    const part = document.createDocumentFragment();
    part.append(element("dt", {}, name), element("dd", wrong ? { class: "bad" } : {}, value));
    return part;
  });
}

function engine(e) {
  if (!e) return [];
  const cache = e.cache === undefined ? "" : `, ${(100 * e.cache).toFixed(0)} % of its cache in use`;
  return [["why this many", e.slots],
    [e.name, e.known ? `${e.running} running, ${e.waiting} waiting${cache}` : e.fault || "it reports no figures", Boolean(e.fault)],
    ["orphans", e.orphans > 0 && `${e.orphans} requests that no client of Usher is waiting for`, true]];
}

function facts(s) {
  fill("checks", s.checks, (c) => element("li", { "data-level": c.ok ? "good" : "bad" },
    element("span", { class: "sign" }, c.ok ? "✓" : "✕"), element("span", { class: "quiet" }, c.ok ? "passes: " : "fails: "), c.ok ? c.detail : `${c.name}: ${c.detail}`));
  const k = s.key;
  list("key", [["fingerprint", k.fingerprint || "none yet"], ["algorithm", k.algorithm], ["source", k.source],
    ["last read", k.algorithm && `${age(k.age)} ago`], ["in force", k.algorithm && `for ${age(k.in_force)}`],
    ["last error", k.error || "none", Boolean(k.error)],
    ...(k.others ?? []).map((o) => ["also accepted", o.fingerprint + (o.for ? `, for ${age(o.for)} more` : "")])]);
  const u = s.upstream, l = s.load;
  list("model", [["address", u.address], ["health", (u.healthy ? "✓ " : "✕ ") + u.detail, !u.healthy], ["probe", u.probe],
    ["slots", l.slots ? `${l.in_flight} of ${l.slots} taken` : `${l.in_flight} in flight, no limit`],
    ...engine(s.engine),
    ["queue", `${l.waiting} of ${l.capacity}, ${l.held} held for a gap`], ["connections", String(l.connections)],
    ["TLS", s.tls?.text, !s.tls?.ok],
    ["reports", s.report?.text, !s.report?.ok], ["last report", s.report?.said],
    ["sessions", s.sessions && `${s.sessions.open} of ${s.sessions.most} open, ${s.sessions.requests} requests in them so far`],
    ...(s.sessions?.oldest ?? []).map((o) => ["one of them", `opened ${age(o.age)} ago, expires in ${age(o.left)}, ${o.requests} requests, ${o.inside} in flight`])]);
}

function recent(s) {
  $("recent-none").hidden = s.refusals.length > 0;
  fill("recent", s.refusals, (r) => element("tr", {},
    element("td", {}, new Date(r.at).toLocaleTimeString([], { hour12: false })), element("td", {}, element("code", {}, r.code)), element("td", {}, String(r.status)),
    element("td", {}, r.reqnum < 0 ? "–" : String(r.reqnum)), element("td", {}, r.client), element("td", {}, r.route),
    element("td", {}, span(r.waited_ms / 1000)), element("td", { class: "id" }, r.request_id)));
}

function live(on, text) {
  $("live").dataset.state = on ? "on" : "off";
  set("live", text);
}

function follow() {
  const source = new EventSource("events");
  let again = 0;
  source.addEventListener("all", (e) => { all(JSON.parse(e.data)); live(true, "live"); });
  source.addEventListener("news", (e) => news(JSON.parse(e.data)));
  source.addEventListener("strip", (e) => moved(JSON.parse(e.data)));
  source.addEventListener("end", () => live(false, "Usher is shutting down"));
  source.onerror = () => {
    live(false, "not connected; trying again");
    // A browser does not reconnect after an answer that is not an event stream.
    if (source.readyState === EventSource.CLOSED && !again) again = setTimeout(follow, 5000);
  };
}
follow();
