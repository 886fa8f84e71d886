// The strip: one column for each number, which moves down the lanes from missing to
// served. States differ in place and shape; colour is only an aid.

const lanes = ["missing", "waiting", "in flight", "served", "not served"];
const states = {
  ".": { lane: 0, name: "missing: it has not come, but a higher one has", color: "--missing", shape: "hollow" },
  w: { lane: 1, name: "waiting", color: "--waiting", shape: "half" },
  i: { lane: 2, name: "in flight", color: "--running", shape: "full" },
  s: { lane: 3, name: "served", color: "--served", shape: "full" },
  x: { lane: 4, name: "given up: it did not come in time", color: "--missing", shape: "cross" },
  r: { lane: 4, name: "refused", color: "--ticket", shape: "triangle" },
  e: { lane: 4, name: "failed at the model server", color: "--model", shape: "bolt" },
  g: { lane: 4, name: "its client left", color: "--gone", shape: "low" },
};
const marks = { ".": "", f: ", after a higher one, in time: it filled a gap", l: ", late: after a higher one had been admitted" };
const legend = [["w", "waiting"], ["i", "in flight"], ["s", "served"], [".", "missing"], ["x", "given up"],
  ["r", "refused"], ["e", "failed"], ["g", "client left"], ["f", "filled a gap"], ["l", "late"]];

const top = 18;

export class Strip {
  constructor(canvas, readout, text, legendList) {
    this.canvas = canvas;
    this.readout = readout;
    this.text = text;
    this.picture = { from: 0, cells: "", marks: "", missing: 0 };
    this.right = 0; // the number at the right edge; fractional while moving
    this.cursor = null;
    this.still = matchMedia("(prefers-reduced-motion: reduce)");
    new ResizeObserver(() => this.draw()).observe(canvas);
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => { this.draw(); this.drawLegend(legendList); });
    canvas.addEventListener("pointermove", (e) => this.point(e.offsetX));
    canvas.addEventListener("pointerleave", () => { this.cursor = null; this.tell(); this.draw(); });
    canvas.addEventListener("blur", () => { this.cursor = null; this.tell(); this.draw(); });
    canvas.addEventListener("keydown", (e) => this.key(e));
    this.drawLegend(legendList);
  }

  get highest() { return this.picture.from + this.picture.cells.length - 1; }

  show(picture, load, expected) {
    const before = this.highest, first = this.picture.cells === "";
    this.picture = picture;
    this.expected = expected;
    const count = (letter) => picture.cells.split(letter).length - 1;
    const held = load.held > 0 ? ` (${load.held} held for a gap)` : "";
    this.text.textContent = picture.cells === ""
      ? "No signed number has come yet."
      : `Next expected ${expected}: ${picture.missing} missing, ${load.waiting} waiting${held}, ${load.in_flight} in flight; of those shown ${count("s")} served, ${count("x")} given up.`;
    if (this.cursor !== null) this.tell();
    const jump = first || this.still.matches || document.hidden || this.highest < before || this.highest - this.right > this.columns();
    this.began = performance.now();
    this.origin = jump ? this.highest : this.right;
    if (!this.moving) { this.moving = true; this.step(this.began); }
  }

  step(now) {
    const part = Math.min(1, Math.max(0, (now - this.began) / 240));
    this.right = this.origin + (this.highest - this.origin) * (1 - (1 - part) ** 2);
    this.draw();
    this.moving = part < 1 && this.right !== this.highest;
    if (this.moving) requestAnimationFrame((t) => this.step(t));
  }

  narrow() { return this.canvas.clientWidth < 560; }
  labels() { return this.narrow() ? 60 : 76; }
  columns() { return Math.max(20, Math.min(240, Math.floor((this.canvas.clientWidth - this.labels()) / 4.6))); }

  draw() {
    const c = this.canvas, ratio = devicePixelRatio || 1, w = c.clientWidth, h = c.clientHeight;
    if (w === 0) return;
    if (c.width !== Math.round(w * ratio) || c.height !== Math.round(h * ratio)) {
      c.width = Math.round(w * ratio);
      c.height = Math.round(h * ratio);
    }
    const g = c.getContext("2d"), css = getComputedStyle(document.documentElement);
    const color = (name) => css.getPropertyValue(name).trim();
    g.setTransform(ratio, 0, 0, ratio, 0, 0);
    g.clearRect(0, 0, w, h);
    const from = this.labels(), lane = (h - top - 20) / lanes.length, cw = (w - from) / this.columns();
    this.geometry = { from, cw, w };
    g.font = `${this.narrow() ? 11 : 12}px system-ui, sans-serif`;
    g.textBaseline = "middle";
    lanes.forEach((name, i) => {
      g.fillStyle = color("--lane");
      g.fillRect(from, top + i * lane + 1, w - from, lane - 2);
      g.fillStyle = color("--dim");
      g.textAlign = "left";
      g.fillText(name, 0, top + (i + 0.5) * lane);
    });
    const p = this.picture, x = (n) => w - (this.right - n + 1) * cw;
    for (let i = p.cells.length - 1; i >= 0; i--) {
      const n = p.from + i, at = x(n), state = states[p.cells[i]] || states["."];
      if (at < from - cw / 2) break;
      if (p.cells[i] === ".") { // shade the whole column
        g.fillStyle = color("--missing");
        g.globalAlpha = 0.16;
        g.fillRect(at, top, cw, lane * lanes.length);
        g.globalAlpha = 1;
      }
      shape(g, state.shape, at + cw * 0.1, top + state.lane * lane + 3, cw * 0.8, lane - 6, color(state.color));
      if (p.marks[i] !== ".") mark(g, p.marks[i], at + cw / 2, 9, color(p.marks[i] === "f" ? "--running" : "--ticket"));
    }
    this.axis(g, color, x, from, w, h);
  }

  axis(g, color, x, from, w, h) {
    if (this.picture.cells === "") return;
    g.fillStyle = color("--dim");
    g.textAlign = "right";
    g.fillText(String(this.highest), w - 1, h - 9);
    g.textAlign = "left";
    g.fillText(String(Math.max(this.picture.from, this.highest - this.columns() + 1)), from, h - 9);
    if (this.cursor !== null) {
      g.strokeStyle = color("--text");
      g.lineWidth = 1.5;
      g.strokeRect(x(this.cursor), top - 1, this.geometry.cw, h - top - 18);
    }
  }

  point(offset) {
    if (!this.geometry || this.picture.cells === "") return;
    const n = Math.floor(this.highest + 1 - (this.geometry.w - offset) / this.geometry.cw);
    this.cursor = Math.max(this.picture.from, Math.min(this.highest, n));
    this.tell();
    this.draw();
  }

  key(e) {
    const step = { ArrowLeft: -1, ArrowRight: 1, PageUp: -20, PageDown: 20, Home: -1e9, End: 1e9 }[e.key];
    if (step === undefined || this.picture.cells === "") return;
    e.preventDefault();
    const at = (this.cursor ?? this.highest + 1) + step;
    this.cursor = Math.max(Math.max(this.picture.from, this.highest - this.columns() + 1), Math.min(this.highest, at));
    this.tell();
    this.draw();
  }

  tell() {
    const i = this.cursor === null ? -1 : this.cursor - this.picture.from;
    const state = states[this.picture.cells[i]];
    this.readout.textContent = state ? `${this.cursor}: ${state.name}${marks[this.picture.marks[i]] ?? ""}.` : "";
  }

  drawLegend(list) {
    const css = getComputedStyle(document.documentElement);
    list.replaceChildren(...legend.map(([letter, name]) => {
      const item = document.createElement("li"), c = document.createElement("canvas");
      c.width = 40; c.height = 28;
      c.setAttribute("aria-hidden", "true");
      const g = c.getContext("2d");
      g.scale(2, 2);
      const color = (v) => css.getPropertyValue(v).trim();
      if (states[letter]) shape(g, states[letter].shape, 5, 1, 8, 12, color(states[letter].color));
      else mark(g, letter, 9, 7, color(letter === "f" ? "--running" : "--ticket"));
      item.append(c, name);
      return item;
    }));
  }
}

