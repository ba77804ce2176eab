// The faces beside the picture: who, what, and how sure; and the words for who does not see it.

import { byId, element } from "./elements.js";
import { colourOf, percent } from "./palette.js";

const QUIET_MS = 1500; // between two announcements

export class FacePanel {
  constructor() {
    this.list = byId("faces");
    this.items = new Map();
    this.announced = new Map();
    this.lastWords = 0;
  }

  clear() {
    this.items.clear();
    this.announced.clear();
    this.list.replaceChildren();
    this.#count(0);
  }

  /**
   * @param {{track: number, buffered: number, prediction: object | null, overall?: object}[]} faces
   * @param {{labels: string[], frames: number}} model
   */
  show(faces, model) {
    const here = new Set(faces.map((face) => face.track));
    for (const [track, item] of this.items) {
      if (!here.has(track)) {
        item.root.remove();
        this.items.delete(track);
      }
    }
    for (const face of faces) {
      if (!this.items.has(face.track)) this.items.set(face.track, this.#added(face.track, model.labels));
      update(this.items.get(face.track), face, model);
    }
    this.#count(faces.length);
    this.#announce(faces);
  }

  #count(faces) {
    byId("face-count").textContent = faces ? `${faces} in view` : "";
    byId("no-faces").hidden = faces > 0;
  }

  #added(track, labels) {
    const label = element("span", { class: "label" });
    const sure = element("span", { class: "percent" });
    const filled = element("span");
    const buffer = element("div", { class: "buffer" }, filled);
    const overall = element("p", { class: "overall" });
    const bars = element("div", { class: "bars" });
    const rows = labels.map((name) => {
      const fill = element("span", { class: "fill", style: { "--colour": colourOf(name, labels) } });
      const row = { name: element("span", {}, name), fill, value: element("span", { class: "value" }) };
      bars.append(row.name, element("span", { class: "track" }, fill), row.value);
      return row;
    });
    const who = element("div", { class: "who" }, element("span", { class: "number", title: "Face" }, `${track}`), label, sure);
    const root = element("li", { "data-track": track }, who, buffer, bars, overall);
    this.list.append(root);
    return { root, label, sure, filled, buffer, bars, rows, overall };
  }

  /** Says a face's new label aloud, not more often than one can listen to. */
  #announce(faces) {
    const now = performance.now();
    if (now - this.lastWords < QUIET_MS) return;
    const news = faces.filter((face) => face.prediction && this.announced.get(face.track) !== face.prediction.label);
    if (!news.length) return;
    for (const face of news) this.announced.set(face.track, face.prediction.label);
    const said = news.map((face) => {
      const { label, probabilities } = face.prediction;
      return `Face ${face.track}: ${label}, ${percent(probabilities[label])}`;
    });
    byId("announcer").textContent = said.join(". ");
    this.lastWords = now;
  }
}

function update(item, face, model) {
  const { prediction } = face;
  item.label.classList.toggle("waiting", !prediction);
  item.bars.hidden = !prediction;
  item.buffer.hidden = Boolean(prediction);
  if (prediction) {
    item.label.textContent = prediction.label;
    item.sure.textContent = prediction.early ? `${percent(prediction.probabilities[prediction.label])}, early` : percent(prediction.probabilities[prediction.label]);
    item.rows.forEach((row, place) => {
      const name = model.labels[place];
      const probability = prediction.probabilities[name];
      row.fill.style.width = `${100 * probability}%`;
      row.value.textContent = percent(probability);
      row.name.classList.toggle("leads", name === prediction.label);
    });
  } else {
    const buffered = Math.min(face.buffered, model.frames);
    item.label.textContent = `buffering ${buffered}/${model.frames}`;
    item.sure.textContent = "";
    item.filled.style.width = `${(100 * buffered) / model.frames}%`;
  }
  const { overall } = face;
  item.overall.textContent = overall?.label ? `Over the whole video: ${overall.label}, ${percent(overall.probabilities[overall.label])}` : "";
  item.overall.hidden = !item.overall.textContent;
}
