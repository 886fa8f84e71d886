// The charts of the last fifteen minutes, drawn by uPlot. Lines differ in their dashes
// and areas in their hatching, not only in colour; the legends show the figures as
// text.
import { perSecond, span, percent } from "./words.js";

const minutes = 15 * 60;
const theme = matchMedia("(prefers-color-scheme: dark)");
const color = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
const hatches = { served: "plain", ticket: "up", busy: "down", worker: "dots", model: "cross", gone: "flat" };
const dashes = { plain: [], dashed: [6, 4], dotted: [2, 3] };

const classes = [
  ["served", "served"], ["ticket", "refused: ticket or request"], ["busy", "refused: no room"],
  ["worker", "refused: Usher not ready"], ["model", "model server failed"], ["gone", "client left"],
].map(([name, label]) => ({ label, color: `--${name}`, hatch: hatches[name] }));

const percentiles = (field) => [
  { label: "p50", color: "--running", dash: "plain", read: (p) => seconds(p[field].p50, p[field].count) },
  { label: "p99", color: "--ticket", dash: "dashed", read: (p) => seconds(p[field].p99, p[field].count) },
];
const seconds = (value, count) => (count > 0 ? value : null);

const kinds = {
  rates: { format: perSecond, stacked: true, series: classes.map((c, i) => ({ ...c, read: (p) => p.rates[i] })) },
  load: {
    format: (v) => String(v), whole: true, series: [
      { label: "in flight", color: "--running", dash: "plain", fill: true, read: (p) => p.in_flight },
      { label: "waiting", color: "--waiting", dash: "dashed", read: (p) => p.waiting },
    ],
  },
  wait: { format: span, series: percentiles("wait") },
  first: { format: span, series: percentiles("first_byte") },
  gap: { format: span, series: percentiles("token_gap") },
  hold: {
    format: span, other: percent, series: [
      { label: "hold", color: "--running", dash: "plain", read: (p) => p.hold },
      { label: "out of order", color: "--ticket", dash: "dashed", scale: "share", read: (p) => p.reordered },
      { label: "target", color: "--dim", dash: "dotted", scale: "share", read: (p, state) => state.ordering.target },
    ],
  },
};

export class Charts {
  constructor() {
    this.charts = Object.entries(kinds).map(([id, kind]) => new Chart(id, kind));
    theme.addEventListener("change", () => this.charts.forEach((c) => c.make()));
  }

  show(history, state) { this.charts.forEach((c) => c.show(history, state)); }
}

class Chart {
  constructor(id, kind) {
    this.id = id;
    this.kind = kind;
    this.box = document.getElementById(id);
    this.legend = document.getElementById(`${id}-legend`);
    this.data = [[], ...kind.series.map(() => [])];
    this.values = this.data;
    this.make();
    new ResizeObserver(() => this.plot.setSize(this.size())).observe(this.box);
  }

  size() { return { width: Math.max(160, this.box.clientWidth), height: 190 }; }

  make() {
    this.plot?.destroy();
    const { kind } = this, axis = { stroke: color("--dim"), font: "11px system-ui", grid: { stroke: color("--grid"), width: 1 }, ticks: { show: false } };
    const amount = (scale, format, side) => ({
      ...axis, scale, side, size: 56, gap: 4, ...(kind.whole ? { incrs: [1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000] } : {}), grid: side === 1 ? { show: false } : axis.grid,
      values: (_, ticks) => ticks.map((v) => (v === null ? "" : format(v))),
    });
    const axes = [{ ...axis, values: (_, ticks, __, ___, step) => ticks.map((t) => clock(t, step)), space: 70, size: 26 }, amount("y", kind.format, 3)];
    if (kind.other) axes.push(amount("share", kind.other, 1));
    const floor = (_, low, high) => [0, Math.max(high * 1.1, kind.format === span ? 0.001 : 1)];
    const options = {
      ...this.size(), legend: { show: false }, axes, padding: [8, kind.other ? 0 : 8, 0, 0],
      cursor: { y: false, points: { show: false }, drag: { x: false, y: false } },
      scales: {
        x: { range: () => this.range() },
        y: { range: floor }, share: { range: (_, low, high) => [0, Math.max(high * 1.3, 0.005)] },
      },
      series: [{}, ...kind.series.map((s) => this.line(s))],
      hooks: { setCursor: [(u) => this.tell(u.cursor.idx)] },
    };
    if (kind.stacked) options.bands = kind.series.slice(1).map((_, i) => ({ series: [i + 2, i + 1] }));
    this.plot = new uPlot(options, this.data, this.box);
    this.swatches();
    this.tell(null);
  }

