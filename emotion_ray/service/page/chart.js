// A face's probabilities over time: lines with colours and dashes, a legend with figures, and the same as a table.

import { byId, drawn, element } from "./elements.js";
import { colourOf, dashesOf, percent, seconds } from "./palette.js";

const EDGE = { left: 40, right: 12, top: 8, bottom: 24 };
const MOST_ROWS = 300;
const SOON_S = 0.025; // what is said of the frame that is shown counts, as beside the video, though browsers round its time

export class Chart {
  /** @param {(time: number) => void} onSeek somebody points at a time, in seconds */
  constructor(onSeek) {
    this.container = byId("chart");
    this.legend = byId("legend");
    this.table = byId("table");
    this.points = [];
    this.labels = [];
    this.cursor = null;
    this.range = [0, 1];
    this.values = [];
    this.line = drawn("line");
    const seek = (event) => {
      if (event.type === "pointermove" && !(event.buttons & 1)) return;
      const time = this.#timeAt(event.clientX);
      if (time !== null) onSeek(time);
    };
    this.container.addEventListener("pointerdown", seek);
    this.container.addEventListener("pointermove", seek);
    new ResizeObserver(() => this.#draw()).observe(this.container);
  }

  /**
   * @param {{time: number, label: string, early: boolean, probabilities: Object<string, number>}[]} points by time
   * @param {string[]} labels of the model
   * @param {[number, number]} range of the time axis, in seconds
   */
  show(points, labels, range) {
    if (labels.join() !== this.labels.join()) this.#showLegend(labels);
    Object.assign(this, { points, labels, range });
    this.#draw();
    this.#fillTable();
  }

  /** @param {number | null} time in seconds; null: none */
  setCursor(time) {
    this.cursor = time;
    this.line.toggleAttribute("hidden", time === null);
    this.line.setAttribute("transform", `translate(${time === null ? 0 : this.#x(time)})`);
    this.#tell();
  }

  #showLegend(labels) {
    this.values = labels.map(() => element("span", { class: "value" }));
    this.legend.replaceChildren(...labels.map((label, place) => element("li", {},
      drawn("svg", { viewBox: "0 0 28 12", "aria-hidden": "true" }, drawn("line", {
        x1: 0, y1: 6, x2: 28, y2: 6, "stroke-dasharray": dashesOf(label, labels), style: { "--colour": colourOf(label, labels) },
      })),
      element("span", {}, label), this.values[place])));
  }

  #x(time) {
    const width = this.container.clientWidth - EDGE.left - EDGE.right;
    return EDGE.left + ((time - this.range[0]) / (this.range[1] - this.range[0] || 1)) * width;
  }

  #y(probability) {
    return EDGE.top + (1 - probability) * (this.container.clientHeight - EDGE.top - EDGE.bottom);
  }

  #timeAt(clientX) {
    const box = this.container.getBoundingClientRect();
    const part = (clientX - box.left - EDGE.left) / (box.width - EDGE.left - EDGE.right);
    if (!this.points.length) return null;
    return this.range[0] + Math.min(Math.max(part, 0), 1) * (this.range[1] - this.range[0]);
  }

  #draw() {
    const { clientWidth: width, clientHeight: height } = this.container;
    const svg = drawn("svg", { role: "img", "aria-label": this.#inWords(), viewBox: `0 0 ${width} ${height}` });
    for (const level of [0, 0.25, 0.5, 0.75, 1]) {
      const y = this.#y(level);
      svg.append(drawn("line", { class: "grid", x1: EDGE.left, x2: width - EDGE.right, y1: y, y2: y }));
      if (level * 2 === Math.round(level * 2)) {
        svg.append(drawn("text", { x: EDGE.left - 8, y: y + 4, "text-anchor": "end" }, percent(level)));
      }
    }
    if (this.points.length) {
      for (const time of ticks(this.range, width)) {
        svg.append(drawn("text", { x: this.#x(time), y: height - 5, "text-anchor": "middle" }, seconds(time)));
      }
      this.#drawLines(svg);
    } else {
      svg.append(drawn("text", { class: "hint", x: width / 2, y: height / 2 }, "Lines appear with the first prediction"));
    }
    this.line = drawn("line", { class: "cursor", y1: EDGE.top, y2: this.#y(0) });
    svg.append(this.line);
    this.container.replaceChildren(svg);
    this.setCursor(this.cursor);
  }

  #drawLines(svg) {
    const leading = this.points.at(-1).label;
    const order = this.labels.filter((label) => label !== leading).concat(this.labels.includes(leading) ? leading : []);
    for (const label of order) {
      const style = { "--colour": colourOf(label, this.labels) };
      const places = this.points.map((point) => [this.#x(point.time), this.#y(point.probabilities[label])]);
      if (places.length === 1) svg.append(drawn("circle", { cx: places[0][0], cy: places[0][1], r: 4, style }));
      svg.append(drawn("polyline", {
        points: places.map(([x, y]) => `${x.toFixed(1)},${y.toFixed(1)}`).join(" "),
        "stroke-dasharray": dashesOf(label, this.labels), class: label === leading ? "leads" : "", style,
      }));
    }
  }

  /** The figures in the legend: those of the cursor's time, or the newest. */
  #tell() {
    const before = this.cursor === null ? this.points : this.points.filter((point) => point.time <= this.cursor + SOON_S);
    const point = before.at(-1);
    this.labels.forEach((label, place) => {
      this.values[place].textContent = point ? percent(point.probabilities[label]) : "";
    });
  }

  #inWords() {
    const last = this.points.at(-1);
    return last ? `Probabilities over time. At ${seconds(last.time)}: ${last.label}.` : "Probabilities over time, none yet.";
  }

  #fillTable() {
    const shown = this.points.slice(-MOST_ROWS);
    this.table.replaceChildren(
      element("thead", {}, element("tr", {}, ...["time", ...this.labels].map((name) => element("th", { scope: "col" }, name)))),
      element("tbody", {}, ...shown.map((point) => element("tr", {},
        element("th", { scope: "row" }, seconds(point.time)),
        ...this.labels.map((label) => element("td", {}, percent(point.probabilities[label])))))),
    );
  }
}

function ticks([from, to], width) {
  const most = Math.max(Math.floor(width / 90), 2);
  const step = [0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 30, 60, 120, 300].find((one) => (to - from) / one <= most) ?? 600;
  const times = [];
  for (let at = Math.ceil(from / step); at * step <= to + 1e-9; at += 1) times.push(at * step);
  return times;
}