function shape(g, kind, x, y, w, h, color) {
  g.fillStyle = g.strokeStyle = color;
  g.lineWidth = 1.5;
  g.beginPath();
  switch (kind) {
    case "full": g.fillRect(x, y, w, h); return;
    case "half": g.fillRect(x, y + h / 2, w, h / 2); g.fillRect(x, y, w, 2); return;
    case "low": g.fillRect(x, y + h * 0.7, w, h * 0.3); return;
    case "hollow": g.setLineDash([2, 2]); g.strokeRect(x + 0.75, y + 0.75, Math.max(1, w - 1.5), h - 1.5); g.setLineDash([]); return;
    case "cross": g.moveTo(x, y + h / 2 - w); g.lineTo(x + w, y + h / 2 + w); g.moveTo(x + w, y + h / 2 - w); g.lineTo(x, y + h / 2 + w); g.stroke(); return;
    case "triangle": g.moveTo(x + w / 2, y); g.lineTo(x + w, y + h); g.lineTo(x, y + h); g.fill(); return;
    case "bolt": g.fillRect(x, y, w, h * 0.55); g.fillRect(x, y + h * 0.75, w, h * 0.25); return;
  }
}

// mark draws above a column: a diamond if the number filled a gap, a downward triangle
// if it was late.
function mark(g, letter, x, y, color) {
  g.fillStyle = color;
  g.beginPath();
  if (letter === "f") { g.moveTo(x, y - 4.5); g.lineTo(x + 3.2, y); g.lineTo(x, y + 4.5); g.lineTo(x - 3.2, y); }
  else { g.moveTo(x - 3.6, y - 4); g.lineTo(x + 3.6, y - 4); g.lineTo(x, y + 4.5); }
  g.fill();
}