  // range is the time for which there are points, but at least two minutes and at most
  // fifteen.
  range() {
    const now = this.values[0].at(-1) ?? Date.now() / 1000, first = this.values[0][0] ?? now;
    return [now - Math.max(120, Math.min(minutes, now - first)), now];
  }

  line(s) {
    const base = { scale: s.scale ?? "y", stroke: color(s.color), width: 1.75, points: { show: false }, spanGaps: false };
    if (this.kind.stacked) return { ...base, width: 1, fill: () => hatch(s.hatch, color(s.color)) };
    return { ...base, dash: dashes[s.dash], fill: s.fill ? `${color(s.color)}22` : undefined };
  }

  swatches() {
    this.legend.replaceChildren(...this.kind.series.map((s) => {
      const item = document.createElement("li"), c = document.createElement("canvas"), g = c.getContext("2d");
      c.width = 40; c.height = 28;
      c.setAttribute("aria-hidden", "true");
      g.scale(2, 2);
      if (this.kind.stacked) {
        g.fillStyle = hatch(s.hatch, color(s.color)); g.fillRect(0, 1, 20, 12);
        g.strokeStyle = color(s.color); g.strokeRect(0.5, 1.5, 19, 11);
      } else {
        g.strokeStyle = color(s.color); g.lineWidth = 2.5; g.setLineDash(dashes[s.dash]);
        g.beginPath(); g.moveTo(0, 7); g.lineTo(20, 7); g.stroke();
      }
      const value = document.createElement("b");
      item.append(c, `${s.label} `, value);
      s.value = value;
      return item;
    }));
  }

  show(history, state) {
    const { series, stacked } = this.kind;
    this.values = [history.map((p) => p.at), ...series.map((s) => history.map((p) => s.read(p, state)))];
    this.data = this.values;
    if (stacked) {
      const sums = history.map(() => 0);
      this.data = [this.values[0], ...series.map((_, i) => this.values[i + 1].map((v, j) => (sums[j] += v)))];
    }
    this.plot.setData(this.data);
    this.tell(this.plot.cursor.idx);
  }

  // tell shows the values under the cursor, or the latest, in the legend.
  tell(index) {
    this.kind.series.forEach((s, i) => {
      const column = this.values[i + 1], value = column[index ?? column.length - 1];
      s.value.textContent = value === null || value === undefined ? "–" : (s.scale ? this.kind.other : this.kind.format)(value);
    });
  }
}

function clock(at, step) {
  const d = new Date(at * 1000), two = (n) => String(n).padStart(2, "0");
  return `${two(d.getHours())}:${two(d.getMinutes())}${step < 60 ? `:${two(d.getSeconds())}` : ""}`;
}

// hatch is a fill of a colour and a pattern.
function hatch(kind, stroke) {
  const tile = document.createElement("canvas");
  tile.width = tile.height = 8;
  const g = tile.getContext("2d");
  g.globalAlpha = kind === "plain" ? 0.55 : 0.3;
  g.fillStyle = g.strokeStyle = stroke;
  g.fillRect(0, 0, 8, 8);
  g.globalAlpha = 1;
  g.lineWidth = 1.5;
  g.beginPath();
  if (kind === "up" || kind === "cross") { g.moveTo(-2, 10); g.lineTo(10, -2); g.moveTo(-2, 2); g.lineTo(2, -2); g.moveTo(6, 10); g.lineTo(10, 6); }
  if (kind === "down" || kind === "cross") { g.moveTo(-2, -2); g.lineTo(10, 10); g.moveTo(6, -2); g.lineTo(10, 2); g.moveTo(-2, 6); g.lineTo(2, 10); }
  if (kind === "flat") { g.moveTo(0, 4); g.lineTo(8, 4); }
  if (kind === "dots") { g.fillRect(1, 1, 2, 2); g.fillRect(5, 5, 2, 2); }
  g.stroke();
  return g.createPattern(tile, "repeat");
}
